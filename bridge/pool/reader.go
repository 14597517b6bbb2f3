package pool

import (
	"fmt"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/buffer"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/status"
)

const (
	// quickAverage is the time per request up to which a worker gets batches.
	quickAverage = time.Millisecond
	// batchTime is how long a batch takes by that average at most. The requests of a batch come one after another, while later ones
	// are answered by other workers: the longer it is, the more the times differ that clients wait.
	batchTime = 2 * quickAverage
	// aheadAverage and briskAverage are the times per request between which a worker that only computes gets its next requests
	// while it is at work on one of its last. Quicker requests have ended before others could arrive. With slower ones the time in
	// which a worker waits for the gateway does not count.
	aheadAverage = 200 * time.Microsecond
	briskAverage = 5 * time.Millisecond
	// maxAhead is how many requests a worker has besides the one it is at work on when it gets more, and how many one of more
	// than quickAverage gets. With one, a tenth of them came too late, because the gateway waits for a processor as well.
	maxAhead = 2
	// stallTime is how long a worker may make no progress before what it has besides is taken back, at least. It is four
	// times as long as the worker's requests take, and four times stallTime at most.
	stallTime = 5 * time.Millisecond
)

// Frame implements worker.Station.
func (w *station) Frame(frame wire.Frame) error {
	switch frame.Type {
	case wire.Response, wire.Informational, wire.Body, wire.File, wire.Abort:
		return w.answer(frame)
	case wire.Log:
		w.logRecord(frame)
		return nil
	case wire.Idle:
		return w.cleaned()
	}
	return fmt.Errorf("%w: a %s frame", ErrProtocol, frame.Type)
}

// answer handles the frames that carry a response. A frame is matched to its duty
// and the exchange bound to this worker in one critical section.
func (w *station) answer(frame wire.Frame) error {
	p := w.pool
	fin := frame.Has(wire.FlagFin)
	p.mu.Lock()
	w.progress = time.Now()
	x, err := w.beginLocked(frame)
	p.mu.Unlock()
	if err != nil {
		buffer.Put(frame.Buffer)
		return err
	}
	p.pause(afterMatch, w, frame.Stream)
	if x == nil {
		buffer.Put(frame.Buffer) // the request was taken back
		if frame.Has(wire.FlagDescriptor) {
			open, err := w.process.Descriptor()
			if err != nil {
				return err
			}
			closeFile(p, open)
		}
	} else if err := w.deliver(x, frame, fin); err != nil {
		return err
	}
	p.pause(afterDelivery, w, frame.Stream)
	if fin {
		w.finished(frame.Stream, frame.Has(wire.FlagBusy))
	}
	return nil
}

// beginLocked returns the exchange of an answer frame and binds it to this worker. It returns nil
// if the request was taken back.
func (w *station) beginLocked(frame wire.Frame) (*exchange, error) {
	if w.state == Cleaning {
		return nil, fmt.Errorf("%w: a %s frame after FIN with BUSY, before IDLE", ErrProtocol, frame.Type)
	}
	return w.duties.begin(frame.Stream)
}

func (w *station) deliver(x *exchange, frame wire.Frame, fin bool) error {
	piece := Piece{Last: fin, buffer: frame.Buffer}
	switch frame.Type {
	case wire.Response, wire.Informational:
		head, body, err := wire.DecodeHead(frame.Type, frame.Payload)
		if err != nil {
			return err
		}
		if x.hasHead {
			return fmt.Errorf("%w: a %s frame after the RESPONSE", ErrProtocol, frame.Type)
		}
		piece.Body, piece.Informational = body, frame.Type == wire.Informational
		if !piece.Informational && head.Status >= 500 {
			w.pool.totals.errors.Add(status.Application)
		}
		piece.Head, piece.headSize = x.keepHead(head, piece.Informational), len(frame.Payload)-len(body)
	case wire.Body:
		piece.Body = frame.Payload
	case wire.File:
		file, err := wire.DecodeFile(frame)
		if err != nil {
			return err
		}
		switch features := w.process.Terms().Features; {
		case frame.Has(wire.FlagDescriptor):
			if piece.Open, err = w.process.Descriptor(); err != nil {
				return err
			}
		case !features.Has(wire.FeaturePaths):
			return fmt.Errorf("%w: a file by its path from a process of another user", ErrProtocol)
		}
		piece.File, piece.Last = &file, true
		buffer.Put(piece.buffer)
		piece.buffer = nil
	case wire.Abort:
		kind, message, err := wire.DecodeAbort(frame.Payload)
		if err != nil {
			return err
		}
		x.fail(&AbortError{kind, message})
		buffer.Put(frame.Buffer)
		return nil
	}
	x.push(piece, w)
	return nil
}

