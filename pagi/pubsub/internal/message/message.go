// Package message writes messages for the Brokers that pass them between processes. What is here is the
// same for all of them: the content in JSON, and the form of ids. It may import package pubsub.
package message

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
)

// Place is where a message stands. An Epoch is random, and begins anew when the numbers do.
type Place struct {
	Epoch string
	Seq   int64
}

// ID returns the id of the message at a Place.
func (p Place) ID() string { return p.Epoch + "-" + strconv.FormatInt(p.Seq, 10) }

// IsAfter reports whether p comes after q. Another epoch does.
func (p Place) IsAfter(q Place) bool { return p.Epoch != q.Epoch || p.Seq > q.Seq }

// ParseID returns the Place of an id; ok is false for a text that is none.
func ParseID(id string) (p Place, ok bool) {
	epoch, text, ok := strings.Cut(id, "-")
	seq, err := strconv.ParseInt(text, 10, 64)
	p = Place{epoch, seq}
	return p, ok && err == nil && p.ID() == id
}

// content is what a publisher gives, in JSON. Bytes has the data of a binary message.
type content struct {
	Name  string `json:"n,omitempty"`
	Data  string `json:"d,omitempty"`
	Bytes []byte `json:"b,omitempty"`
	Kind  string `json:"k,omitempty"` // "b": binary
	From  string `json:"f,omitempty"`
}

// MaxGrowth is how many bytes Encode may make of a byte of Data: a control character is written as
// \u0000.
const MaxGrowth = 6

// Encode returns what a publisher has set.
func Encode(m *pubsub.Message) ([]byte, error) {
	c := content{Name: m.Name, Data: m.Data, From: m.From}
	if m.Binary {
		c.Data, c.Bytes, c.Kind = "", []byte(m.Data), "b"
	}
	var text bytes.Buffer
	to := json.NewEncoder(&text)
	to.SetEscapeHTML(false)
	err := to.Encode(c)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

// Decode sets what Encode has written in m. The error is also that of m.Check.
func Decode(text []byte, m *pubsub.Message) error {
	var c content
	if err := json.Unmarshal(text, &c); err != nil {
		return err
	}
	m.Name, m.Data, m.From = c.Name, c.Data, c.From
	if c.Kind == "b" {
		m.Data, m.Binary = string(c.Bytes), true
	}
	return m.Check()
}
