package nethttp

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync/atomic"

	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// Adapter is an http.Handler that passes requests to an engine.Handler. It works below any caller
// with an http.ResponseWriter: net/http's servers of HTTP/1.1 and HTTP/2, quic-go's of HTTP/3, or a
// mux. It also works below package http1, whose ResponseWriters are streams already.
//
// With other ResponseWriters the headers of a response are sent sorted by name. There the response
// ends only when the handler returns, so the handler returns at the end of the response. The
// application has a goroutine of its own and may run on after its response. Running counts such
// applications.
type Adapter struct {
	// Engine calls the application. It must be set.
	Engine *engine.Handler

	running atomic.Int32
}

// Running returns how many applications still run although their handler has returned, or is about
// to. A stopping server waits for them, too.
func (a *Adapter) Running() int { return int(a.running.Load()) }

// ServeHTTP implements http.Handler.
func (a *Adapter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s, ok := w.(engine.Stream); ok {
		a.Engine.Serve(s, r)
		return
	}
	s := newStream(a.Engine, w, r)
	go a.run(s)
	<-s.over
	if a.running.Add(1); !s.side.CompareAndSwap(bothRun, handlerLeft) {
		a.running.Add(-1)
	}
	if s.leave() {
		s.cut()
	}
}

// The sides of a request: which of the two goroutines has ended first.
const (
	bothRun int32 = iota
	handlerLeft
	runEnded
)

// run is the application's goroutine.
func (a *Adapter) run(s *stream) {
	cut := true // stays true if Serve panics
	defer func() {
		if p := recover(); p != nil {
			if err, is := p.(error); !is || !errors.Is(err, http.ErrAbortHandler) {
				cmp.Or(a.Engine.Logger, slog.Default()).Error("request failed", "method", s.r.Method, "host", s.r.Host, "path", s.r.URL.Path,
					"client", s.r.RemoteAddr, "error", "panic: "+fmt.Sprint(p), "stack", string(debug.Stack()))
			}
		}
		if s.side.Swap(runEnded) == handlerLeft {
			a.running.Add(-1)
		}
		s.end(cut)
	}()
	a.Engine.Serve(s, s.request())
	cut = false
}
