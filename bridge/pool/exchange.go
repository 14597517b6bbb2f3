package pool

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

// Request is what Do is given.
type Request struct {
	// Frame makes the REQUEST frame for a stream. It is called under the pool's
	// lock, again for every worker the request is given to, and must stay usable
	// until the Answer is closed.
	Frame func(stream uint32) ([]byte, error)
	// Names are those of the frame's variables.
	Names *wire.NameList
	// Safe says that the request's method is safe (RFC 9110 section 9.2.1) and
	// its body empty: it may be queued behind another one and be repeated.
	Safe bool
	// Label names the request in log records: "GET /path". ID tells it from others
	// there; "" where it has none.
	Label, ID string
}

// Piece is a part of an answer. An answer is any number of pieces with
// Informational set, then one with Head, then any number with Body, and at most
// one with File. A piece may have Head and Body both. Last is set on the last one.
type Piece struct {
	Head          *wire.Head
	Informational bool
	// Body is valid until the next call of Next or Close.
	Body []byte
	File *wire.FileRef
	Last bool

	headSize int     // bytes of the frame the head was in
	buffer   *[]byte // the pooled buffer Body lies in, or nil
}

// AbortError is the error of an answer its worker gave up.
type AbortError struct {
	// Kind is wire.AbortDied, AbortInvalid or AbortCut.
	Kind int
	// Message is the worker's: the exception and where it was thrown.
	Message string
}

func (e *AbortError) Error() string { return e.Message }

// exchange is one request on its way through the pool.
type exchange struct {
	pool   *Pool
	answer Answer // handed out by Do
	// Of the Request. frame must not be called once dropped is set.
	frame func(stream uint32) ([]byte, error)
	names *wire.NameList
	safe  bool
	label string
	id    string

	// Guarded by Pool.mu.
	stream   uint32
	worker   *worker // whose inflight list it is on, or nil
	queued   bool
	since    time.Time // when it was queued
	alone    bool      // must not share a batch again
	more     bool      // its answer may be kept until the next one's
	repeated bool      // has been given to a second worker after the first one died
	dropped  bool      // nobody waits for it any more

	// nudged is set once the request has taken a while; see Answer.Next.
	nudged atomic.Bool
	// users are the client and the worker; see leave.
	users atomic.Int32

	mu        sync.Mutex
	pieces    []Piece
	few       [2]Piece  // where pieces begins
	head      wire.Head // of the answer, once hasHead is set
	hasHead   bool
	memory    int  // bytes in pieces
	touched   bool // something has been delivered or at least received
	abandoned bool
	fin       bool
	err       error
	spill     *os.File
	spillFrom int64
	spillTo   int64
	last      *wire.FileRef // the FILE that ends the answer

	wake chan struct{} // capacity 1: there is something for the consumer
	room chan struct{} // capacity 1: there is room for the producer; nil until it waits
}

// exchanges are those that both their client and their worker have done with.
var exchanges = sync.Pool{New: func() any { return &exchange{wake: make(chan struct{}, 1)} }}

func newExchange(p *Pool, req *Request) *exchange {
	x := exchanges.Get().(*exchange)
	x.pool, x.frame, x.names, x.safe, x.label, x.id = p, req.Frame, req.Names, req.Safe, req.Label, req.ID
	x.answer.x = x
	x.pieces = x.few[:0]
	x.users.Store(2)
	return x
}

// leave is called by the client when it has closed its answer and by the worker when
// it has given all of it. An exchange that ends in another way is not used again.
func (x *exchange) leave() {
	if x.users.Add(-1) > 0 {
		return
	}
	wake := x.wake
	select {
	case <-wake: // the last piece was there before it was waited for
	default:
	}
	*x = exchange{wake: wake}
	exchanges.Put(x)
}

