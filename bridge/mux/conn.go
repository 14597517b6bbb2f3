// Package mux carries many scopes over one connection to a worker, each on a stream of its own:
// section 5 of bridge/wire/PROTOCOL.md. It knows the wire and the vocabulary of PAGI, and nothing of
// processes, languages or sockets towards clients.
//
// A Conn is the gateway's end, Work is the worker's end for a worker in Go. Both are a link: a reader
// that never waits, an inbox and a window for each stream, and a writer that all streams share. A Set
// balances scopes over the connections of a mount's workers.
//
// Who waits for whom: the reader of a connection waits for nothing but the socket. A stream that has
// more to send than its window waits for credit, which the other side gives when its own consumer
// has taken the events. A stream that finds much waiting to be written stands in line. So a slow
// client, a handler that does not receive, and a stream that ends late hold up only themselves.
package mux

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/pagi-go/pagi-bridge/bridge/internal/answerfile"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Options are for the gateway's end of a connection. The zero value works.
type Options struct {
	// Logger gets the worker's LOG frames, and what goes wrong; nil means slog.Default.
	Logger *slog.Logger
	// Ping says how often the worker is asked for a sign of life; DefaultPing by default. Every less
	// than 0 means never.
	Ping Ping
	// Ready is called when the worker has loaded its application, or has failed to: then err has its
	// words. Nil is allowed.
	Ready func(err error)
	// Exiting is called when the worker has said that it takes no more scopes, and why. Nil is
	// allowed.
	Exiting func(reason string)
	// Loaded is called with the names of the application's files. Nil is allowed.
	Loaded func(files []string)
	// Streams is how many streams may be open at once where that is less than the worker takes; 0 means as many as it
	// takes.
	Streams int
	// Served is called when a stream has ended, with the number of those that are open. It must not wait.
	// Nil is allowed.
	Served func(open int)
	// Call answers a CALL of the worker. It may take its time; at most 64 run at once. ErrUnknownCall
	// is its error for a name that it does not know. Nil knows none.
	Call func(ctx context.Context, name string, argument []byte) ([]byte, error)
}

// EndError is the error of a scope whose application has failed in the worker.
type EndError struct {
	// Kind is wire.EndDied or wire.EndInvalid.
	Kind int
	// Message is what the worker says about it, 64 KiB at most.
	Message string
}

func (e *EndError) Error() string { return e.Message }

// Conn is the gateway's end of a connection to a worker. It may be used by several goroutines.
type Conn struct {
	link
	opt      Options
	ready    atomic.Bool
	draining atomic.Bool
	load     atomic.Int64
	most     int64 // streams at once
	pid      int   // of the process, 0 where it is not known; set before it gets scopes
	calls    calls
}

// New returns the gateway's end of a connection. Run must be called.
func New(l *Line, opt Options) *Conn {
	if opt.Logger == nil {
		opt.Logger = slog.Default()
	}
	if opt.Ping == (Ping{}) {
		opt.Ping = DefaultPing
	}
	c := &Conn{opt: opt, most: int64(l.terms.Peer.Streams)}
	if opt.Streams > 0 {
		c.most = min(c.most, int64(opt.Streams))
	}
	c.calls.limit = make(chan struct{}, maxCalls)
	c.calls.ctx, c.calls.cancel = context.WithCancel(context.Background())
	c.init(l, opt.Logger, wire.ToGateway, c)
	return c
}

// Run handles what the worker sends until the connection ends, and returns why: io.EOF, if the worker
// has closed it between two frames. All scopes have ended then, or end soon.
func (c *Conn) Run() error {
	err := c.run(c.opt.Ping)
	c.calls.cancel()
	c.calls.running.Wait()
	return err
}

// Feed handles a frame, for a Conn whose Line was adopted. One goroutine at a time calls it. The frame's
// payload belongs to the Conn then. An error is a violation of the protocol.
func (c *Conn) Feed(frame wire.Frame) error {
	if err := c.take(frame); err != nil {
		return fmt.Errorf("%s: %w", frame.Type, err)
	}
	return nil
}

// Close ends the connection at once, and with it all scopes.
func (c *Conn) Close() { c.close(ErrClosed) }

// Drain tells the worker to finish its scopes and to exit. No scope is opened any more.
func (c *Conn) Drain() error {
	c.draining.Store(true)
	return c.put(func(b []byte) []byte { return wire.AppendFrame(b, wire.Drain, 0, 0, nil) })
}

// Retire ends all scopes that are open, with ErrRetired. It returns how many they were. The worker's application
// gets a disconnect event: for a WebSocket with the code 1012, service restart.
func (c *Conn) Retire() int {
	n := 0
	for _, s := range c.streams.all() {
		if !s.in.finish(ending{err: ErrRetired}) {
			continue
		}
		n++
		if s.out.close(); !s.told.Swap(true) {
			code := 0
			if s.kind == pagi.TypeWebSocket {
				code = serviceRestart
			}
			// An error means that the connection has ended, and the stream with it.
			_ = c.put(func(b []byte) []byte { return wire.AppendDisconnect(b, s.id, code, pagi.ReasonServerShutdown) })
		}
	}
	return n
}

// serviceRestart is the close code of RFC 6455 for a server that restarts.
const serviceRestart = 1012

// Load is how many streams are open.
func (c *Conn) Load() int { return int(c.load.Load()) }

// weight is by what a Set compares connections: the open streams, and those once more that were opened since the
// worker has said anything. A worker that is blocked has said nothing, one that has just answered has. These count up to
// mostUnheard only: streams that last must not be shared unevenly for long because one worker spoke first while many came.
func (c *Conn) weight() int64 { return c.load.Load() + min(c.pulse.unheard.Load(), mostUnheard) }

const mostUnheard = 32

