package middleware

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/pagi-go/pagi-bridge/internal/coding"
	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/internal/httpfile"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// compressor compresses one response. It holds the start back until the next event, as servers do,
// because that tells how long the body is.
//
//	begin ── start ──> held ── body, flush ──> compressing ── last body ──> plain
//	   └─ a start that stays as it is ──> plain <── a small body ── held
type compressor struct {
	rules  *compression
	scope  *pagi.Scope
	send   outgoing
	coding *codingPool

	mu      sync.Mutex
	start   *pagi.HTTPResponseStart // held
	length  int64                   // its Content-Length, -1 if it has none
	plain   bool                    // what comes leaves as it is
	empty   bool                    // HEAD: the plain body must not tell its length
	out     *[]byte                 // compressing: what the encoder has written
	encoder *coding.Encoder         // compressing, from the first bytes of the body on
	ctx     context.Context         // of the event that is being compressed
}

const (
	// outSize is how many compressed bytes are collected before they leave.
	outSize = 32 << 10
	// maxOut is the largest buffer that is kept for another response.
	maxOut = 4 * outSize
)

var outs = sync.Pool{New: func() any { b := make([]byte, 0, outSize+4<<10); return &b }}

func (c *compressor) event(ctx context.Context, ev pagi.Event) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e := ev.(type) {
	case pagi.HTTPResponseStart:
		if !c.plain && c.start == nil && c.out == nil {
			return c.begin(ctx, ev, e)
		}
	case pagi.HTTPResponseBody:
		switch {
		case c.start != nil:
			return c.first(ctx, e)
		case c.out != nil:
			return c.body(ctx, e)
		case c.empty:
			return c.send.event(ctx, emptied(e))
		}
	case pagi.HTTPFullFlush:
		if c.start != nil {
			if err := c.decide(ctx, c.rules.worthwhile(c.length)); err != nil {
				return err
			}
		}
	}
	return c.send.event(ctx, ev)
}

// begin looks at the start of the response, which is ev.
func (c *compressor) begin(ctx context.Context, ev pagi.Event, e pagi.HTTPResponseStart) error {
	c.length = contentLength(e.Headers)
	switch {
	case !c.rules.may(e.Status, e.Headers) || !c.rules.worthwhile(c.length):
		c.plain = true
		return c.send.event(ctx, ev)
	case e.Status == 304:
		c.plain = true
		e.Headers = withRoom(e.Headers, 1+c.send.adds)
		varyOn(&e.Headers, "accept-encoding")
		weaken(e.Headers) // as that of the 200 is
		return c.send.begin(ctx, e)
	}
	e.Headers = withRoom(e.Headers, 1+c.send.adds) // the application may use them again once Send has returned
	c.start = &e
	return nil
}

// plain is the edit for a client that gets plain bodies.
func (r *compression) plain(b beginning, _ string) beginning {
	if b.isResponse && r.may(b.status, b.headers) && r.worthwhile(contentLength(b.headers)) {
		b.own()
		varyOn(&b.headers, "accept-encoding")
	}
	return b
}

// may reports whether a response with that status and these headers can be compressed, or stands for one that can.
func (r *compression) may(status int, h pagi.Headers) bool {
	contentType := h.Get("content-type")
	untold := status == 304 && contentType == ""
	switch {
	case status == 204 || status == 206 || !untold && !r.covers(contentType) || h.Has("content-range"):
		return false
	case h.Has("content-encoding") && !pagi.EqualFold(h.Joined("content-encoding"), "identity"):
		return false
	}
	return !h.HasToken("cache-control", "no-transform")
}

func (r *compression) covers(contentType string) bool {
	return r.types.have(contentType) && (r.sse || !isOfType(strings.TrimRight(before(contentType, ";"), " \t"), eventStream))
}

func before(s, sep string) string {
	s, _, _ = strings.Cut(s, sep)
	return s
}

func contentLength(h pagi.Headers) int64 {
	if n, err := strconv.ParseUint(h.Get("content-length"), 10, 63); err == nil {
		return int64(n)
	}
	return -1
}

// worthwhile reports whether a body of that size, -1 if it is not known, is compressed.
func (r *compression) worthwhile(size int64) bool { return size < 0 || size >= r.minSize }

// isLarge reports whether a file of that size is too large.
func (r *compression) isLarge(size int64) bool { return r.maxFile > 0 && size > r.maxFile }

