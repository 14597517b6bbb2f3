package mux_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/mux"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// queued is how many scopes wait.
func (w *workers) queued() int { return w.Look(time.Now()).Queued }

func TestScopesWaitForAPlace(t *testing.T) {
	w := startWorkers(t, "few", mux.WorkersOptions{Processes: worker.Processes{Workers: 1}, QueueSize: 2, QueueTimeout: testkit.Patience})
	first, second := w.WebSocket("/"), w.WebSocket("/") // all that the worker takes
	if !first.Accepted || !second.Accepted {
		t.Fatal(first.Response, second.Response)
	}
	answers := make(chan *pagitest.Response, 2)
	var running sync.WaitGroup
	defer running.Wait()
	for range 2 {
		running.Go(func() { answers <- pagitest.New(pagi.AppFunc(w.Serve)).Get("/pid") })
	}
	testkit.Eventually(t, "two scopes wait", func() bool { return w.queued() == 2 })
	if r := w.Get("/hello"); !errors.Is(r.Err, mux.ErrBusy) {
		t.Errorf("a third one: %v", r.Err)
	}
	if err := first.Finish(); err != nil { // its place serves both, one after the other
		t.Error(err)
	}
	for range 2 {
		if r := testkit.Await(t, answers); r.Err != nil || r.Text() == "" {
			t.Errorf("%q %v", r.Text(), r.Err)
		}
	}
	if err := second.Finish(); err != nil {
		t.Error(err)
	}
}

func TestScopesDoNotWaitForEver(t *testing.T) {
	w := startWorkers(t, "few", mux.WorkersOptions{Processes: worker.Processes{Workers: 1}, QueueSize: 2, QueueTimeout: time.Millisecond})
	first, second := w.WebSocket("/"), w.WebSocket("/")
	if r := w.Get("/hello"); !errors.Is(r.Err, mux.ErrBusy) {
		t.Error(r.Err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the client has left")
	cancel(cause)
	if err := w.Serve(ctx, &pagi.Scope{Type: pagi.TypeHTTP}, nil, nil); !errors.Is(err, cause) && !errors.Is(err, mux.ErrBusy) {
		t.Error(err)
	}
	for _, ws := range []*pagitest.WebSocket{first, second} {
		if err := ws.Finish(); err != nil {
			t.Error(err)
		}
	}
}

// The scopes of a worker that was replaced end when their time is over, and the worker goes.
func TestRetiredWorkers(t *testing.T) {
	w := startWorkers(t, "serve", mux.WorkersOptions{Processes: worker.Processes{Workers: 1}, StreamGrace: 20 * time.Millisecond})
	ws := w.WebSocket("/")
	if !ws.Accepted {
		t.Fatal(ws.Response)
	}
	if err := w.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := ws.Receive(); err == nil {
		t.Error("the WebSocket goes on")
	}
	if err := ws.Finish(); !errors.Is(err, mux.ErrRetired) {
		t.Errorf("%v", err)
	}
	testkit.Eventually(t, "one worker is left", func() bool { return len(w.Status().Workers) == 1 })
	if w.pid(t) == "" {
		t.Error("no answer")
	}
}
