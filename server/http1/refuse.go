package http1

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// refusalTime is how long a client that is turned down may take for the answer.
const refusalTime = time.Second

// Refusal tells of a request that was turned down. It is valid until Refused returns.
type Refusal struct {
	Client string // address
	Status int    // what it was answered
	Reason string
	// Ambiguous says that another reader might have seen another request, or two
	// (RFC 9112 section 11.2).
	Ambiguous bool
	// Record is for the access log. Of the request it has method, target and version
	// where its first line could be read that far, and the client's address.
	Record pagi.HTTPRecord
}

// bad is a request that is turned down with 400.
func bad(reason string) *Refusal { return &Refusal{Status: http.StatusBadRequest, Reason: reason} }

// ambiguous is one that two readers could see differently.
func ambiguous(reason string) *Refusal {
	return &Refusal{Status: http.StatusBadRequest, Reason: reason, Ambiguous: true}
}

// tooLarge is one whose head is, of which begun has come: all there is room for.
func tooLarge(begun []byte) *Refusal {
	if bytes.IndexByte(begun, '\n') < 0 { // RFC 9112 section 3
		return &Refusal{Status: http.StatusRequestURITooLong, Reason: "the request line is too long"}
	}
	return &Refusal{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "the request's head is too large"}
}

// refuse answers a request that no handler sees, of which head has come, and ends the
// connection.
func (c *conn) refuse(r *Refusal, head []byte) {
	r.Client = c.client
	r.Record = pagi.HTTPRecord{Request: c.firstLine(head), Status: r.Status, Begin: time.Now()}
	text := http.StatusText(r.Status) + "\n"
	out := append(c.buffer(), "HTTP/1.1 "...)
	out = append(strconv.AppendInt(out, int64(r.Status), 10), ' ')
	out = appendDate(append(out, text[:len(text)-1]+"\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"...))
	out = strconv.AppendInt(append(out, "Content-Length: "...), int64(len(text)), 10)
	out = append(append(out, "\r\n\r\n"...), text...)
	// Whether the client hears it or not, it is done with.
	_ = c.limitWrite(refusalTime)
	if _, r.Record.Err = c.net.Write(out); r.Record.Err == nil {
		r.Record.Bytes = int64(len(text))
	}
	r.Record.Duration = time.Since(r.Record.Begin)
	if c.server.Refused != nil {
		c.server.Refused(r)
	}
	if r.Status != http.StatusRequestTimeout { // there everything it has sent was read
		c.discard()
	}
}

// firstLine returns what can be known of a request by the first line of its head.
func (c *conn) firstLine(head []byte) *http.Request {
	r := &http.Request{RemoteAddr: c.client, TLS: c.tls}
	if bytes.IndexByte(head, '\n') < 0 {
		return r
	}
	line, _ := cutLine(string(head))
	method, rest, _ := strings.Cut(line, " ")
	target, version, ok := strings.Cut(rest, " ")
	if ok && isToken(method) {
		r.Method, r.RequestURI, r.Proto = method, target, version
	}
	return r
}
