package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/status"
)

const (
	// quickAverage is the time per request up to which a worker gets batches.
	quickAverage = time.Millisecond
	// stallTime is how long a batch may make no progress before it is taken apart.
	stallTime = 5 * time.Millisecond
)

// read handles a worker's frames until its connection ends. A worker that breaks the protocol gets
// no request any more. The request it is busy with is taken for the cause and is not repeated,
// because it could cost the next worker, too.
func (w *worker) read(reader *wire.Reader) error {
	err := w.readFrames(reader)
	if errors.Is(err, ErrProtocol) || errors.Is(err, wire.ErrMalformed) || errors.Is(err, wire.ErrTooLarge) {
		w.breakOff(err)
	}
	return err
}

// breakOff takes a worker that has broken the protocol out of use, before its process has ended.
// The request it is busy with fails, and the others go to other workers.
func (w *worker) breakOff(err error) {
	p := w.pool
	p.mu.Lock()
	if d := w.duties.current(); d != nil && !w.cleaning {
		d.begun = true
	}
	w.blameLocked(causeDied)
	w.leave(time.Now())
	p.removeIdleLocked(w)
	p.unlinkLocked(w)
	begun, waiting := w.partLocked()
	send := p.requeueLocked(waiting)
	p.topUpLocked()
	p.mu.Unlock()
	if begun != nil {
		// err is formatted, not wrapped: an error of package wire would mean that the request
		// cannot be sent.
		begun.fail(fmt.Errorf("%w: %v", ErrWorkerDied, err))
	}
	for _, other := range send {
		other.sendBatch()
	}
}

func (w *worker) readFrames(reader *wire.Reader) error {
	for {
		frame, err := reader.Next()
		if err != nil {
			return err
		}
		switch frame.Type {
		case wire.Response, wire.Informational, wire.Body, wire.File, wire.Abort:
			err = w.answer(frame)
		case wire.Ready:
			err = w.ready()
		case wire.Failed:
			err = w.failed(string(frame.Payload))
		case wire.Log:
			w.logRecord(frame)
		case wire.Idle:
			err = w.idle()
		case wire.Loaded:
			err = w.loaded(frame)
		case wire.Exiting:
			err = w.exiting(string(frame.Payload))
		default:
			err = fmt.Errorf("%w: a %s frame", ErrProtocol, frame.Type)
		}
		if err != nil {
			return err
		}
	}
}

func (w *worker) ready() error {
	p := w.pool
	p.mu.Lock()
	if w.wasReady {
		p.mu.Unlock()
		return fmt.Errorf("%w: a second READY", ErrProtocol)
	}
	w.wasReady, w.progress = true, time.Now()
	var send []*worker
	if w.state == Starting {
		if p.closing {
			w.retire()
			send = append(send, w)
		} else if p.freeLocked(w) {
			send = append(send, w)
		}
		send = append(send, p.relieveLocked(w)...)
		p.startedLocked(nil)
		w.settleTrialLocked(nil)
	}
	note := p.noteCircuitLocked()
	p.mu.Unlock()
	p.tellCircuit(note, time.Time{})
	w.logger().Debug("the worker is ready", "took", time.Since(w.since).Round(time.Millisecond))
	for _, other := range send {
		other.sendBatch()
	}
	return nil
}

// relieveLocked retires the idle workers that w replaces. A busy one is retired when it is free.
func (p *Pool) relieveLocked(w *worker) (send []*worker) {
	for other := range p.workers {
		if other.successor == w && other.state == Ready {
			other.makeWay()
			send = append(send, other)
		}
	}
	return send
}

func (w *worker) failed(message string) error {
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	if w.wasReady {
		return fmt.Errorf("%w: FAILED after READY", ErrProtocol)
	}
	w.failure = shorten(message)
	w.leave(time.Now())
	w.pool.unlinkLocked(w)
	return nil
}

