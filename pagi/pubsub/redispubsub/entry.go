package redispubsub

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
)

// place is where a message stands in its channel. An epoch is random, and begins anew when Redis
// has lost the numbers of the channel.
type place struct {
	epoch string
	seq   int64
}

func (p place) id() string { return p.epoch + "-" + strconv.FormatInt(p.seq, 10) }

// isAfter reports whether p comes after q. Another epoch does.
func (p place) isAfter(q place) bool { return p.epoch != q.epoch || p.seq > q.seq }

// parseID returns the place of an id; ok is false for a text that is none.
func parseID(id string) (p place, ok bool) {
	epoch, text, ok := strings.Cut(id, "-")
	seq, err := strconv.ParseInt(text, 10, 64)
	p = place{epoch, seq}
	return p, ok && err == nil && p.id() == id
}

// content is what a publisher gives, in JSON. Bytes has the data of a binary message.
type content struct {
	Name  string `json:"n,omitempty"`
	Data  string `json:"d,omitempty"`
	Bytes []byte `json:"b,omitempty"`
	Kind  string `json:"k,omitempty"` // "b": binary
	From  string `json:"f,omitempty"`
}

func encode(m *pubsub.Message) (string, error) {
	c := content{Name: m.Name, Data: m.Data, From: m.From}
	if m.Binary {
		c.Data, c.Bytes, c.Kind = "", []byte(m.Data), "b"
	}
	text, err := json.Marshal(c)
	return string(text), err
}

// errEntry says that something else than this package has written an entry.
var errEntry = errors.New("redispubsub: Redis has an entry that is no message")

// decode reads an entry of publishScript: epoch, number, milliseconds, content.
func decode(channel, entry string) (*pubsub.Message, place, error) {
	parts := strings.SplitN(entry, " ", 4)
	if len(parts) != 4 {
		return nil, place{}, errEntry
	}
	seq, err := strconv.ParseInt(parts[1], 10, 64)
	ms, err2 := strconv.ParseInt(parts[2], 10, 64)
	var c content
	if err := errors.Join(err, err2, json.Unmarshal([]byte(parts[3]), &c)); err != nil {
		return nil, place{}, errors.Join(errEntry, err)
	}
	p := place{parts[0], seq}
	m := &pubsub.Message{ID: p.id(), Channel: channel, Name: c.Name, Data: c.Data, From: c.From, Time: time.UnixMilli(ms)}
	if c.Kind == "b" {
		m.Data, m.Binary = string(c.Bytes), true
	}
	return m, p, m.Check()
}

// First characters of what is published to a channel of Redis.
const (
	entryData   = 'D'
	entryJoin   = 'J'
	entryLeave  = 'L'
	entryUpdate = 'U'
)

// kinds are the kinds of messages about members. What follows is the id, a line end, and the info.
var kinds = map[byte]pubsub.Kind{entryJoin: pubsub.Join, entryLeave: pubsub.Leave, entryUpdate: pubsub.Update}
