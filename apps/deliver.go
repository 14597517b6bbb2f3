package apps

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// serveFile answers with an open file, which its caller closes.
func (f *File) serveFile(ctx context.Context, scope *pagi.Scope, send pagi.Send, dir *openRoot, file *file) error {
	if scope.Type == pagi.TypeSSE {
		scope, _, send = ordinary(scope, nil, send)
	}
	headers := make(pagi.Headers, 0, 8)
	original := file
	mediaType, packing, varies := f.typeOf(file, scope.Headers)
	if varies {
		headers.Add("vary", "accept-encoding")
	}
	if packing != "" {
		headers.Add("content-encoding", packing)
	}
	if f.Precompressed && !varies && dir != nil {
		headers.Add("vary", "accept-encoding")
		if packed, encoding := openPacked(scope.Headers, dir, file); packed != nil {
			defer packed.Close()
			file = packed
			headers.Add("content-encoding", encoding)
		}
	}
	if f.CacheControl != "" {
		headers.Add("cache-control", f.CacheControl)
	}
	return f.deliver(ctx, scope, send, file, headers, func() string { return f.contentTypeOf(original, mediaType, packing) })
}

// deliver answers a GET or HEAD with a file: whole, in ranges, or with 304 where the client has it
// already. It calls typeOf for the Content-Type only where that is sent.
func (f *File) deliver(ctx context.Context, scope *pagi.Scope, send pagi.Send, file *file, headers pagi.Headers, typeOf func() string) error {
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
	size, partType := file.size, typeOf()
	whole := delivery{status: http.StatusOK, contentType: partType, file: file, length: size}
	if f.DisableRanges {
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
	file           *file
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
		return fmt.Errorf("%s: after %d of %d bytes: %w", d.file.name, n, d.length, err)
	}
	return send(ctx, pagi.HTTPResponseBody{Body: body})
}

// openPacked opens the compressed form of a file that the client prefers, or returns nil. It
// prefers Brotli where the client gives both the same weight.
func openPacked(h pagi.Headers, dir *openRoot, original *file) (*file, string) {
	type form struct {
		encoding, suffix string
		q                float64
	}
	forms := []form{{"br", ".br", quality(h, "accept-encoding", "br", "*")}, {"gzip", ".gz", quality(h, "accept-encoding", "gzip", "x-gzip", "*")}}
	if forms[1].q > forms[0].q {
		forms[0], forms[1] = forms[1], forms[0]
	}
	plain := quality(h, "accept-encoding", "identity") // -1 where it is not named: then any other is preferred
	for _, form := range forms {
		if form.q <= 0 || form.q < plain {
			continue
		}
		file, err := dir.open(original.name + form.suffix)
		if err != nil {
			continue // the original is as good
		}
		if file.regular && !file.modified.Before(original.modified) {
			return file, form.encoding
		}
		file.Close() // opened for reading: nothing to lose
	}
	return nil, ""
}