// signal wakes whoever waits on c, now or later; nobody does on a nil one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// cost is the memory a piece keeps, which for a small one is more than its length.
func (piece *Piece) cost() int {
	if piece.buffer != nil {
		return cap(*piece.buffer) + piece.headSize
	}
	return len(piece.Body) + piece.headSize
}

// keepHead returns where a head is kept that is to be delivered.
func (x *exchange) keepHead(head wire.Head, informational bool) *wire.Head {
	if informational {
		return &head
	}
	x.head, x.hasHead = head, true
	return &x.head
}

// push delivers a piece that came from w. It waits while the client is too far
// behind, which keeps the worker from going on.
func (x *exchange) push(piece Piece, w *worker) {
	for {
		x.mu.Lock()
		if x.abandoned || x.fin || x.err != nil {
			x.mu.Unlock()
			release(piece.buffer)
			return
		}
		x.touched = true
		if x.takeLocked(&piece) {
			x.mu.Unlock()
			signal(x.wake)
			return
		}
		if x.room == nil {
			x.room = make(chan struct{}, 1)
		}
		room := x.room
		x.mu.Unlock()
		w.setPaused(true)
		select {
		case <-room:
		case <-w.abort:
			x.fail(ErrClosed)
		}
		w.setPaused(false)
	}
}

// takeLocked keeps a piece, in memory or in the file, and reports whether there was
// room for it.
func (x *exchange) takeLocked(piece *Piece) bool {
	size := len(piece.Body)
	switch {
	case size == 0 && piece.Head == nil:
		x.fin, x.last = piece.Last, piece.File
		release(piece.buffer)
		return true
	case x.spillTo == x.spillFrom && x.joinLocked(piece):
	case x.spillTo == x.spillFrom && (len(x.pieces) == 0 || x.memory+piece.cost() <= x.pool.opt.Memory):
		x.pieces = append(x.pieces, *piece)
		x.memory += piece.cost()
	case piece.Head == nil && x.spillTo+int64(size) <= x.pool.opt.Spool:
		err := x.spillLocked(piece.Body)
		release(piece.buffer)
		if err != nil {
			x.err = err
			return true
		}
	default:
		return false
	}
	x.fin = piece.Last
	return true
}

// joinLocked appends a small piece of body to the last one that waits, where its
// buffer has room, so that many small writes do not keep a buffer each.
func (x *exchange) joinLocked(piece *Piece) bool {
	if len(x.pieces) == 0 || piece.Head != nil {
		return false
	}
	last := &x.pieces[len(x.pieces)-1]
	if last.Informational || last.buffer == nil || len(last.Body) == 0 || cap(last.Body)-len(last.Body) < len(piece.Body) {
		return false
	}
	last.Body = append(last.Body, piece.Body...)
	release(piece.buffer)
	return true
}

func (x *exchange) spillLocked(body []byte) error {
	if x.spill == nil {
		f, err := os.CreateTemp(x.pool.dir, "answer-*") // mode 0600
		if err != nil {
			return fmt.Errorf("spool an answer: %w", err)
		}
		if err := os.Remove(f.Name()); err != nil {
			_ = f.Close() // the first error is the one that matters
			return fmt.Errorf("spool an answer: %w", err)
		}
		x.spill = f
	}
	if _, err := x.spill.WriteAt(body, x.spillTo); err != nil {
		return fmt.Errorf("spool an answer: %w", err)
	}
	x.spillTo += int64(len(body))
	return nil
}

// fail ends the answer with an error, behind the pieces that have arrived.
func (x *exchange) fail(err error) {
	x.mu.Lock()
	if !x.fin && x.err == nil {
		x.err = err
	}
	x.mu.Unlock()
	signal(x.wake)
}

func (x *exchange) isTouched() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.touched
}

// Answer is a worker's answer as it comes. It must be closed, once, and not be used
// after that.
type Answer struct {
	x      *exchange
	buffer *[]byte
	ended  bool
}