// isOpen reports whether scopes may be opened.
func (c *Conn) isOpen() bool {
	select {
	case <-c.done:
		return false
	default:
		return c.ready.Load() && !c.draining.Load()
	}
}

// Serve has the worker's application serve a scope. It returns when the application has, or earlier
// when its answer is complete or no client is left. The stream then lives on until the application
// returns. The errors are ErrBusy and ErrClosed, both before anything was sent, an *EndError,
// pagi.ErrUnsupported, those of receive and send, and the cause with which ctx ended.
func (c *Conn) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if !c.acquire() {
		if !c.isOpen() {
			return ErrClosed
		}
		return ErrBusy
	}
	return c.serve(ctx, scope, receive, send)
}

// serve serves a scope for which a stream is reserved.
func (c *Conn) serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	first, err := firstEvent(ctx, scope, receive)
	if err != nil {
		c.release()
		return err
	}
	s, err := c.open(scope, first)
	if err != nil {
		return err
	}
	x := &exchange{stream: s, conn: c, scope: scope, send: send}
	return x.serve(ctx, first, receive)
}

// open opens a stream that is reserved, with a SCOPE and, unless it is nil, the first event. After an
// error the stream is not reserved any more.
func (c *Conn) open(scope *pagi.Scope, first pagi.Event) (s *stream, err error) {
	putErr := c.put(func(b []byte) []byte {
		// Numbers go up in the order of the frames, so both are made here.
		s, err = c.streams.openNext(c.terms.Peer.Streams, func(id uint32) *stream {
			s := c.newStream(id, scope)
			s.in.patient = isLast(scope, first)
			return s
		})
		if err != nil {
			return b
		}
		start := len(b)
		if b, err = wire.AppendScope(b, s.id, scope); err == nil && first != nil {
			var n int
			if b, n, err = wire.AppendWholeEvent(b, s.id, first); err == nil {
				s.out.spend(n)
			}
		}
		if err != nil {
			c.streams.giveBack(s)
			s = nil
			return b[:start]
		}
		return b
	})
	if err = errors.Join(err, putErr); s == nil {
		c.release()
	}
	return s, err
}

// acquire reserves a stream for open, unless as many are open as the worker takes.
func (c *Conn) acquire() bool {
	if c.load.Add(1) <= c.most && c.isOpen() {
		c.pulse.unheard.Add(1)
		return true
	}
	c.load.Add(-1)
	return false
}

// firstEvent receives the first event of a scope, where it is there already: it then goes out with the
// SCOPE. It returns nil for a request that may have a body.
func firstEvent(ctx context.Context, scope *pagi.Scope, receive pagi.Receive) (pagi.Event, error) {
	switch scope.Type {
	case pagi.TypeHTTP, pagi.TypeSSE:
		safe := scope.Method == "GET" || scope.Method == "HEAD"
		if !safe || scope.Headers.Has("content-length") || scope.Headers.Has("transfer-encoding") {
			return nil, nil
		}
	}
	ev, err := receive(ctx)
	if err != nil {
		return nil, err
	}
	if r, is := ev.(pagi.HTTPRequest); is && len(r.Body) > 0 {
		r.Body = append([]byte(nil), r.Body...) // it must survive the next receive
		ev = r
	}
	return ev, nil
}

// frame implements end.
func (c *Conn) frame(frame wire.Frame) error {
	switch frame.Type {
	case wire.Ready:
		if c.ready.Swap(true) {
			return fmt.Errorf("%w: a second READY", ErrProtocol)
		}
		c.tellReady(nil)
	case wire.Failed:
		if c.ready.Load() {
			return fmt.Errorf("%w: FAILED after READY", ErrProtocol)
		}
		c.tellReady(errors.New(string(frame.Payload)))
	case wire.Log:
		c.logRecord(frame)
	case wire.Exiting:
		c.draining.Store(true)
		if c.opt.Exiting != nil {
			c.opt.Exiting(string(frame.Payload))
		}
	case wire.Loaded:
		files, err := wire.DecodeLoaded(frame.Payload)
		if err != nil {
			return err
		}
		if c.opt.Loaded != nil {
			c.opt.Loaded(files)
		}
	case wire.Call:
		return c.call(frame)
	default:
		return c.unexpected(frame)
	}
	return nil
}

func (c *Conn) tellReady(err error) {
	if c.opt.Ready != nil {
		c.opt.Ready(err)
	}
}

// late implements end. After its END a worker sends nothing about a stream but CREDIT that was on its
// way.
func (c *Conn) late(frame wire.Frame) error {
	if frame.Type == wire.Credit && c.streams.isKnown(frame.Stream) {
		return nil
	}
	return c.unexpected(frame)
}

// finish implements end: a worker ends its half by END.
func (c *Conn) finish(s *stream, frame wire.Frame) error {
	if frame.Type != wire.End {
		return c.unexpected(frame)
	}
	kind, message, err := wire.DecodeEnd(frame.Payload)
	if err != nil {
		return err
	}
	c.streams.remove(s.id)
	s.in.finish(ending{code: kind, text: message})
	s.out.close()
	c.release()
	return nil
}

// release gives the place of a stream back.
func (c *Conn) release() {
	open := c.load.Add(-1)
	if c.opt.Served != nil {
		c.opt.Served(int(open))
	}
}

// openFile opens the file that a worker has named, or takes the descriptor that came with the event.
func (c *Conn) openFile(ref wire.FileRef, it item) (*os.File, error) {
	if it.file != nil {
		_, err := answerfile.Check(it.file)
		return it.file, err
	}
	if !c.terms.Features.Has(wire.FeaturePaths) || ref.Path == "" {
		return nil, fmt.Errorf("%w: a file by its path, which the connection does not have", ErrProtocol)
	}
	return answerfile.Open(ref)
}
