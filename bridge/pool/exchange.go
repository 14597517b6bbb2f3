package pool

import (
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/slow"
)

// Request is a request for Do.
type Request struct {
	// Frame makes the REQUEST frame for a stream. The pool calls it with its lock held, and again
	// for every worker that gets the request. Frame must stay usable until the Answer is closed.
	Frame func(stream uint32) ([]byte, error)
	// Names are the names of the frame's variables.
	Names *wire.NameList
	// Safe says that the request's method is safe (RFC 9110 section 9.2.1) and its body empty. Such
	// a request may wait behind another one in a batch, and may be repeated as Options.Retry
	// allows.
	Safe bool
	// Running is told which worker has the request; nil is allowed.
	Running *slow.Request
	// Label names the request in log records: "GET /path". ID tells it from others
	// there; "" where it has none.
	Label, ID string
	// Turn is filled in while a worker has the request; nil is allowed.
	Turn *Turn
}

// Turn is what a worker has had of a request. Its fields are the pool's while the answer is not closed; see Answer.Turn.
type Turn struct {
	Worker, PID int       // the number and the process of the worker that got it last; 0: none did
	Given       time.Time // when it did
	Done        time.Time // when the worker had answered; zero: it has not, or not all
}

// exchange is one request on its way through the pool, with the mailbox for its answer. It is in
// the queue or belongs to a duty of a worker. Once it was answered or has failed it is in neither.
// The pool never uses an exchange for another request, so a late goroutine finds the request that
// it knows, or nothing.
type exchange struct {
	req    Request // Frame must not be called once dropped is set
	answer Answer  // the one that Do returns

	// Guarded by Pool.mu.
	station  *station // the worker with its duty, or nil
	stream   uint32   // the stream of that duty
	queued   bool
	alone    bool      // it must not share a batch again
	repeated bool      // it went to a second worker after the first one had died
	dropped  bool      // its client has closed the answer
	since    time.Time // when it was queued

	mailbox
}

func newExchange(p *Pool, req *Request) *exchange {
	x := &exchange{req: *req}
	x.answer.x = x
	x.mailbox.init(p)
	return x
}

// subject returns the request's names in log records.
func (x *exchange) subject() subject { return subject{x.req.Label, x.req.ID} }