// first handles the first event of the body, which decides.
func (c *compressor) first(ctx context.Context, e pagi.HTTPResponseBody) error {
	if e.File != "" || e.FH != nil {
		return c.firstFile(ctx, e)
	}
	size := c.length
	if size < 0 && !e.More {
		size = int64(len(e.Body))
	}
	compress := c.rules.worthwhile(size)
	if c.scope.Method == "HEAD" && len(e.Body) == 0 && c.rules.isLarge(size) {
		compress = false // the body of GET may be a file
	}
	if err := c.decide(ctx, compress); err != nil {
		return err
	}
	switch {
	case c.out != nil:
		return c.body(ctx, e)
	case c.empty:
		e = emptied(e)
	}
	return c.send.event(ctx, e)
}

// emptied returns what the server needs of a body that it does not send.
func emptied(e pagi.HTTPResponseBody) pagi.HTTPResponseBody {
	return pagi.HTTPResponseBody{More: e.More && e.File == "" && e.FH == nil}
}

// firstFile handles a body that is a file, and nothing else.
func (c *compressor) firstFile(ctx context.Context, e pagi.HTTPResponseBody) error {
	src, size, err := source(&e)
	if err != nil { // the server finds the same, and has the words for it
		if err := c.decide(ctx, false); err != nil {
			return err
		}
		return c.send.event(ctx, e)
	}
	defer src.Close()
	compress := c.rules.worthwhile(size) && !c.rules.isLarge(max(size, c.length))
	if err := c.decide(ctx, compress); err != nil {
		return err
	}
	switch {
	case c.out != nil:
		return c.copy(ctx, src, size)
	case c.empty:
		e = emptied(e)
	}
	return c.send.event(ctx, e)
}

// decide sends the start, and gets ready if the body is to be compressed.
func (c *compressor) decide(ctx context.Context, compress bool) error {
	start := *c.start
	c.start = nil
	if compress {
		start.Headers = compressedHeaders(start.Headers, c.coding.name, c.send.adds)
	} else {
		varyOn(&start.Headers, "accept-encoding")
	}
	if err := c.send.begin(ctx, start); err != nil {
		return err // another start may come
	}
	c.empty = compress && c.scope.Method == "HEAD"
	if c.plain = !compress || c.empty; !c.plain {
		c.out = outs.Get().(*[]byte)
		*c.out = (*c.out)[:0]
	}
	return nil
}

// begun gets an encoder, if there is none. See coding.Pool.Get for the sizes.
func (c *compressor) begun(ctx context.Context, size int64, piece int) *coding.Encoder {
	c.ctx = ctx
	if c.encoder == nil {
		c.encoder = c.coding.Get((*collector)(c), size, piece, c.rules.padding)
	}
	return c.encoder
}

// body compresses an event of the body.
func (c *compressor) body(ctx context.Context, e pagi.HTTPResponseBody) error {
	if e.File != "" || e.FH != nil { // after pieces, or after a flush
		src, size, err := source(&e)
		if err != nil {
			return fmt.Errorf("http.response.body: %w", err)
		}
		defer src.Close()
		return c.copy(ctx, src, size)
	}
	size := int64(len(e.Body)) // of all that comes
	switch {
	case e.More && size == 0:
		return c.leave(ctx, true)
	case e.More:
		size = -1
	}
	encoder := c.begun(ctx, size, len(e.Body))
	if _, err := encoder.Write(e.Body); err != nil {
		return err
	}
	if !e.More {
		return c.finish(ctx)
	}
	if err := encoder.Flush(); err != nil {
		return err
	}
	return c.leave(ctx, true)
}

// finish ends the body.
func (c *compressor) finish(ctx context.Context) error {
	if err := c.encoder.Close(); err != nil {
		return err
	}
	err := c.leave(ctx, false)
	c.plain = true
	c.giveBack()
	return err
}

// copy compresses a file. size is -1 for a source whose bytes come with pauses.
func (c *compressor) copy(ctx context.Context, src io.Reader, size int64) error {
	encoder := c.begun(ctx, size, outSize)
	room := rooms.Get().(*[outSize]byte)
	defer rooms.Put(room) // the encoder has copied what it keeps
	for copied := int64(0); ; {
		n, err := src.Read(room[:])
		copied += int64(n)
		if n > 0 {
			if _, err := encoder.Write(room[:n]); err != nil {
				return err
			}
			if size < 0 {
				if err := errors.Join(encoder.Flush(), c.leave(ctx, true)); err != nil {
					return err
				}
			}
		}
		switch {
		case err == io.EOF && copied < size:
			return fmt.Errorf("http.response.body: the file ended %d bytes early", size-copied)
		case err == io.EOF:
			return c.finish(ctx)
		case err != nil:
			return fmt.Errorf("http.response.body: reading: %w", err)
		}
	}
}

var rooms = sync.Pool{New: func() any { return new([outSize]byte) }}

// leave sends what the encoder has written.
func (c *compressor) leave(ctx context.Context, more bool) error {
	out := *c.out
	*c.out = out[:0]
	return c.send.event(ctx, pagi.HTTPResponseBody{Body: out, More: more})
}