func (w *station) setPaused(is bool) {
	w.pool.mu.Lock()
	w.process.SetPaused(is)
	w.progress = time.Now()
	w.busySince = w.progress // time spent waiting for a client does not count as the application's
	w.pool.mu.Unlock()
}

// finished removes a duty that the worker has answered: the one it was busy with, or one that was
// taken back.
func (w *station) finished(stream uint32, cleans bool) {
	p := w.pool
	p.mu.Lock()
	if d, first := w.duties.remove(stream); first {
		x := d.release()
		if x != nil && x.req.Turn != nil {
			x.req.Turn.Done = w.progress
		}
		w.waits.answers++
		w.measureLocked(x != nil)
		w.last, w.state = d, after(cleans, len(w.duties))
		w.process.Served()
	} else if w.state != Cleaning {
		w.state = after(false, len(w.duties))
	}
	send := w.restLocked()
	p.mu.Unlock()
	if send {
		w.process.Flush()
	}
}

// measureLocked counts the time of the request that was just answered. A request that was taken
// back does not count, because the worker may have skipped it.
func (w *station) measureLocked(answered bool) {
	took := w.progress.Sub(w.busySince)
	w.busySince, w.begun = w.progress, w.progress
	if !answered {
		return
	}
	if w.average == 0 {
		w.average = took
	}
	w.average += (took - w.average) / 8
}

// restLocked frees the worker once it has answered all its duties. Those that were taken back
// count, too: the worker may have begun such a request at the very moment in which it was taken
// back. A worker that has few left may get more.
func (w *station) restLocked() (send bool) {
	switch w.state {
	case Busy:
		return w.pool.aheadLocked(w)
	case Cleaning:
		return false
	}
	if w.stall != nil {
		w.stall.Stop()
	}
	send = w.pool.freeLocked(w)
	w.pool.checkDrainedLocked()
	return send
}

// cleaned handles IDLE.
func (w *station) cleaned() error {
	p := w.pool
	p.mu.Lock()
	if w.state != Cleaning {
		p.mu.Unlock()
		return fmt.Errorf("%w: IDLE from a worker that was not busy", ErrProtocol)
	}
	w.state = after(false, len(w.duties))
	w.progress = time.Now()
	send := w.restLocked()
	p.mu.Unlock()
	if send {
		w.process.Flush()
	}
	return nil
}

// patience is how long the worker may make no progress before others get what it has not begun.
func (w *station) patience() time.Duration {
	return min(max(w.pool.stall, 4*w.average), 4*w.pool.stall)
}

// armStall starts the timer that watches a worker with several requests.
func (w *station) armStall() {
	if w.stall == nil {
		w.stall = time.AfterFunc(w.patience(), w.stalled)
	} else {
		w.stall.Reset(w.patience())
	}
}

// stalled takes apart a batch that makes no progress. The requests behind the running one go back
// to the queue, and the worker is told to skip them.
func (w *station) stalled() {
	p := w.pool
	p.mu.Lock()
	keep := 1 // the worker is busy with it
	if w.state == Cleaning {
		keep = 0
	}
	if process := w.process.State(); process != worker.Serving && process != worker.Draining || len(w.duties) <= keep {
		p.mu.Unlock()
		return
	}
	if rest := w.patience() - time.Since(w.progress); rest > 0 {
		w.stall.Reset(rest)
		p.mu.Unlock()
		return
	}
	w.lagLocked()
	taken, streams := w.duties.releaseFrom(keep)
	for _, stream := range streams {
		w.cancelLocked(stream)
	}
	send := append(p.requeueLocked(taken), w)
	p.mu.Unlock()
	p.pause(afterTakingBack, w, 0)
	flush(send)
}

// cancelLocked tells the worker that the client of a request has gone, or that another worker has got it. The caller
// flushes.
func (w *station) cancelLocked(stream uint32) {
	w.process.Queue(0, wire.AppendFrame(nil, wire.Cancel, 0, stream, nil), nil)
}

// logRecord logs what the application printed to psgi.errors. The frame's stream names the request:
// the one that the worker is busy with, or the one that it has answered last.
func (w *station) logRecord(frame wire.Frame) {
	p := w.pool
	p.mu.Lock()
	log := w.logger()
	switch d := w.duties.current(); {
	case w.state == Cleaning, w.last.stream == frame.Stream && frame.Stream != 0:
		log = w.last.on(log)
	case d != nil && d.stream == frame.Stream:
		log = d.on(log)
	}
	p.mu.Unlock()
	w.process.Log(log, frame)
}
