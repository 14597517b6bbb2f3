package pool

import (
	"fmt"
	"log/slog"
	"slices"
)

// subject names a request in log records.
type subject struct {
	label string // "GET /path"
	id    string // tells it from others; "" where it has none
}

// on returns the logger for records about the request.
func (s subject) on(log *slog.Logger) *slog.Logger {
	if s.label != "" {
		log = log.With("request", s.label)
	}
	if s.id != "" {
		log = log.With("request_id", s.id)
	}
	return log
}

// duty is a request that a worker has been given and has not answered yet. A worker
// answers its duties in the order of its list, each one exactly once.
//
// The worker keeps the duty until it has answered. The duty keeps the exchange until the pool takes
// it back. The worker still answers a duty without an exchange, but that answer belongs to no
// client and is dropped.
type duty struct {
	subject
	stream uint32
	x      *exchange // nil: taken back
	// begun: a frame of the answer has come. It is set in the critical section that
	// matches the frame to the duty. From then on no other worker may get the request.
	begun bool
}

// duties are the duties of one worker, the one it is busy with first. They are
// guarded by Pool.mu. Only the reader of the worker's connection removes one, so a
// duty that the reader has found stays the first until the reader itself finishes it.
type duties []duty

// current returns the duty the worker is busy with, or nil.
func (l duties) current() *duty {
	if len(l) == 0 {
		return nil
	}
	return &l[0]
}

// place returns the index of the duty with this stream, or -1.
func (l duties) place(stream uint32) int {
	return slices.IndexFunc(l, func(d duty) bool { return d.stream == stream })
}

// begin returns the exchange that an answer frame of this stream belongs to, and binds it to this
// worker. The exchange is nil if the request was taken back; the worker may answer such a duty out
// of turn. Answering any other duty out of turn is an error.
func (l duties) begin(stream uint32) (*exchange, error) {
	switch at := l.place(stream); {
	case at == 0:
		l[0].begun = true
		return l[0].x, nil
	case at > 0 && l[at].x == nil:
		return nil, nil
	case len(l) == 0:
		return nil, fmt.Errorf("%w: an answer on stream %d, and no request is left to be answered", ErrProtocol, stream)
	}
	return nil, fmt.Errorf("%w: an answer on stream %d, and stream %d is next", ErrProtocol, stream, l[0].stream)
}

// remove takes the duty that the worker has answered off the list. It is called after begin. first
// reports whether that duty was the first one.
func (l *duties) remove(stream uint32) (d duty, first bool) {
	at := l.place(stream)
	d = (*l)[at]
	*l = slices.Delete(*l, at, at+1)
	return d, at == 0
}

// release takes the exchange from a duty.
func (d *duty) release() *exchange {
	x := d.x
	if x != nil {
		d.x, x.station = nil, nil
	}
	return x
}

// releaseFrom takes back the exchanges of all duties from an index on. It also returns their
// streams, which must be cancelled. An exchange whose answer has begun is not taken back: it fails,
// because no other worker can continue it.
func (l duties) releaseFrom(at int) (taken []*exchange, streams []uint32) {
	for i := at; i < len(l); i++ {
		x := l[i].release()
		switch {
		case x == nil:
		case l[i].begun:
			x.fail(ErrWorkerDied)
		default:
			taken, streams = append(taken, x), append(streams, l[i].stream)
		}
	}
	return taken, streams
}

// requests is the number of duties whose request was not taken back.
func (l duties) requests() (n int) {
	for i := range l {
		if l[i].x != nil {
			n++
		}
	}
	return n
}
