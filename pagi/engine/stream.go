package engine

import (
	"io"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Stream is what an exchange needs of the request and the response that it translates:
// package http1 has one for the connections of our own server, package nethttp one for
// net/http. What differs between versions of HTTP and between servers is the stream's
// affair; the engine knows none of it.
//
// One goroutine at a time writes: calls WriteInformational, WriteHead, Write, ReadFrom,
// FlushError, EndBody, WriteTrailers, CloseWrite and LimitWrite. Meanwhile another may read
// the request's Body and call SetReadDeadline, and any may call Abort and WakeRead. The body
// may be read while the response is written.
type Stream interface {
	// RequestHeaders returns the headers of the request as a scope has them: names
	// in lower case, cookies in one line, without transfer-encoding.
	RequestHeaders() pagi.Headers
	// HeaderLines returns how many header lines the client sent.
	HeaderLines() int
	// RequestTrailers returns the fields that followed the body of the request, once that
	// was read to its end: names in lower case, and no more bytes than a head may have.
	RequestTrailers() pagi.Headers
	// Addrs returns the addresses of the connection's ends.
	Addrs() (client, server pagi.Addr)

	// WriteInformational writes an interim response at once; to a client of HTTP/1.0,
	// which must not be sent one, it writes nothing.
	WriteInformational(status int, headers pagi.Headers) error
	// WriteHead takes the head over, which leaves with the first bytes of the body or with
	// FlushError. It is called once. whole says that the body follows at once and that the
	// response ends with it. The stream adds date, connection and what frames the body. A
	// connection header is either "close" or, for an event stream, "keep-alive": the
	// latter is what such a response says, though its connection ends with it. The stream
	// leaves out what its version of HTTP does not have.
	WriteHead(status int, headers pagi.Headers, whole bool)
	// Write writes a piece of the body. It may stay in a buffer until FlushError.
	io.Writer
	// ReadFrom writes the rest of what r has, which must be at hand. An error with
	// os.ErrDeadlineExceeded after some bytes means that the caller may go on.
	io.ReaderFrom
	// Sendfile reports whether ReadFrom ends in the kernel for a file.
	Sendfile() bool
	// FlushError sends the buffered bytes.
	FlushError() error
	// EndBody ends a response that has no trailers, and sends the buffered bytes.
	EndBody() error
	// WriteTrailers ends a response with trailers.
	WriteTrailers(headers pagi.Headers) error
	// CloseWrite tells the client that nothing more will come on the connection. It
	// follows the EndBody of an event stream.
	CloseWrite() error
	// LimitWrite gives each write from now on d to make progress; 0: there is no limit of
	// the engine's.
	LimitWrite(d time.Duration)

	// SetReadDeadline is the deadline for reading the request's body. Its error may be
	// ignored: a stream without deadlines leaves those of its server in force.
	SetReadDeadline(t time.Time) error
	// WakeRead ends a Read of the request's body that is running. The request has ended
	// when it is called.
	WakeRead()
	// Left returns why the client is no longer there, as a standard reason, when the
	// request's context has ended and its cause does not tell.
	Left() string
	// Over is called when the response is complete: the engine writes nothing more, and
	// will not read more of the request. The application may go on.
	Over()
	// Abort cuts the connection, or the stream of HTTP/2 or HTTP/3. Reads and writes that
	// are running end with an error. It may be called until Serve returns.
	Abort()
}
