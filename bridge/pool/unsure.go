package pool

import "github.com/pagi-go/pagi-bridge/bridge/wire"

// While an application is quick, its workers may keep an answer until they have the
// next one's (wire.FlagMore). Which request such a worker is busy with nobody else
// knows: the first one without an answer may have been answered long ago. So when it
// stalls or dies, nothing it has is taken for the one that runs: all of it, which is
// safe to be repeated, goes to other workers, and each request alone, so that what
// happens next is known to be its doing.

// runsFirstLocked reports whether the first request a worker has is the one it is
// busy with.
func (w *worker) runsFirstLocked() bool {
	return len(w.inflight) > 0 && (!w.inflight[0].more || w.inflight[0].isTouched())
}

// takeBackLocked takes from the worker what it has, but for the first keep requests,
// and tells it so. It still owes an answer to each, which nobody waits for.
func (w *worker) takeBackLocked(keep int) (taken []*exchange) {
	taken = append(taken, w.inflight[keep:]...)
	clear(w.inflight[keep:])
	w.inflight = w.inflight[:keep]
	if w.owed == nil {
		w.owed = map[uint32]struct{}{}
	}
	for _, x := range taken {
		w.owed[x.stream] = struct{}{}
		w.batch = wire.AppendFrame(w.batch, wire.Cancel, 0, x.stream, nil)
	}
	w.unsure = keep == 0 && !w.cleaning
	return taken
}

// answeredLate is called for a frame of an answer that nobody waits for, the last one
// of it where fin is set. A worker that has no other request is free after the last
// of those it owes.
func (w *worker) answeredLate(stream uint32, fin, cleaning bool) {
	if !fin {
		return
	}
	p := w.pool
	p.mu.Lock()
	delete(w.owed, stream)
	if cleaning {
		w.cleaning, w.cleanedUp, w.cleanedID = true, "a request that was taken back", ""
	}
	send := w.unsure && w.restLocked()
	p.mu.Unlock()
	if send {
		w.sendBatch()
	}
}
