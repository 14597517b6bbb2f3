package pagi

import (
	"errors"
	"net/http"
	"time"
)

// ErrBodyBroken is in the cause with which a ResponseStream ends its request's context
// because the connection broke in the request's body, rather than that the client left.
var ErrBodyBroken = errors.New("the connection broke in the request's body")

// ResponseStream is an http.ResponseWriter that has the headers of a request and
// takes those of a response as lists, in the order in which they are on the wire.
// HTTPHandler uses it where its ResponseWriter is one; else it goes through the maps
// of net/http. It must also have what an http.ResponseController calls.
// The request's body may be read, and deadlines set, while the response is written.
type ResponseStream interface {
	http.ResponseWriter
	// RequestHeaders returns the headers of the request as a scope has them: names
	// in lower case, cookies in one line, without transfer-encoding.
	RequestHeaders() Headers
	// RequestTrailers returns what followed the body of the request, once that was read to
	// its end: likewise, and not more than there may be of a head.
	RequestTrailers() Headers
	// Addrs returns the addresses of the connection's ends.
	Addrs() (client, server Addr)
	// WriteHead is called once. The stream adds date, connection and what frames the
	// body. Of a connection header the wish to close is given; and keep-alive for an
	// event stream, which says so and ends its connection all the same.
	WriteHead(status int, headers Headers)
	// WriteInformational writes an interim response.
	WriteInformational(status int, headers Headers) error
	// EndBody ends a response that has no trailers, and writes what is not written.
	EndBody() error
	// CloseWrite tells the client that nothing more will come on the connection. It
	// follows the EndBody of an event stream.
	CloseWrite() error
	// WriteTrailers ends a response with trailers.
	WriteTrailers(headers Headers) error
	// LimitWrite gives what is written from now on d to leave; SetWriteDeadline with
	// one look at the clock less.
	LimitWrite(d time.Duration) error
	// Abort closes the connection. Any goroutine may call it, whatever others do with
	// the stream, until the handler returns.
	Abort()
	// Sendfile reports whether the stream's ReadFrom ends in the kernel for a file.
	Sendfile() bool
}

// writeHead gives the head to the ResponseWriter.
func (x *exchange) writeHead(status int, headers Headers) {
	if x.stream != nil {
		x.stream.WriteHead(status, headers)
		return
	}
	to := x.w.Header()
	fillHeader(to, headers)
	if x.r.ProtoMajor > 2 { // net/http knows what it means in HTTP/2, where the host may have set it
		to.Del("Connection")
	}
	if _, typed := to["Content-Type"]; !typed {
		to["Content-Type"] = nil // keeps net/http from guessing one
	}
	x.w.WriteHeader(status)
}

// writeInformational gives an interim response to the ResponseWriter.
func (x *exchange) writeInformational(status int, headers Headers) error {
	if x.stream != nil {
		return x.stream.WriteInformational(status, headers)
	}
	to := x.w.Header()
	preset := to.Clone()
	fillHeader(to, headers)
	if x.r.ProtoMajor > 1 { // it is about the last response, and not allowed in this one
		to.Del("Connection")
	}
	if x.r.ProtoMajor == 2 {
		// net/http makes a copy of headers with this one, and leaves it out. The map
		// itself may be read after WriteHeader has returned, while clear writes to it.
		to.Set("Content-Length", "0")
	}
	x.w.WriteHeader(status)
	clear(to)
	for name, values := range preset {
		to[name] = values
	}
	return nil
}

// fillHeader adds headers to a net/http header map.
func fillHeader(to http.Header, headers Headers) {
	values := make([]string, len(headers))
	for i := range headers {
		key := CanonicalName(headers[i].Name)
		if earlier, ok := to[key]; ok {
			to[key] = append(earlier, headers[i].Value)
			continue
		}
		values[i] = headers[i].Value
		to[key] = values[i : i+1 : i+1]
	}
}
