package psgi

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/leased"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
)

// mounted is a PSGI application that has been started.
type mounted struct {
	t   *testing.T
	app pagi.App
	log *testkit.Log
}

// mount builds and starts the application and stops it when the test ends.
func mount(t *testing.T, o PSGI) *mounted {
	t.Helper()
	m := &mounted{t: t, log: &testkit.Log{}}
	o.Logger = m.log.Logger()
	if o.Crew == nil {
		o.Crew = leased.Maker()
	}
	if o.Workers == 0 {
		o.Workers = 1
	}
	app, err := o.Build()
	if err != nil {
		t.Fatal(err)
	}
	run, err := lifespan.Start(t.Context(), app, &pagi.Scope{Type: pagi.TypeLifespan})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := run.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", m.log)
		}
	})
	m.app = app
	return m
}

// code mounts an application given as Perl code.
func code(t *testing.T, perl string) *mounted { return mount(t, PSGI{Code: perl}) }

// result is everything an application sent.
type result struct {
	status  int
	headers pagi.Headers
	body    string
	info    []pagi.HTTPResponseInformational
	file    bool // a part of the body came as a file
	chunks  []string
	ended   bool
	err     error
}

// call describes what a test sends.
type call struct {
	kind                string // of the scope; http by default
	method, path, query string
	root                string // root_path, with which path begins
	headers             pagi.Headers
	body                string
	trace               pagi.Trace // nil: it is not recorded
}

func (m *mounted) get(path string) *result { return m.do(call{path: path}) }

func (m *mounted) do(c call) *result {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 30*time.Second)
	defer cancel()
	return m.doContext(ctx, c, nil)
}

// doContext runs a request; onBody, when not nil, sees each piece of the body.
func (m *mounted) doContext(ctx context.Context, c call, onBody func(piece string)) *result {
	m.t.Helper()
	if c.method == "" {
		c.method = "GET"
	}
	if c.kind == "" {
		c.kind = pagi.TypeHTTP
	}
	scope := &pagi.Scope{
		Type: c.kind, HTTPVersion: "1.1", Method: c.method, Scheme: "http",
		Path: c.path, RawPath: c.path, QueryString: c.query,
		Headers: append(pagi.NewHeaders("host", "example.test"), c.headers...),
		Client:  pagi.Addr{Host: "192.0.2.7", Port: 4711},
		Server:  pagi.Addr{Host: "127.0.0.1", Port: 5000},
	}
	if c.root != "" {
		scope = scope.Mount(c.root)
	}
	if c.trace != nil {
		scope.Notes = &pagi.LogNotes{}
		scope.Notes.SetTrace(c.trace)
	}
	rest := c.body
	receive := func(context.Context) (pagi.Event, error) {
		n := min(len(rest), 32<<10)
		ev := pagi.HTTPRequest{Body: []byte(rest[:n]), More: n < len(rest)}
		rest = rest[n:]
		return ev, nil
	}
	r := &result{}
	send := func(_ context.Context, ev pagi.Event) error {
		if err := pagi.Validate(c.kind, ev); err != nil {
			return err
		}
		switch e := ev.(type) {
		case pagi.HTTPResponseInformational:
			r.info = append(r.info, e)
		case pagi.HTTPResponseStart:
			r.status, r.headers = e.Status, e.Headers
		case pagi.HTTPResponseBody:
			piece := string(e.Body)
			if e.FH != nil {
				r.file = true
				if _, err := e.FH.(io.Seeker).Seek(e.Offset, io.SeekStart); err != nil {
					return err
				}
				b, err := io.ReadAll(io.LimitReader(e.FH, e.Length))
				if err != nil {
					return err
				}
				piece, e.More = string(b), false
			}
			r.body += piece
			r.chunks = append(r.chunks, piece)
			if onBody != nil {
				onBody(piece)
			}
			r.ended = !e.More
		}
		return nil
	}
	r.err = m.app.Serve(ctx, scope, receive, send)
	return r
}