// Next returns the next piece, waiting for it if it must. After the piece with
// Last set there is none. The error is ctx's, one of the package's, or an
// *AbortError.
//
// The end of ctx is noticed at once by a request that has been going on for nudgeTime,
// and after that time by a younger one: watching a context costs more than most
// answers take.
func (a *Answer) Next(ctx context.Context) (Piece, error) {
	release(a.buffer)
	a.buffer = nil
	x := a.x
	for {
		x.mu.Lock()
		piece, ok, err := x.nextLocked()
		room := x.room
		x.mu.Unlock()
		if ok || err != nil {
			signal(room)
			a.buffer = piece.buffer
			a.ended = piece.Last
			return piece, err
		}
		if !x.nudged.Load() {
			<-x.wake
			continue
		}
		select {
		case <-x.wake:
		case <-ctx.Done():
			return Piece{}, context.Cause(ctx)
		}
	}
}

// nudge makes Next look after its context from now on.
func (x *exchange) nudge() {
	if !x.nudged.Swap(true) {
		signal(x.wake)
	}
}

func (x *exchange) nextLocked() (piece Piece, ok bool, err error) {
	switch {
	case len(x.pieces) > 0:
		piece = x.pieces[0]
		x.pieces = x.pieces[1:]
		x.memory -= piece.cost()
	case x.spillTo > x.spillFrom:
		buffer := allocate(int(min(spillChunk, x.spillTo-x.spillFrom)))
		n, err := x.spill.ReadAt(*buffer, x.spillFrom)
		if err != nil && err != io.EOF || n == 0 {
			return Piece{}, false, fmt.Errorf("read a spooled answer: %w", err)
		}
		x.spillFrom += int64(n)
		if x.spillFrom == x.spillTo {
			x.spillFrom, x.spillTo = 0, 0
		}
		piece.Body, piece.buffer = (*buffer)[:n], buffer
	case x.fin:
		piece.File, piece.Last = x.last, true
		return piece, true, nil
	case x.err != nil:
		return Piece{}, false, x.err
	default:
		return Piece{}, false, nil
	}
	piece.Last = x.fin && x.last == nil && len(x.pieces) == 0 && x.spillTo == 0
	return piece, true, nil
}

const spillChunk = 64 << 10

// Close gives up what has not been read: a request still in the queue is taken
// out, a running one is left to its worker, which is told that nobody waits.
func (a *Answer) Close() {
	release(a.buffer)
	a.buffer = nil
	x := a.x
	if !a.ended {
		x.pool.abandon(x)
	}
	x.mu.Lock()
	x.abandoned = true
	for _, piece := range x.pieces {
		release(piece.buffer)
	}
	x.pieces = nil
	spill := x.spill
	x.spill, x.spillFrom, x.spillTo = nil, 0, 0
	room := x.room
	x.mu.Unlock()
	if spill != nil {
		if err := spill.Close(); err != nil {
			x.pool.log.Warn("cannot close a spooled answer", "error", err)
		}
	}
	signal(room)
	x.leave()
}

// Buffers for payloads come in two sizes: one for the small answers most are, one
// for pieces of the size workers cut large ones into.
const (
	smallBuffer = 4 << 10
	largeBuffer = 72 << 10
)

var smallBuffers, largeBuffers sync.Pool

func allocate(n int) *[]byte {
	pool, size := &smallBuffers, smallBuffer
	if n > smallBuffer {
		pool, size = &largeBuffers, largeBuffer
	}
	if n > largeBuffer {
		b := make([]byte, n)
		return &b
	}
	b, _ := pool.Get().(*[]byte)
	if b == nil {
		b = new([]byte)
		*b = make([]byte, size)
	}
	*b = (*b)[:n]
	return b
}

func release(b *[]byte) {
	if b == nil {
		return
	}
	switch cap(*b) {
	case smallBuffer:
		smallBuffers.Put(b)
	case largeBuffer:
		largeBuffers.Put(b)
	}
}
