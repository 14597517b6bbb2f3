package http1

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// refusalTime is how long a refused client may take to receive the answer.
const refusalTime = time.Second

// Refusal describes a request that was refused. It is valid until Refused returns.
type Refusal struct {
	Client string // address
	Status int    // the status of the answer
	Reason string
	// Ambiguous says that another reader might have seen another request, or two
	// (RFC 9112 section 11.2).
	Ambiguous bool
	// Record is for the access log. It has the client's address, and the method, target and version
	// of the request as far as its first line could be read.
	Record engine.Record
}

// bad refuses a request with 400.
func bad(reason string) *Refusal { return &Refusal{Status: http.StatusBadRequest, Reason: reason} }

// ambiguous refuses a request that two readers could understand differently.
func ambiguous(reason string) *Refusal {
	return &Refusal{Status: http.StatusBadRequest, Reason: reason, Ambiguous: true}
}

// tooLarge refuses a request whose head is too large. begun is the part that has come, which fills
// the room for a head.
func tooLarge(begun []byte) *Refusal {
	if bytes.IndexByte(begun, '\n') < 0 { // RFC 9112 section 3
		return &Refusal{Status: http.StatusRequestURITooLong, Reason: "the request line is too long"}
	}
	return &Refusal{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "the request's head is too large"}
}

// refuse answers a request that the handler does not see, and ends the connection. head is the part
// of its head that has come.
func (c *conn) refuse(r *Refusal, head []byte) {
	r.Client = c.client
	r.Record = engine.Record{Request: c.firstLine(head), Status: r.Status, Begin: time.Now()}
	text := http.StatusText(r.Status) + "\n"
	out := append(c.buffer(), "HTTP/1.1 "...)
	out = append(strconv.AppendInt(out, int64(r.Status), 10), ' ')
	out = appendDate(append(out, text[:len(text)-1]+"\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"...))
	out = strconv.AppendInt(append(out, "Content-Length: "...), int64(len(text)), 10)
	out = append(append(out, "\r\n\r\n"...), text...)
	// The connection ends whether or not the client gets the answer.
	_ = c.limitWrite(refusalTime)
	if _, r.Record.Err = c.net.Write(out); r.Record.Err == nil {
		r.Record.Bytes = int64(len(text))
	}
	r.Record.Duration = time.Since(r.Record.Begin)
	if c.server.Refused != nil {
		c.server.Refused(r)
	}
	if r.Status != http.StatusRequestTimeout { // after a time-out everything that the client sent has been read
		c.discard()
	}
}

// firstLine returns a request with the parts that the first line of its head gives.
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
