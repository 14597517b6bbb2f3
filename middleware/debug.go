package middleware

import (
	"bytes"
	"context"
	_ "embed"
	"html/template"
	"strconv"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
)

//go:embed debug.html
var debugSource string

var debugPanel = template.Must(template.New("debug").Parse(debugSource))

// Debug adds a panel to the end of HTML pages, which shows the request, the scope, the response's
// headers and how long it took. It does nothing unless Enabled, and refuses to work in an environment
// other than development.
//
// The panel follows the page's last byte, so that a page that is streamed is not held up. Such pages
// have no Content-Length, ETag and Last-Modified. Compressed pages and parts of pages stay as they
// are.
type Debug struct {
	// Enabled turns it on.
	Enabled bool `yaml:"enabled"`
	// HideHeaders, HideScope and HideTiming leave out a part of the panel.
	HideHeaders bool `yaml:"hide_headers"`
	HideScope   bool `yaml:"hide_scope"`
	HideTiming  bool `yaml:"hide_timing"`
	// Environment is set by the site.
	Environment string `yaml:"-"`
}

func init() { parts.Middleware[Debug]("debug") }

// Check reports a Debug that is enabled in another environment than development.
func (m Debug) Check() error {
	if m.Enabled && m.Environment != "" && m.Environment != "development" {
		return pagi.BadOption("enabled", "must be false in the environment %s, because the panel shows visitors what is not for them", m.Environment)
	}
	return nil
}

// Wrap puts m around next.
func (m Debug) Wrap(next pagi.App) pagi.App {
	if !m.Enabled {
		return next
	}
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeHTTP || scope.Method == "HEAD" {
			return next.Serve(ctx, scope, receive, send)
		}
		p := &debugged{m: &m, scope: scope, begin: time.Now(), send: send}
		return next.Serve(ctx, scope, receive, p.event)
	})
}

// debugged is a response that may get a panel.
type debugged struct {
	m     *Debug
	scope *pagi.Scope
	begin time.Time
	first time.Duration // until the response began
	send  pagi.Send
	start *pagi.HTTPResponseStart // of a page; nil: it is none
}

func (d *debugged) event(ctx context.Context, ev pagi.Event) error {
	switch e := ev.(type) {
	case pagi.HTTPResponseStart:
		if isPage(e) {
			d.first = time.Since(d.begin)
			original := e
			original.Headers = e.Headers.Clone()
			d.start = &original
			e.Headers = edited(e.Headers, func(h *pagi.Headers) {
				for _, name := range []string{"content-length", "etag", "last-modified"} {
					h.Del(name)
				}
			})
			ev = e
		}
	case pagi.HTTPResponseBody:
		if d.start == nil || e.File != "" || e.FH != nil || e.More {
			break
		}
		panel, err := d.panel()
		if err != nil {
			return err
		}
		if err := d.send(ctx, pagi.HTTPResponseBody{Body: e.Body, More: true}); err != nil {
			return err
		}
		return d.send(ctx, pagi.HTTPResponseBody{Body: panel})
	}
	return d.send(ctx, ev)
}

// isPage reports whether a response is a whole HTML page that is not compressed.
func isPage(e pagi.HTTPResponseStart) bool {
	mediaType, _, _ := strings.Cut(e.Headers.Get("content-type"), ";")
	return strings.EqualFold(strings.TrimSpace(mediaType), "text/html") && !e.Trailers && !e.Headers.Has("content-encoding") &&
		e.Status != 204 && e.Status != 206 && e.Status != 304
}

func (d *debugged) panel() ([]byte, error) {
	s := d.scope
	data := map[string]any{"Line": strings.TrimSpace(s.Method + " " + s.RequestURI()), "Status": d.start.Status}
	if !d.m.HideTiming {
		milliseconds := func(t time.Duration) string { return strconv.FormatFloat(t.Seconds()*1000, 'f', 1, 64) + " ms" }
		data["Timing"] = [][2]string{{"until the response began", milliseconds(d.first)}, {"until it was complete", milliseconds(time.Since(d.begin))}}
	}
	if !d.m.HideScope {
		data["Scope"] = [][2]string{
			{"type", s.Type}, {"http_version", s.HTTPVersion}, {"method", s.Method}, {"scheme", s.Scheme}, {"path", s.Path}, {"root_path", s.RootPath},
			{"query_string", s.QueryString}, {"client", s.Client.Host}, {"server", s.Server.Host + ":" + strconv.Itoa(s.Server.Port)},
		}
	}
	if !d.m.HideHeaders {
		data["Request"], data["Response"] = s.Headers, d.start.Headers
	}
	var out bytes.Buffer
	err := debugPanel.Execute(&out, data)
	return out.Bytes(), err
}