// collector is the writer of a compressor's encoder.
type collector compressor

func (w *collector) Write(p []byte) (int, error) {
	c := (*compressor)(w)
	*c.out = append(*c.out, p...)
	if len(*c.out) >= outSize {
		if err := c.leave(c.ctx, true); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// unfinished sends a start that is still held, for an application that has returned.
func (c *compressor) unfinished(ctx context.Context) error {
	if !c.mu.TryLock() {
		return nil // another goroutine of the application is still sending
	}
	defer c.mu.Unlock()
	if c.start == nil {
		return nil
	}
	return c.decide(ctx, c.rules.worthwhile(c.length))
}

// release gives the encoder back when the application has returned or panicked.
func (c *compressor) release() {
	if !c.mu.TryLock() {
		return // the encoder is in use, and is left to the garbage collector
	}
	defer c.mu.Unlock()
	if c.out != nil {
		c.plain = true
		c.giveBack()
	}
}

func (c *compressor) giveBack() {
	if c.encoder != nil {
		c.encoder.Release()
		c.encoder = nil
	}
	// If the client has left, the server may have given up a write that still holds the bytes.
	if cap(*c.out) <= maxOut && c.scope.Connection != nil && c.scope.Connection.ResponseComplete() {
		outs.Put(c.out)
	}
	c.out, c.ctx = nil, nil
}

// compressedHeaders returns the headers of a response for its compressed form, with room for more.
func compressedHeaders(plain pagi.Headers, name string, room int) pagi.Headers {
	h := make(pagi.Headers, 0, len(plain)+2+room)
	for _, line := range plain {
		switch headername.Lower(line.Name) {
		case "content-length", "content-encoding", "accept-ranges": // of other bytes
		case "content-md5", "digest", "content-digest", "repr-digest":
		default:
			h = append(h, line)
		}
	}
	weaken(h)
	h = append(h, pagi.Header{Name: "content-encoding", Value: name})
	varyOn(&h, "accept-encoding")
	return h
}

// weaken makes strong entity tags weak, in place.
func weaken(h pagi.Headers) {
	for i := range h {
		if pagi.EqualFold(h[i].Name, "etag") && strings.HasPrefix(h[i].Value, `"`) {
			h[i].Value = "W/" + h[i].Value
		}
	}
}

// source opens what a body event sends from a file. size is what it has, -1 if that is not known or
// if its bytes come with pauses.
func source(e *pagi.HTTPResponseBody) (src io.ReadCloser, size int64, err error) {
	if err := pagi.Validate(pagi.TypeHTTP, *e); err != nil {
		return nil, 0, err
	}
	if e.File != "" {
		return fileSource(e)
	}
	return handleSource(e)
}

var errNotRegular = errors.New("not a regular file")

func fileSource(e *pagi.HTTPResponseBody) (io.ReadCloser, int64, error) {
	f, err := httpfile.Open(e.File, e.File)
	if err != nil {
		return nil, 0, err
	}
	if !f.Regular {
		return nil, 0, errors.Join(errNotRegular, f.Close())
	}
	size := within(max(0, f.Size-e.Offset), e.Length)
	return sourceOf{io.NewSectionReader(f, e.Offset, size), f}, size, nil
}

// handleSource reads an open handle, from where it stands or from the event's Offset.
func handleSource(e *pagi.HTTPResponseBody) (io.ReadCloser, int64, error) {
	size := int64(-1)
	if f, ok := e.FH.(*os.File); ok {
		info, err := f.Stat()
		if err != nil {
			return nil, 0, err
		}
		if info.IsDir() {
			return nil, 0, errNotRegular
		}
		if info.Mode().IsRegular() {
			at := e.Offset
			if at == 0 {
				if at, err = f.Seek(0, io.SeekCurrent); err != nil {
					return nil, 0, err
				}
			}
			size = max(0, info.Size()-at)
		}
	}
	if e.Offset > 0 {
		seeker, ok := e.FH.(io.Seeker)
		if !ok {
			return nil, 0, errors.New("cannot seek")
		}
		if _, err := seeker.Seek(e.Offset, io.SeekStart); err != nil {
			return nil, 0, err
		}
	}
	src := e.FH
	switch {
	case size >= 0:
		size = within(size, e.Length)
		src = io.LimitReader(src, size)
	case e.Length != pagi.ToEnd:
		src = io.LimitReader(src, e.Length)
	}
	return sourceOf{src, nothing{}}, size, nil
}

func within(size, length int64) int64 {
	if length == pagi.ToEnd {
		return size
	}
	return min(size, length)
}

type sourceOf struct {
	io.Reader
	io.Closer
}

type nothing struct{}

func (nothing) Close() error { return nil } // the application closes its handle
