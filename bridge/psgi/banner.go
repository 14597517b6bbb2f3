package psgi

import (
	"bytes"
	"context"
	_ "embed"
	"html/template"
	"io"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/pagi-go/pagi-bridge/pagi"
)

//go:embed banner.html
var bannerSource string

var bannerTemplate = template.Must(template.New("banner").Parse(bannerSource))

// banner is a notice on top of HTML pages while the newest version of the application cannot be
// loaded and an older one serves. It is used only in development.
type banner struct {
	html atomic.Pointer[[]byte] // nil: no banner
}

// set shows the error of a reload, or no banner if err is nil.
func (b *banner) set(err error) {
	if err == nil {
		b.html.Store(nil)
		return
	}
	var page bytes.Buffer
	if err := bannerTemplate.Execute(&page, err.Error()); err != nil {
		page.Reset()
		page.WriteString("<p>The new version cannot be loaded; see the log.</p>") // the template is fixed: not reached
	}
	html := page.Bytes()
	b.html.Store(&html)
}

// on returns a send that adds the banner to HTML answers.
func (b *banner) on(scope *pagi.Scope, send pagi.Send) pagi.Send {
	html := b.html.Load()
	if html == nil || scope.Type != pagi.TypeHTTP {
		return send
	}
	s := &bannerSend{html: *html, send: send, head: scope.Method == "HEAD"}
	return s.event
}

// bannerSend adds a banner to the end of one answer. A browser accepts it there whatever comes
// before it.
type bannerSend struct {
	html []byte
	send pagi.Send
	head bool // the answer has no body
	on   bool // the answer is HTML
}

func (s *bannerSend) event(ctx context.Context, ev pagi.Event) error {
	switch e := ev.(type) {
	case pagi.HTTPResponseStart:
		if s.on = isPlainHTML(&e); s.on {
			e.Headers = s.headers(e.Headers)
		}
		return s.send(ctx, e)
	case pagi.HTTPResponseBody:
		if !s.on || s.head || e.More {
			break
		}
		if e.FH != nil {
			return s.file(ctx, e)
		}
		return s.last(ctx, e.Body)
	}
	return s.send(ctx, ev)
}

// isPlainHTML reports whether text can be added to an answer's body.
func isPlainHTML(e *pagi.HTTPResponseStart) bool {
	switch e.Status {
	case 204, 206, 304:
		return false
	}
	kind, _, _ := strings.Cut(e.Headers.Get("content-type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "text/html") && !e.Headers.Has("content-encoding")
}

// headers returns the headers of the longer page, which no cache may store.
func (s *bannerSend) headers(h pagi.Headers) pagi.Headers {
	h = h.Clone()
	if n, err := strconv.ParseInt(h.Get("content-length"), 10, 64); err == nil {
		h.Set("content-length", strconv.FormatInt(n+int64(len(s.html)), 10))
	}
	h.Del("etag")
	h.Del("last-modified")
	h.Set("cache-control", "no-store")
	return h
}

// last sends the end of the body with the banner behind it.
func (s *bannerSend) last(ctx context.Context, body []byte) error {
	page := append(append(make([]byte, 0, len(body)+len(s.html)), body...), s.html...)
	return s.send(ctx, pagi.HTTPResponseBody{Body: page})
}

// fileChunk is the size of the pieces of a file that is not sent as a file event.
const fileChunk = 64 << 10

// file sends a file in pieces, because a file event would end the answer before the banner.
func (s *bannerSend) file(ctx context.Context, e pagi.HTTPResponseBody) error {
	file, ok := e.FH.(io.ReaderAt)
	if !ok {
		return s.send(ctx, e)
	}
	part := io.NewSectionReader(file, e.Offset, e.Length)
	buf := make([]byte, fileChunk)
	for {
		n, err := io.ReadFull(part, buf)
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return s.last(ctx, buf[:n])
		case err != nil:
			return err
		}
		if err := s.send(ctx, pagi.HTTPResponseBody{Body: buf[:n], More: true}); err != nil {
			return err
		}
	}
}
