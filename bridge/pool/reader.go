package pool

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

const (
	// quickAverage is the time per request up to which a worker gets batches.
	quickAverage = time.Millisecond
	// stallTime is how long a batch may make no progress before it is taken apart.
	stallTime = 5 * time.Millisecond
	// slowAnswer is how long an answer may take that makes no worker send each
	// answer at once, and steadyRequests how many such answers in a row let them
	// send several together again. So a slow request keeps at most a few answers
	// from their clients, and that once in thousands.
	slowAnswer     = 10 * time.Millisecond
	steadyRequests = 4096
)

// read handles a worker's frames until its connection ends.
func (w *worker) read(reader *wire.Reader) error {
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
	output := w.output
	note := p.noteCircuitLocked()
	p.mu.Unlock()
	p.tellCircuit(note, time.Time{})
	w.logger().Debug("the worker is ready", "took", time.Since(w.since).Round(time.Millisecond))
	for _, line := range output.firstLines() {
		w.logger().Warn(line)
	}
	for _, other := range send {
		other.sendBatch()
	}
	return nil
}

// relieveLocked retires whom w takes over from, if idle; a busy one goes when it is
// free.
func (p *Pool) relieveLocked(w *worker) (send []*worker) {
	for other := range p.workers {
		if other.successor == w && other.state == Ready {
			other.retire()
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
	w.failure = strings.TrimSpace(message)
	w.leave(time.Now())
	w.pool.unlinkLocked(w)
	return nil
}

// answer handles the frames that carry a response.
func (w *worker) answer(frame wire.Frame) error {
	p := w.pool
	fin := frame.Has(wire.FlagFin)
	p.mu.Lock()
	w.progress = time.Now()
	var x *exchange
	if len(w.inflight) > 0 && w.inflight[0].stream == frame.Stream && !w.cleaning {
		x = w.inflight[0]
	}
	p.mu.Unlock()
	if x == nil {
		// The answer to a request that has moved to another worker meanwhile.
		release(frame.Buffer)
		w.answeredLate(frame.Stream, fin, frame.Has(wire.FlagBusy))
		return nil
	}
	if err := w.deliver(x, frame, fin); err != nil {
		return err
	}
	if fin {
		w.finished(frame.Has(wire.FlagBusy))
	}
	return nil
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
		piece.Head, piece.headSize = x.keepHead(head, piece.Informational), len(frame.Payload)-len(body)
	case wire.Body:
		piece.Body = frame.Payload
	case wire.File:
		file, err := wire.DecodeFile(frame.Payload)
		if err != nil {
			return err
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
	w.begun = w.progress // waiting for a client is not the application's time
	w.pool.mu.Unlock()
}

// finished is called when the worker has answered the first request it has.
func (w *worker) finished(cleaning bool) {
	p := w.pool
	p.mu.Lock()
	var answered *exchange
	if len(w.inflight) > 0 {
		answered = w.inflight[0]
		w.cleanedUp, w.cleanedID = answered.label, answered.id
		answered.worker = nil
		n := copy(w.inflight, w.inflight[1:])
		w.inflight[n] = nil
		w.inflight = w.inflight[:n]
	}
	w.served++
	p.failures = 0
	w.cleaning = cleaning
	w.measureLocked()
	send := w.restLocked() || p.refillLocked(w)
	p.mu.Unlock()
	if answered != nil {
		answered.leave()
	}
	if send {
		w.sendBatch()
	}
}

// measureLocked counts the time of the request that was just answered.
func (w *worker) measureLocked() {
	took := w.progress.Sub(w.begun)
	w.begun = w.progress
	if w.pool.steady++; took > slowAnswer {
		w.pool.steady = 0
	}
	if w.average == 0 {
		w.average = took
	}
	w.average += (took - w.average) / 8
}

// restLocked frees the worker when it has nothing left to do.
func (w *worker) restLocked() (send bool) {
	if len(w.inflight) > 0 || w.cleaning || w.unsure && len(w.owed) > 0 {
		return false
	}
	w.unsure = false
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
	if len(w.inflight) > 0 && !w.cleaning {
		p.mu.Unlock()
		return fmt.Errorf("%w: EXITING in the middle of a request", ErrProtocol)
	}
	w.leave(time.Now())
	p.removeIdleLocked(w)
	p.unlinkLocked(w)
	waiting := w.inflight
	w.inflight = nil
	send := p.requeueLocked(waiting)
	p.topUpLocked()
	p.mu.Unlock()
	w.logger().Info("the worker goes", "reason", reason)
	for _, other := range send {
		other.sendBatch()
	}
	return nil
}

// isQuick reports whether the worker's requests are so quick that some more in a
// batch keep nobody waiting.
func (w *worker) isQuick() bool { return w.average > 0 && w.average < quickAverage }

// armStall sets the watch over a batch.
func (w *worker) armStall() {
	if w.stall == nil {
		w.stall = time.AfterFunc(stallTime, w.stalled)
	} else {
		w.stall.Reset(stallTime)
	}
}

// stalled takes a batch apart that makes no progress: what waits behind the request
// that runs goes back to the queue, and the worker is told to leave it alone.
func (w *worker) stalled() {
	p := w.pool
	p.mu.Lock()
	keep := 0
	if !w.cleaning && w.runsFirstLocked() {
		keep = 1
	}
	if w.state != Busy && w.state != Draining || len(w.inflight) <= keep {
		p.mu.Unlock()
		return
	}
	if rest := stallTime - time.Since(w.progress); rest > 0 {
		w.stall.Reset(rest)
		p.mu.Unlock()
		return
	}
	send := append(p.requeueLocked(w.takeBackLocked(keep)), w)
	p.mu.Unlock()
	for _, other := range send {
		other.sendBatch()
	}
}

var levels = map[uint8]slog.Level{
	wire.LevelError: slog.LevelError,
	wire.LevelWarn:  slog.LevelWarn,
	wire.LevelInfo:  slog.LevelInfo,
}

// levelOf returns the level of a LOG frame.
func levelOf(frame wire.Frame) slog.Level {
	if level, ok := levels[frame.Flags]; ok {
		return level
	}
	return slog.LevelError
}

// about adds to a logger which request its records are about.
func about(log *slog.Logger, label, id string) *slog.Logger {
	if label != "" {
		log = log.With("request", label)
	}
	if id != "" {
		log = log.With("request_id", id)
	}
	return log
}

// logRecord passes on what the application printed to psgi.errors.
func (w *worker) logRecord(frame wire.Frame) {
	p := w.pool
	p.mu.Lock()
	log := w.logger()
	switch {
	case w.cleaning:
		log = about(log, w.cleanedUp, w.cleanedID)
	case len(w.inflight) > 0 && w.inflight[0].stream == frame.Stream:
		log = about(log, w.inflight[0].label, w.inflight[0].id)
	}
	p.mu.Unlock()
	level := levelOf(frame)
	text := strings.TrimSpace(string(frame.Payload))
	log.Log(context.Background(), level, text)
	release(frame.Buffer)
}
