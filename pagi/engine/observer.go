package engine

// Observer is told of each request that has ended: an access log, a counter, a test.
//
// RequestDone is called once per request:
//   - for one that came to the application, on the goroutine that ran the application, when the
//     application has returned and its response is complete or cut. Handler.Serve may have
//     returned before.
//   - for one that the handler or the server has answered itself, on the goroutine that has done
//     so. Of such a request little may be known: its method, its target and its Header may be
//     missing.
//
// Calls for different requests come at the same time. The record and all that it points to are
// valid until RequestDone returns: an observer copies what it keeps, and does not change the
// record, which the next observer gets too. The next request of a connection may wait for
// RequestDone, so it must not block.
type Observer interface {
	RequestDone(*Record)
}

// ObserverFunc is a function as an Observer.
type ObserverFunc func(*Record)

// RequestDone calls f.
func (f ObserverFunc) RequestDone(r *Record) { f(r) }

// IsObserved reports whether Observe has someone to tell. Where it has not, the caller need not
// make a record.
func (h *Handler) IsObserved() bool { return len(h.Observers) > 0 }

// Observe tells every observer, in their order, of a request that has ended. The handler calls it
// for the requests that Serve is given. What sits in front of the handler calls it for those that
// it has answered itself.
func (h *Handler) Observe(r *Record) {
	for _, o := range h.Observers {
		o.RequestDone(r)
	}
}
