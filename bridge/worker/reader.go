package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/buffer"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

// read handles a worker's frames until its connection ends. A worker that breaks the protocol gets
// no work any more.
func (w *Process) read(reader *wire.Reader) error {
	err := w.readFrames(reader)
	if errors.Is(err, ErrProtocol) || errors.Is(err, wire.ErrMalformed) || errors.Is(err, wire.ErrTooLarge) {
		w.leave(causeDied)
		w.station.Broken(err)
	}
	return err
}

// leave takes a worker out of use before its process has ended, and has another one started in its place.
func (w *Process) leave(why cause) {
	g := w.group
	g.mu.Lock()
	defer g.mu.Unlock()
	w.blameLocked(why)
	w.leaveLocked(time.Now())
	g.unlinkLocked(w)
	g.topUpLocked()
}

func (w *Process) readFrames(reader *wire.Reader) error {
	for {
		frame, err := reader.Next()
		if err != nil {
			return err
		}
		switch frame.Type {
		case wire.Ready:
			err = w.ready()
		case wire.Failed:
			err = w.failed(string(frame.Payload))
		case wire.Loaded:
			err = w.loaded(frame)
		case wire.Count:
			err = w.group.opt.Counted(w.terms, w, frame)
		case wire.Exiting:
			err = w.exiting(string(frame.Payload))
		default:
			err = w.station.Frame(frame)
		}
		if err != nil {
			return err
		}
	}
}

// ready handles READY. The worker gets its work, and those that it replaces are relieved, before a Start or a Reload that
// waits for it learns of it.
func (w *Process) ready() error {
	g := w.group
	g.mu.Lock()
	if w.wasReady {
		g.mu.Unlock()
		return fmt.Errorf("%w: a second READY", ErrProtocol)
	}
	w.wasReady = true
	refused := g.stage >= closing && w.State() == Starting
	if refused {
		w.leaveLocked(time.Now())
	}
	serves := w.enterLocked(Serving)
	var relieved []*Process
	if serves {
		relieved = g.relieveLocked(w)
	}
	note := g.noteCircuitLocked()
	g.mu.Unlock()
	g.tellCircuit(note, time.Time{})
	w.logger().Debug("the worker is ready", "took", time.Since(w.since).Round(time.Millisecond))
	if refused {
		w.Drain()
		w.flush()
	}
	if serves {
		w.station.Ready()
	}
	for _, other := range relieved {
		other.station.Relieve()
	}
	if refused || serves {
		g.mu.Lock()
		g.startedLocked(nil)
		w.settleTrialLocked(nil)
		g.mu.Unlock()
	}
	return nil
}

func (w *Process) failed(message string) error {
	w.group.mu.Lock()
	defer w.group.mu.Unlock()
	if w.wasReady {
		return fmt.Errorf("%w: FAILED after READY", ErrProtocol)
	}
	w.failure = Shorten(message)
	w.leaveLocked(time.Now())
	w.group.unlinkLocked(w)
	return nil
}

// loaded passes the names of the files that the application has loaded to Options.Loaded.
func (w *Process) loaded(frame wire.Frame) error {
	files, err := wire.DecodeLoaded(frame.Payload)
	buffer.Put(frame.Buffer)
	if err != nil {
		return err
	}
	if told := w.group.opt.Loaded; told != nil {
		told(files)
	}
	return nil
}

// exiting is called when the worker has said that it will not take another request.
func (w *Process) exiting(reason string) error {
	if err := w.station.Exiting(); err != nil {
		return err
	}
	w.leave(causeExited)
	w.logger().Info("the worker goes", "reason", Shorten(reason))
	return nil
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
