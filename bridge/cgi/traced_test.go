//go:build unix

package cgi

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/spans/spanstest"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

const tracedScript = "#!/bin/sh\necho Content-Type: text/plain\necho\n" +
	"echo \"$$ $HTTP_TRACEPARENT $TRACEPARENT $TRACESTATE\"\n[ \"$QUERY_STRING\" != long ] || { exec >&-; until [ -e go ]; do sleep .01; done; }\n"

// traced runs a script for a request whose trace is recorded, and returns what it has printed.
func traced(t *testing.T, app pagi.App, target string, trace *spanstest.Trace) string {
	t.Helper()
	scope := ask{target: target, headers: pagi.NewHeaders("traceparent", "00-"+spanstest.ID+"-ffffffffffffffff-01", "tracestate", "a=1")}.scope()
	scope.Notes = &pagi.LogNotes{}
	scope.Notes.Add(pagi.NewMountNote("/cgi-bin"))
	scope.Notes.SetTrace(trace)
	var body strings.Builder
	receive := func(context.Context) (pagi.Event, error) { return pagi.HTTPRequest{}, nil }
	err := app.Serve(t.Context(), scope, receive, func(_ context.Context, ev pagi.Event) error {
		if piece, is := ev.(pagi.HTTPResponseBody); is {
			body.Write(piece.Body)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return strings.TrimSpace(body.String())
}

func TestSpansOfAScript(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"s.cgi": tracedScript})
	if err := os.Chmod(filepath.Join(dir, "s.cgi"), 0o755); err != nil {
		t.Fatal(err)
	}
	app := build(t, CGI{Root: dir, Traced: true, Concurrency: 2})
	var clients sync.WaitGroup
	for range 6 {
		clients.Go(func() {
			for range 5 {
				trace := &spanstest.Trace{}
				told := traced(t, app, "/s.cgi", trace)
				wait, work := trace.Only(t, "wait"), trace.Only(t, "cgi")
				want := work.Attributes["process.pid"] + " " + work.Traceparent() + " " + work.Traceparent() + " a=1"
				if told != want || !wait.To.Equal(work.From) || work.To.Before(work.From) || work.Attributes["pagi.mount"] != "/cgi-bin" ||
					work.Attributes["pagi.cgi.mode"] != "exec" || work.Attributes["pagi.script"] != filepath.Join(dir, "s.cgi") {
					t.Errorf("told %q, want %q; %+v", told, want, work)
				}
			}
		})
	}
	clients.Wait()

	// A script that works on after its answer.
	trace := &spanstest.Trace{}
	traced(t, app, "/s.cgi?long", trace)
	if len(trace.Ended()) != 1 {
		t.Errorf("the span of a script that works on has ended: %v", trace.Ended())
	}
	answered := time.Now()
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "its end", func() bool { return len(trace.Ended()) == 2 })
	if work := trace.Only(t, "cgi"); work.To.Before(answered) || work.Err != nil {
		t.Errorf("%+v", work)
	}

	// A variable of the operator's goes before.
	app = build(t, CGI{Root: dir, Traced: true, Env: map[string]string{"TRACEPARENT": "own"}})
	trace = &spanstest.Trace{}
	if told := strings.Fields(traced(t, app, "/s.cgi", trace)); len(told) != 4 || told[2] != "own" {
		t.Errorf("told %v", told)
	}
}

func TestSpansOfAScriptThatFails(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"s.cgi": "#!/bin/sh\nexit 7\n"})
	if err := os.Chmod(filepath.Join(dir, "s.cgi"), 0o755); err != nil {
		t.Fatal(err)
	}
	app := build(t, CGI{Root: dir})
	scope := ask{target: "/s.cgi"}.scope()
	trace := &spanstest.Trace{}
	scope.Notes = &pagi.LogNotes{}
	scope.Notes.SetTrace(trace)
	receive := func(context.Context) (pagi.Event, error) { return pagi.HTTPRequest{}, nil }
	err := app.Serve(t.Context(), scope, receive, func(context.Context, pagi.Event) error { return nil })
	if work := trace.Only(t, "cgi"); err == nil || work.Err == nil || !strings.Contains(work.Err.Error(), "s.cgi") {
		t.Errorf("%v, the span: %v", err, work.Err)
	}
}