// answer handles the frames that carry a response. A frame is matched to its duty
// and the exchange bound to this worker in one critical section.
func (w *worker) answer(frame wire.Frame) error {
	p := w.pool
	fin := frame.Has(wire.FlagFin)
	p.mu.Lock()
	w.progress = time.Now()
	x, err := w.beginLocked(frame)
	p.mu.Unlock()
	if err != nil {
		release(frame.Buffer)
		return err
	}
	p.pause(afterMatch, w, frame.Stream)
	if x == nil {
		release(frame.Buffer) // the request was taken back
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
func (w *worker) beginLocked(frame wire.Frame) (*exchange, error) {
	if w.cleaning {
		return nil, fmt.Errorf("%w: a %s frame after FIN with BUSY, before IDLE", ErrProtocol, frame.Type)
	}
	return w.duties.begin(frame.Stream)
}

func (w *worker) deliver(x *exchange, frame wire.Frame, fin bool) error {
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
		file, err := wire.DecodeFile(frame.Payload)
		if err != nil {
			return err
		}
		if !w.terms.Features.Has(wire.FeaturePaths) {
			return fmt.Errorf("%w: a file by its path from a process of another user", ErrProtocol)
		}
		piece.File, piece.Last = &file, true
		release(piece.buffer)
		piece.buffer = nil
	case wire.Abort:
		kind, message, err := wire.DecodeAbort(frame.Payload)
		if err != nil {
			return err
		}
		x.fail(&AbortError{kind, message})
		release(frame.Buffer)
		return nil
	}
	x.push(piece, w)
	return nil
}

func (w *worker) setPaused(is bool) {
	w.pool.mu.Lock()
	w.paused, w.progress = is, time.Now()
	w.busySince = w.progress // time spent waiting for a client does not count as the application's
	w.pool.mu.Unlock()
}

// finished removes a duty that the worker has answered: the one it was busy with, or one that was
// taken back.
func (w *worker) finished(stream uint32, cleaning bool) {
	p := w.pool
	p.mu.Lock()
	if d, first := w.duties.remove(stream); first {
		w.measureLocked(d.release() != nil)
		w.last, w.cleaning = d, cleaning
		w.served++
		p.provedLocked(w)
	}
	send := w.restLocked()
	p.mu.Unlock()
	if send {
		w.sendBatch()
	}
}

// measureLocked counts the time of the request that was just answered. A request that was taken
// back does not count, because the worker may have skipped it.
func (w *worker) measureLocked(answered bool) {
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
// back.
func (w *worker) restLocked() (send bool) {
	if len(w.duties) > 0 || w.cleaning {
		return false
	}
	if w.stall != nil {
		w.stall.Stop()
	}
	send = w.pool.freeLocked(w)
	w.pool.checkDrainedLocked()
	return send
}

func (w *worker) idle() error {
	p := w.pool
	p.mu.Lock()
	if !w.cleaning {
		p.mu.Unlock()
		return fmt.Errorf("%w: IDLE from a worker that was not busy", ErrProtocol)
	}
	w.cleaning = false
	w.progress = time.Now()
	send := w.state != Exiting && w.restLocked()
	p.mu.Unlock()
	if send {
		w.sendBatch()
	}
	return nil
}

// exiting is called when the worker has said that it will not take another request.
func (w *worker) exiting(reason string) error {
	p := w.pool
	p.mu.Lock()
	if d := w.duties.current(); d != nil && !w.cleaning && (d.begun || d.x != nil) {
		p.mu.Unlock()
		return fmt.Errorf("%w: EXITING in the middle of a request", ErrProtocol)
	}
	w.blameLocked(causeExited)
	w.leave(time.Now())
	p.removeIdleLocked(w)
	p.unlinkLocked(w)
	waiting, _ := w.duties.releaseFrom(0)
	send := p.requeueLocked(waiting)
	p.topUpLocked()
	p.mu.Unlock()
	w.logger().Info("the worker goes", "reason", shorten(reason))
	for _, other := range send {
		other.sendBatch()
	}
	return nil
}

// isQuick reports whether the worker's requests are so quick that no client has to wait when
// several share a batch.
func (w *worker) isQuick() bool { return w.average > 0 && w.average < quickAverage }

// armStall starts the timer that watches a batch.
func (w *worker) armStall() {
	if w.stall == nil {
		w.stall = time.AfterFunc(w.pool.opt.stall, w.stalled)
	} else {
		w.stall.Reset(w.pool.opt.stall)
	}
}

// stalled takes apart a batch that makes no progress. The requests behind the running one go back
// to the queue, and the worker is told to skip them.
func (w *worker) stalled() {
	p := w.pool
	p.mu.Lock()
	keep := 1 // the worker is busy with it
	if w.cleaning {
		keep = 0
	}
	if w.state != Busy && w.state != Draining || len(w.duties) <= keep {
		p.mu.Unlock()
		return
	}
	if rest := w.pool.opt.stall - time.Since(w.progress); rest > 0 {
		w.stall.Reset(rest)
		p.mu.Unlock()
		return
	}
	taken, streams := w.duties.releaseFrom(keep)
	for _, stream := range streams {
		w.batch = wire.AppendFrame(w.batch, wire.Cancel, 0, stream, nil)
	}
	send := append(p.requeueLocked(taken), w)
	p.mu.Unlock()
	p.pause(afterTakingBack, w, 0)
	for _, other := range send {
		other.sendBatch()
	}
}

var levels = map[uint8]slog.Level{
	wire.LevelError: slog.LevelError,
	wire.LevelWarn:  slog.LevelWarn,
	wire.LevelInfo:  slog.LevelInfo,
	wire.LevelDebug: slog.LevelDebug,
}

// levelOf returns the level of a LOG frame.
func levelOf(frame wire.Frame) slog.Level {
	if level, ok := levels[frame.Flags]; ok {
		return level
	}
	return slog.LevelError
}

// logRecord logs what the application printed to psgi.errors. The frame's stream names the request:
// the one that the worker is busy with, or the one that it has answered last.
func (w *worker) logRecord(frame wire.Frame) {
	p := w.pool
	p.mu.Lock()
	log := w.logger()
	switch d := w.duties.current(); {
	case w.cleaning, w.last.stream == frame.Stream && frame.Stream != 0:
		log = w.last.on(log)
	case d != nil && d.stream == frame.Stream:
		log = d.on(log)
	}
	p.mu.Unlock()
	level := levelOf(frame)
	text := strings.Trim(string(frame.Payload[:min(len(frame.Payload), wire.MaxMessage)]), "\r\n")
	log.Log(context.Background(), level, text)
	release(frame.Buffer)
}
