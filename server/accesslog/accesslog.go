// Package accesslog writes a line for each request that has ended. A Log is an engine.Observer.
// Package server makes one of the options of its Server; a Go program may make its own.
//
// Which file does what: accesslog.go collects lines and passes them on in large pieces, format.go
// compiles format strings and has the atoms (%h, %r, ...), json.go has the format json.
//
// A request never waits for the writer of its line. A line that the writer does not take, or not
// in time, is lost and counted, and the log of the server tells how many were lost (see package
// lines).
//
// It may import package engine, whose records it writes. It must know nothing of sockets and of
// package server.
package accesslog

import (
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/lines"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

const (
	bufferSize  = 64 << 10    // bytes collected before they are written
	flushDelay  = time.Second // longest time a line waits
	finishLimit = time.Second // longest time the last lines may take to be written
)

// Options say where lines go, and what is in them.
type Options struct {
	// Writer receives the lines; nil: they are dropped. One goroutine at a time writes to it,
	// at the latest a second after the request. It may still be written to after Close, if it
	// blocks.
	Writer io.Writer
	// Format is "common", "clf", "combined", "tiny", "json", or a format string; see Format.
	// Default: common.
	Format string
}

// Check reports what is wrong with the options.
func (o Options) Check() error {
	_, err := ParseFormat(o.Format)
	return err
}

// Log collects lines and writes them in large pieces. Its methods may be called at the same time.
type Log struct {
	log *slog.Logger

	mu     sync.Mutex
	w      *lines.Writer // nil: lines are dropped
	own    bool          // Set has made w
	format Format
	buf    []byte

	stop, stopped chan struct{} // of the periodic flushing; nil until Set gets a writer
}

// New returns a Log that drops its lines until Set gives it a writer. It tells log when lines are
// lost.
func New(log *slog.Logger) *Log { return &Log{log: log} }

// Set replaces the options, which Check must have found right. Lines of requests that have ended
// before go to the writer there was.
func (a *Log) Set(o Options) {
	format, _ := ParseFormat(o.Format) // Check has seen it
	w, ready := o.Writer.(*lines.Writer)
	own := !ready && o.Writer != nil
	if own {
		w = lines.New(o.Writer, lines.Options{Failed: a.failed, Lost: a.lost})
	}
	a.mu.Lock()
	a.flushLocked()
	old, owned := a.w, a.own
	a.w, a.own, a.format = w, own, format
	if a.w != nil && a.stop == nil {
		a.buf = make([]byte, 0, bufferSize+4096)
		a.stop, a.stopped = make(chan struct{}), make(chan struct{})
		go a.flushPeriodically()
	}
	a.mu.Unlock()
	if old != w {
		a.finish(old, owned)
	}
}

// finish has the last lines of w written, which gets no further ones.
func (a *Log) finish(w *lines.Writer, own bool) {
	switch {
	case w == nil:
	case own:
		if err := w.Close(finishLimit); err != nil {
			a.log.Error("the end of the access log is lost", "error", err)
		}
	default:
		w.Flush(finishLimit) // its owner tells what is lost
	}
}

func (a *Log) failed(err error) {
	a.log.Error("access log cannot be written, lines are lost", "error", err)
}

func (a *Log) lost(l lines.Loss) {
	a.log.Warn("access log is written again", "lost", l.Lines, "since", l.Since, "error", l.Err)
}

func (a *Log) flushPeriodically() {
	defer close(a.stopped)
	ticker := time.NewTicker(flushDelay)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			a.mu.Lock()
			a.flushLocked()
			a.mu.Unlock()
		case <-a.stop:
			return
		}
	}
}

// RequestDone implements engine.Observer: it adds a line.
func (a *Log) RequestDone(rec *engine.Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.buf = a.format.Append(a.buf, rec)
	if len(a.buf) >= bufferSize {
		a.flushLocked()
	}
}

// flushLocked passes the collected lines on to the writer.
func (a *Log) flushLocked() {
	if a.w != nil && len(a.buf) > 0 {
		_, _ = a.w.Write(a.buf) // it never fails
	}
	a.buf = a.buf[:0]
}

// Close ends the periodic flushing and writes the rest, for a second at most.
func (a *Log) Close() {
	if a.stop == nil {
		return
	}
	close(a.stop)
	<-a.stopped
	a.mu.Lock()
	a.flushLocked()
	w, own := a.w, a.own
	a.w = nil
	a.mu.Unlock()
	a.finish(w, own)
}
