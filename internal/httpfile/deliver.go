package httpfile

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Answer is an answer whose body is a file.
type Answer struct {
	File *File
	// Status of a whole file; 0 means 200.
	Status int
	// Headers of the answer besides those of the file. Send may change them.
	Headers pagi.Headers
	// Type returns the Content-Type. It is called only where that is sent.
	Type func() string
	// DisableRanges ignores Range headers.
	DisableRanges bool
}

// Send sends the file in an http scope: whole, in ranges, or with 304 where the client has it
// already. With a Status other than 200, and in answer to other methods than GET and HEAD, the file
// is always sent whole. It may be closed when Send has returned.
func (a Answer) Send(ctx context.Context, scope *pagi.Scope, send pagi.Send) error {
	file, headers := a.File, a.Headers
	status := cmp.Or(a.Status, http.StatusOK)
	if status != http.StatusOK || scope.Method != http.MethodGet && scope.Method != http.MethodHead {
		whole := delivery{status: status, contentType: a.Type(), file: file, length: file.Size}
		return whole.send(ctx, scope, send, headers)
	}
	v := validatorsOf(file)
	if v.etag != "" {
		headers.Add("etag", v.etag)
	}
	if !v.modified.IsZero() {
		headers.Add("last-modified", v.modified.Format(http.TimeFormat))
	}
	switch status := v.precondition(scope.Headers); status {
	case http.StatusNotModified:
		headers.Del("content-encoding")
		return reply.Send(ctx, scope, send, status, headers, nil)
	case http.StatusPreconditionFailed:
		return reply.Status(ctx, scope, send, status)
	}
	size, partType := file.Size, a.Type()
	whole := delivery{status: http.StatusOK, contentType: partType, file: file, length: size}
	if a.DisableRanges {
		return whole.send(ctx, scope, send, headers)
	}
	headers.Add("accept-ranges", "bytes")
	wanted, ok := scope.Headers.Lookup("range")
	if !ok || scope.Method != "GET" || !v.rangeApplies(scope.Headers) {
		return whole.send(ctx, scope, send, headers)
	}
	ranges, ok := parseRanges(wanted, size)
	switch {
	case !ok:
		return reply.Status(ctx, scope, send, http.StatusRequestedRangeNotSatisfiable, "content-range", "bytes */"+strconv.FormatInt(size, 10))
	case len(ranges) == 0:
		return whole.send(ctx, scope, send, headers)
	case len(ranges) == 1:
		headers.Add("content-range", ranges[0].contentRange(size))
		part := delivery{status: http.StatusPartialContent, contentType: partType, file: file, offset: ranges[0].start, length: ranges[0].length}
		return part.send(ctx, scope, send, headers)
	}
	parts := delivery{status: http.StatusPartialContent}
	parts.fh, parts.contentType, parts.length = multipartRanges(file, size, partType, ranges)
	return parts.send(ctx, scope, send, headers)
}

// delivery is a response body: length bytes of file from offset on, or of fh.
type delivery struct {
	status         int
	contentType    string
	file           *File
	fh             io.Reader
	offset, length int64
}

func (d delivery) send(ctx context.Context, scope *pagi.Scope, send pagi.Send, headers pagi.Headers) error {
	headers.Add("content-type", d.contentType)
	headers.Add("content-length", strconv.FormatInt(d.length, 10))
	if err := send(ctx, pagi.HTTPResponseStart{Status: d.status, Headers: headers}); err != nil {
		return err
	}
	switch {
	case scope.Method == "HEAD", d.length == 0:
		return send(ctx, pagi.HTTPResponseBody{})
	case d.file == nil:
		return send(ctx, pagi.HTTPResponseBody{FH: d.fh, Length: d.length})
	case d.length > smallBody:
		return send(ctx, pagi.HTTPResponseBody{FH: d.file.Handle(), Offset: d.offset, Length: d.length})
	}
	return d.sendSmall(ctx, scope, send)
}

// smallBody is the size up to which deliver reads a body itself. The system calls of a handle would
// take longer.
const smallBody = 16 << 10

// smallBodies are buffers of responses that were sent without an error. The bytes of an event
// belong to its sender again when Send returns. Only where the client has left meanwhile may the
// server have given up a write that still holds them.
var smallBodies = sync.Pool{New: func() any { return new([smallBody]byte) }}

func (d delivery) sendSmall(ctx context.Context, scope *pagi.Scope, send pagi.Send) error {
	room := smallBodies.Get().(*[smallBody]byte)
	err := d.sendSmallBy(ctx, room, send)
	if err == nil && scope.Connection != nil && scope.Connection.ResponseComplete() {
		smallBodies.Put(room)
	}
	return err
}

func (d delivery) sendSmallBy(ctx context.Context, room *[smallBody]byte, send pagi.Send) error {
	body := room[:d.length]
	if n, err := d.file.ReadAt(body, d.offset); err != nil {
		return fmt.Errorf("%s: after %d of %d bytes: %w", d.file.Name, n, d.length, err)
	}
	return send(ctx, pagi.HTTPResponseBody{Body: body})
}
