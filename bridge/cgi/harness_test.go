//go:build unix

package cgi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// scripts is the directory most tests serve.
const scripts = "testdata/cgi-bin"

const perl = "#!/usr/bin/perl\n"

// build returns the application for options; Root defaults to scripts.
func build(t testing.TB, options CGI) pagi.App {
	t.Helper()
	if options.Root == "" && options.Script == "" {
		options.Root = scripts
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	application, err := options.Build()
	if err != nil {
		t.Fatal(err)
	}
	return application
}

// ask is what a test sends; the zero one is GET with HTTP/1.1.
type ask struct {
	method  string
	target  string // path with root_path and query, as on the wire
	root    string // root_path
	headers pagi.Headers
	body    string
	chunked bool // the body has no Content-Length and comes in two pieces
	kind    string
}

func (r ask) scope() *pagi.Scope {
	raw, query, _ := strings.Cut(r.target, "?")
	path, err := url.PathUnescape(raw)
	if err != nil {
		panic(err)
	}
	s := &pagi.Scope{
		Type: r.kind, HTTPVersion: "1.1", Method: r.method, Scheme: "http",
		Path: path, RawPath: raw, Target: r.target, QueryString: query,
		Headers: append(pagi.NewHeaders("host", "example.org"), r.headers...),
		Client:  pagi.Addr{Host: "192.0.2.7", Port: 40001}, Server: pagi.Addr{Host: "192.0.2.1", Port: 8080},
	}
	if s.Type == "" {
		s.Type = pagi.TypeHTTP
	}
	if s.Method == "" {
		s.Method = http.MethodGet
	}
	if r.body != "" && !r.chunked {
		s.Headers.Add("content-length", strconv.Itoa(len(r.body)))
	}
	if r.root != "" {
		s = s.Mount(r.root)
	}
	return s
}

// receive plays the request's body and then a client that waits.
func (r ask) receive() pagi.Receive {
	pieces := []pagi.HTTPRequest{{Body: []byte(r.body)}}
	if r.chunked {
		half := len(r.body) / 2
		pieces = []pagi.HTTPRequest{{Body: []byte(r.body[:half]), More: true}, {Body: []byte(r.body[half:])}}
	}
	return func(ctx context.Context) (pagi.Event, error) {
		if len(pieces) == 0 {
			<-ctx.Done()
			return pagi.HTTPDisconnect{}, nil
		}
		next := pieces[0]
		pieces = pieces[1:]
		return next, nil
	}
}

// result is what a test got.
type result struct {
	status   int
	headers  pagi.Headers
	body     string
	pieces   []string
	complete bool
	err      error
}

// statusError is the status Serve's error asks for, 0 without one.
func (r *result) statusError() int {
	var e *pagi.StatusError
	if errors.As(r.err, &e) {
		return e.Status
	}
	return 0
}

// take is a Send that keeps the rules a server keeps.
func (r *result) take(scopeType string) pagi.Send {
	return func(_ context.Context, ev pagi.Event) error {
		if err := pagi.Validate(scopeType, ev); err != nil {
			return err
		}
		switch e := ev.(type) {
		case pagi.HTTPResponseStart:
			return r.begin(e.Status, e.Headers)
		case pagi.HTTPResponseBody:
			if e.FH != nil {
				b, err := io.ReadAll(e.FH)
				return errors.Join(err, r.piece(b, false))
			}
			return r.piece(e.Body, e.More)
		}
		return fmt.Errorf("unexpected event %s", ev.EventType())
	}
}

func (r *result) begin(status int, headers pagi.Headers) error {
	if r.status != 0 {
		return errors.New("started twice")
	}
	r.status, r.headers = status, headers.Clone()
	return nil
}

func (r *result) piece(b []byte, more bool) error {
	if r.status == 0 || r.complete {
		return errors.New("body out of turn")
	}
	r.body += string(b)
	if len(b) > 0 {
		r.pieces = append(r.pieces, string(b))
	}
	r.complete = !more
	return nil
}

// do serves one request to its end.
func do(t testing.TB, application pagi.App, r ask) *result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	scope, res := r.scope(), &result{}
	res.err = application.Serve(ctx, scope, r.receive(), res.take(scope.Type))
	if ctx.Err() != nil {
		t.Fatalf("%s %s: not done after %v: %v", scope.Method, r.target, testkit.Patience, res.err)
	}
	return res
}

