package apps

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/vitals"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/sse"
)

// StatusPage is a page that shows what a running gateway does: live, and in plots of the last hour. It changes nothing. Any client
// that reaches it sees which mounts and processes there are, and with "all" the methods and paths of running requests: protect it
// by a middleware. It shows no query strings.
//
// It keeps one point for each ten seconds of the last hour, from its startup on, so it needs the lifespan.
type StatusPage struct {
	// Show is "all", the default, or "mounts" to leave processes and their requests out.
	Show string `yaml:"show"`
	// Source describes the gateway, nil for what is not known. The site sets it.
	Source func() *status.Gateway `yaml:"-"`

	recorder vitals.Recorder
}

func init() { parts.App[StatusPage]("status_page", "show") }

// Values of StatusPage.Show.
const (
	showAll    = "all"
	showMounts = "mounts"
)

// Check reports an unknown value of Show, and a missing Source.
func (s *StatusPage) Check() error {
	switch s.Show {
	case "", showAll, showMounts:
	default:
		return pagi.BadOption("show", "must be all or mounts, is %q", s.Show)
	}
	if s.Source == nil {
		return errors.New("status_page: there is no gateway to look at; only a site has one")
	}
	return nil
}

// Serve implements pagi.App.
func (s *StatusPage) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	switch scope.Type {
	case pagi.TypeLifespan:
		return s.serveLife(ctx, receive, send)
	case pagi.TypeSSE:
		if scope.Path == "/events" {
			return s.serveEvents(ctx, scope, receive, send)
		}
		return reply.Status(ctx, scope, send, http.StatusNotFound)
	case pagi.TypeHTTP:
	default:
		return pagi.Unsupported(scope)
	}
	if scope.Method != http.MethodGet && scope.Method != http.MethodHead {
		return reply.Status(ctx, scope, send, http.StatusMethodNotAllowed, "allow", "GET, HEAD")
	}
	switch scope.Path {
	case "":
		return reply.ToSlash(ctx, scope, send)
	case "/events":
		return reply.Text(ctx, scope, send, http.StatusNotAcceptable, "Only as text/event-stream.", "cache-control", "no-store")
	}
	asset := statusAssets()[scope.Path]
	if asset == nil {
		return reply.Status(ctx, scope, send, http.StatusNotFound)
	}
	return asset.send(ctx, scope, send)
}

// serveLife runs the recorder from the startup to the shutdown.
func (s *StatusPage) serveLife(ctx context.Context, receive pagi.Receive, send pagi.Send) error {
	s.recorder.Source = s.Source
	var running sync.WaitGroup
	cancel := func() {}
	defer func() { cancel(); running.Wait() }()
	return lifespan.Serve(ctx, receive, send, func(context.Context) error {
		var life context.Context
		life, cancel = context.WithCancel(context.WithoutCancel(ctx))
		running.Go(func() { s.recorder.Run(life) })
		return nil
	}, func(context.Context) error {
		cancel()
		running.Wait()
		return nil
	})
}

// serveEvents sends the points so far as an event history, and then events view and point.
func (s *StatusPage) serveEvents(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	points, updates, stop, err := s.recorder.Watch()
	if errors.Is(err, vitals.ErrTooMany) {
		return reply.Status(ctx, scope, send, http.StatusServiceUnavailable, "retry-after", "10")
	}
	if err != nil {
		return err
	}
	defer stop()
	stream := sse.New(ctx, scope, receive, send)
	if err := stream.Start(0, pagi.NewHeaders("cache-control", "no-store")); err != nil {
		return leftIsNil(ctx, err)
	}
	if points == nil {
		points = []vitals.Point{}
	}
	if err := stream.SendJSON("history", points); err != nil {
		return leftIsNil(ctx, err)
	}
	err = sse.Each(stream, updates, func(u vitals.Update) error {
		if u.Point != nil {
			if err := stream.SendJSON("point", u.Point); err != nil {
				return err
			}
		}
		return stream.SendJSON("view", s.shown(u.View))
	})
	return leftIsNil(ctx, err)
}

// shown returns what Show lets the page have of a view. Views are shared, and not changed.
func (s *StatusPage) shown(v *vitals.View) *vitals.View {
	if s.Show != showMounts {
		return v
	}
	less := *v
	less.Mounts, less.Services, less.Jobs = append([]vitals.Mount(nil), v.Mounts...), nil, nil
	for i := range less.Mounts {
		less.Mounts[i].Processes, less.Mounts[i].Left = nil, 0
	}
	return &less
}

//go:embed statuspage/page.html statuspage/page.js statuspage/page.css statuspage/icon.svg statuspage/uplot/uplot.js statuspage/uplot/uplot.css statuspage/uplot/LICENSE
var statusFiles embed.FS

// statusPolicy lets the page load its own files and connect to its own events, and nothing else.
const statusPolicy = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// statusAsset is a file of the page.
type statusAsset struct {
	body    []byte
	headers pagi.Headers
	tag     string
}

// statusAssets returns the files of the page by their paths below the mount.
var statusAssets = sync.OnceValue(func() map[string]*statusAsset {
	all := map[string]*statusAsset{}
	for path, file := range map[string][2]string{
		"/": {"page.html", "text/html; charset=utf-8"}, "/page.js": {"page.js", "text/javascript; charset=utf-8"},
		"/page.css": {"page.css", "text/css; charset=utf-8"}, "/uplot.js": {"uplot/uplot.js", "text/javascript; charset=utf-8"},
		"/icon.svg": {"icon.svg", "image/svg+xml"}, "/uplot.css": {"uplot/uplot.css", "text/css; charset=utf-8"}, "/uplot-licence": {"uplot/LICENSE", "text/plain; charset=utf-8"},
	} {
		body, err := fs.ReadFile(statusFiles, "statuspage/"+file[0])
		if err != nil {
			panic(err) // the list above and that of go:embed differ
		}
		sum := sha256.Sum256(body)
		a := &statusAsset{body: body, tag: `"` + hex.EncodeToString(sum[:12]) + `"`}
		a.headers = pagi.NewHeaders("content-type", file[1], "cache-control", "no-cache", "etag", a.tag, "content-security-policy", statusPolicy,
			"x-content-type-options", "nosniff", "referrer-policy", "no-referrer")
		all[path] = a
	}
	return all
})

// send answers with the file, or with 304 where the client has it.
func (a *statusAsset) send(ctx context.Context, scope *pagi.Scope, send pagi.Send) error {
	if strings.Contains(scope.Headers.Get("if-none-match"), a.tag) {
		return reply.Send(ctx, scope, send, http.StatusNotModified, a.headers.Clone(), nil)
	}
	h := a.headers.Clone()
	h.Add("content-length", strconv.Itoa(len(a.body)))
	return reply.Send(ctx, scope, send, http.StatusOK, h, a.body)
}
