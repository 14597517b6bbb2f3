package pool

import (
	"os"
	"sync"
	"sync/atomic"

	"github.com/pagi-go/pagi-bridge/bridge/internal/buffer"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

// mailbox holds the pieces of one answer that have arrived and were not taken yet. The reader of
// the worker that has begun the answer puts pieces in; the client's goroutine takes them out.
// Pieces that do not fit into memory go to the spool. When the spool is full, too, the reader
// waits.
type mailbox struct {
	pool *Pool

	// nudged is set once the request has taken a while; see Answer.Next.
	nudged atomic.Bool

	mu        sync.Mutex
	pieces    []Piece
	few       [1]Piece  // the first memory of pieces
	head      wire.Head // of the answer, once hasHead is set
	hasHead   bool
	memory    int // bytes of the pieces
	spool     spool
	abandoned bool          // the client has gone
	fin       bool          // the answer is complete
	last      *wire.FileRef // the FILE that ends the answer
	open      *os.File      // its descriptor, if there is one; until a client has taken it

	// cut is why the answer ends before it is complete. It is set without mu: while mu is held the spool may be
	// written or read, and the pool fails answers with its own lock held.
	cut atomic.Pointer[error]

	wake chan struct{} // capacity 1: there is something for the consumer
	room chan struct{} // capacity 1: there is room for the producer; nil until it waits
}

func (m *mailbox) init(p *Pool) {
	m.pool = p
	m.pieces = m.few[:0]
	m.spool.pool = p
	m.wake = make(chan struct{}, 1)
}

// signal wakes the goroutine that waits on c, now or later. Nothing waits on a nil c.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// keepHead stores a head that is to be delivered and returns a pointer to it.
func (m *mailbox) keepHead(head wire.Head, informational bool) *wire.Head {
	if informational {
		return &head
	}
	m.head, m.hasHead = head, true
	return &m.head
}

// push delivers a piece that came from w. It waits while the client is too far behind, so that the
// worker has to wait as well.
func (m *mailbox) push(piece Piece, w *station) {
	for {
		m.mu.Lock()
		if m.abandoned || m.fin || m.cut.Load() != nil {
			m.mu.Unlock()
			buffer.Put(piece.buffer)
			closeFile(m.pool, piece.Open)
			return
		}
		if m.takeLocked(&piece) {
			m.mu.Unlock()
			signal(m.wake)
			return
		}
		if m.room == nil {
			m.room = make(chan struct{}, 1)
		}
		room := m.room
		m.mu.Unlock()
		w.setPaused(true)
		select {
		case <-room:
		case <-w.process.Aborted():
			m.fail(ErrClosed)
		}
		w.setPaused(false)
	}
}

// takeLocked keeps a piece, in memory or in the spool, and reports whether there was
// room for it.
func (m *mailbox) takeLocked(piece *Piece) bool {
	size := len(piece.Body)
	switch {
	case size == 0 && piece.Head == nil:
		m.fin, m.last, m.open = piece.Last, piece.File, piece.Open
		buffer.Put(piece.buffer)
		return true
	case m.spool.isEmpty() && m.joinLocked(piece):
	case m.spool.isEmpty() && (len(m.pieces) == 0 || m.memory+piece.cost() <= m.pool.opt.AnswerMemory):
		m.pieces = append(m.pieces, *piece)
		m.memory += piece.cost()
	case piece.Head == nil && m.spool.write(piece.Body):
		buffer.Put(piece.buffer)
	default:
		return false
	}
	m.fin = piece.Last
	return true
}

// joinLocked appends a small piece of body to the last one that waits, where its
// buffer has room, so that many small writes do not keep a buffer each.
func (m *mailbox) joinLocked(piece *Piece) bool {
	if len(m.pieces) == 0 || piece.Head != nil {
		return false
	}
	last := &m.pieces[len(m.pieces)-1]
	if last.Informational || last.buffer == nil || len(last.Body) == 0 || cap(last.Body)-len(last.Body) < len(piece.Body) {
		return false
	}
	last.Body = append(last.Body, piece.Body...)
	buffer.Put(piece.buffer)
	return true
}

// fail ends the answer with an error, behind the pieces that have arrived. It changes nothing if
// the answer is complete or has failed. It does not wait.
func (m *mailbox) fail(err error) {
	if m.cut.CompareAndSwap(nil, &err) {
		m.pool.countError(err)
	}
	signal(m.wake)
}

// nudge makes Answer.Next watch its context from now on.
func (m *mailbox) nudge() {
	if !m.nudged.Swap(true) {
		signal(m.wake)
	}
}

// next returns the next piece and makes room for another one. ok is false if there is none yet.
func (m *mailbox) next() (piece Piece, ok bool, err error) {
	m.mu.Lock()
	piece, ok, err = m.nextLocked()
	room := m.room
	m.mu.Unlock()
	if ok || err != nil {
		signal(room)
	}
	return piece, ok, err
}

func (m *mailbox) nextLocked() (piece Piece, ok bool, err error) {
	switch {
	case len(m.pieces) > 0:
		piece = m.pieces[0]
		m.pieces[0] = Piece{} // the buffer is the client's now
		m.pieces = m.pieces[1:]
		m.memory -= piece.cost()
	case !m.spool.isEmpty():
		if piece.buffer, err = m.spool.read(); err != nil {
			return Piece{}, false, err
		}
		piece.Body = *piece.buffer
	case m.fin:
		piece.File, piece.Open, piece.Last = m.last, m.open, true
		m.open = nil
		return piece, true, nil
	default:
		if cut := m.cut.Load(); cut != nil {
			return Piece{}, false, *cut
		}
		return Piece{}, false, nil
	}
	piece.Last = m.fin && m.last == nil && len(m.pieces) == 0 && m.spool.isEmpty()
	return piece, true, nil
}

// abandon empties the mailbox for good: pieces that arrive from now on are dropped.
func (m *mailbox) abandon() {
	m.mu.Lock()
	m.abandoned = true
	for _, piece := range m.pieces {
		buffer.Put(piece.buffer)
	}
	clear(m.pieces)
	m.pieces = nil
	err := m.spool.close()
	room, open := m.room, m.open
	m.open = nil
	m.mu.Unlock()
	closeFile(m.pool, open)
	if err != nil {
		m.pool.log.Warn("cannot close a spooled answer", "error", err)
	}
	signal(room)
}

// closeFile closes a file that no client has taken; nil is none.
func closeFile(p *Pool, f *os.File) {
	if f == nil {
		return
	}
	if err := f.Close(); err != nil {
		p.log.Warn("cannot close the file of an answer", "error", err)
	}
}
