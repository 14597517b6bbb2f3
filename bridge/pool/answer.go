package pool

import (
	"context"
	"os"

	"github.com/pagi-go/pagi-bridge/bridge/internal/buffer"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
)

// Piece is a part of an answer. An answer is any number of pieces with
// Informational set, then one with Head, then any number with Body, and at most
// one with File. A piece may have Head and Body both. Last is set on the last one.
type Piece struct {
	Head          *wire.Head
	Informational bool
	// Body is valid until the next call of Next or Close.
	Body []byte
	File *wire.FileRef
	// Open is the file of File where the worker has sent a descriptor of it. The caller closes it.
	Open *os.File
	Last bool

	headSize int     // the size of the frame that held the head, in bytes
	buffer   *[]byte // the pooled buffer that holds Body, or nil
}

// cost is how much memory a piece occupies. For a small piece that is more than its length.
func (piece *Piece) cost() int {
	if piece.buffer != nil {
		return cap(*piece.buffer) + piece.headSize
	}
	return len(piece.Body) + piece.headSize
}

// AbortError is the error of an answer that its worker has given up.
type AbortError struct {
	// Kind is wire.AbortDied, AbortInvalid or AbortCut.
	Kind int
	// Message is what the worker has sent, 64 KiB at most: the exception and where it was thrown.
	Message string
}

// Error returns the message, cut to 4 KiB for the log.
func (e *AbortError) Error() string { return worker.Shorten(e.Message) }

// Answer is a worker's answer while it arrives. The caller must close it once, and not use it after
// that. It belongs to one goroutine at a time.
type Answer struct {
	x      *exchange
	buffer *[]byte // that of the piece that Next returned last
	ended  bool
	closed bool
}

// Next returns the next piece and waits for it if necessary. No piece follows the one with Last
// set. The error is that of ctx, one of this package's, or an *AbortError.
//
// A request older than nudgeTime notices the end of ctx at once. A younger one notices it when it
// reaches that age, because watching a context costs more time than most answers take.
func (a *Answer) Next(ctx context.Context) (Piece, error) {
	a.releaseBuffer()
	if a.closed {
		return Piece{}, ErrClosed
	}
	x := a.x
	for {
		piece, ok, err := x.next()
		if ok || err != nil {
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

// KeepBody leaves the Body of the last piece to the caller for good: the pool does not use its
// memory for another answer. A caller needs it when a write of Body has failed, because the
// connection may still read from that memory.
func (a *Answer) KeepBody() { a.buffer = nil }

// Turn returns what a worker has had of the request so far: a copy of Request.Turn, which must be set.
func (a *Answer) Turn() Turn {
	a.x.pool.mu.Lock()
	defer a.x.pool.mu.Unlock()
	return *a.x.req.Turn
}

// Close drops the part of the answer that has not been read. A request still in the queue is taken
// out. A running one stays with its worker, which is told that the client has gone.
func (a *Answer) Close() {
	a.releaseBuffer()
	if a.closed {
		return
	}
	a.closed = true
	if !a.ended {
		a.x.pool.abandon(a.x)
	}
	a.x.mailbox.abandon()
}

// releaseBuffer takes the last piece's buffer from the client.
func (a *Answer) releaseBuffer() {
	buffer.Put(a.buffer)
	a.buffer = nil
}
