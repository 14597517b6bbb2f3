package pool

import (
	"github.com/pagi-go/pagi-bridge/bridge/worker"
)

// partLocked divides the requests of a dead worker. begun is the request that must fail, or nil.
// waiting are those that other workers can get: the ones that were not begun, and the current one
// if it may be repeated. reset says that the worker had not read all that was written to it.
func (w *station) partLocked(got worker.Delivery, reset bool) (begun *exchange, waiting []*exchange) {
	d := w.duties.current()
	if d == nil || d.x == nil || w.state == Cleaning || d.stream == got.Undelivered {
		waiting, _ = w.duties.releaseFrom(0)
		return nil, waiting
	}
	if w.mayRepeatLocked(d, reset && got.Written == d.stream) {
		d.x.repeated = true
		waiting, _ = w.duties.releaseFrom(0)
		return nil, waiting
	}
	begun = d.release()
	waiting, _ = w.duties.releaseFrom(1)
	return begun, waiting
}

// mayRepeatLocked reports whether the request during which a worker died may go to another worker.
// It may go once, if its method is safe and no part of its answer has arrived. Unless the options
// say otherwise, the kernel must also have told that the worker had not read the request: it is unread. Then the
// request cannot have caused the worker's death.
func (w *station) mayRepeatLocked(d *duty, unread bool) bool {
	if d.begun || !d.x.req.Safe || d.x.repeated || w.pool.closing {
		return false
	}
	switch w.pool.opt.Retry {
	case RetryOff:
		return false
	case RetrySafe:
		return true
	}
	return unread
}