// live is a request that goes on step by step.
type live struct {
	t      testing.TB
	in     chan pagi.HTTPRequest
	out    chan pagi.Event
	err    chan error
	cancel context.CancelCauseFunc
}

// begin serves r; its body is what the test sends to in.
func begin(t testing.TB, application pagi.App, r ask) *live {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	l := &live{t, make(chan pagi.HTTPRequest), make(chan pagi.Event), make(chan error, 1), cancel}
	receive := func(rctx context.Context) (pagi.Event, error) {
		select {
		case ev := <-l.in:
			return ev, nil
		case <-ctx.Done():
			return pagi.HTTPDisconnect{}, nil
		case <-rctx.Done():
			return nil, context.Cause(rctx)
		}
	}
	send := func(_ context.Context, ev pagi.Event) error {
		b, is := ev.(pagi.HTTPResponseBody)
		if is {
			b.Body = bytes.Clone(b.Body)
			ev = b
		}
		select {
		case l.out <- ev:
		case <-ctx.Done():
		}
		return nil
	}
	go func() { l.err <- application.Serve(ctx, r.scope(), receive, send) }()
	t.Cleanup(func() { cancel(nil) })
	return l
}

func (l *live) feed(piece string, more bool) {
	l.t.Helper()
	select {
	case l.in <- pagi.HTTPRequest{Body: []byte(piece), More: more}:
	case <-time.After(testkit.Patience):
		l.t.Fatalf("nobody takes the piece %q", piece)
	}
}

// next returns the next event.
func (l *live) next() pagi.Event {
	l.t.Helper()
	select {
	case ev := <-l.out:
		return ev
	case err := <-l.err:
		l.t.Fatalf("ended instead of sending an event: %v", err)
	case <-time.After(testkit.Patience):
		l.t.Fatal("no event came")
	}
	return nil
}

// text waits until the body so far ends with want.
func (l *live) text(want string) {
	l.t.Helper()
	got := ""
	for !strings.HasSuffix(got, want) {
		ev := l.next()
		b, is := ev.(pagi.HTTPResponseBody)
		if _, starts := ev.(pagi.HTTPResponseStart); starts {
			continue
		}
		if got += string(b.Body); !is || !b.More && !strings.HasSuffix(got, want) {
			l.t.Fatalf("got %q and then %#v, want %q", got, ev, want)
		}
	}
}

// disconnect makes the client go away.
func (l *live) disconnect() { l.cancel(&pagi.DisconnectError{Reason: pagi.ReasonClientClosed}) }

// end waits until Serve has returned, taking what is still sent.
func (l *live) end() error {
	l.t.Helper()
	deadline := time.After(testkit.Patience)
	for {
		select {
		case <-l.out:
		case err := <-l.err:
			return err
		case <-deadline:
			l.t.Fatal("Serve does not return")
		}
	}
}

// gone reports whether the process has ended; a zombie nobody reaps has.
func gone(pid string) bool {
	stat, err := os.ReadFile("/proc/" + strings.TrimSpace(pid) + "/stat")
	if err != nil {
		n, _ := strconv.Atoi(strings.TrimSpace(pid))
		return !alive(n)
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "Z") || strings.HasPrefix(after, "X")
}

// fileText waits for a file and returns what is in it.
func fileText(t testing.TB, name string) string {
	t.Helper()
	var text []byte
	testkit.Eventually(t, name+" to exist", func() bool {
		b, err := os.ReadFile(name)
		text = b
		return err == nil
	})
	return string(text)
}
