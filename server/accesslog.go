package server

import (
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

const (
	accessBuffer = 64 << 10    // bytes collected before they are written
	accessDelay  = time.Second // longest time a line waits
)

// accessLog collects lines and writes them in large pieces.
type accessLog struct {
	w      io.Writer
	format AccessFormat
	log    *slog.Logger

	mu   sync.Mutex
	buf  []byte
	lost bool // a write failed and was reported

	stop, stopped chan struct{}
}

func newAccessLog(w io.Writer, format AccessFormat, log *slog.Logger) *accessLog {
	return &accessLog{w: w, format: format, log: log, buf: make([]byte, 0, accessBuffer+4096)}
}

// start begins to flush periodically; close ends that.
func (a *accessLog) start() {
	a.stop, a.stopped = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(a.stopped)
		ticker := time.NewTicker(accessDelay)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				a.mu.Lock()
				a.flush()
				a.mu.Unlock()
			case <-a.stop:
				return
			}
		}
	}()
}

// record is the engine's Done hook.
func (a *accessLog) record(rec *pagi.HTTPRecord) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.buf = a.format.Append(a.buf, rec)
	if len(a.buf) >= accessBuffer {
		a.flush()
	}
}

// flush writes what was collected. A log that cannot be written is reported once
// until it works again; requests go on.
func (a *accessLog) flush() error {
	if len(a.buf) == 0 {
		return nil
	}
	_, err := a.w.Write(a.buf)
	a.buf = a.buf[:0]
	if err != nil && !a.lost {
		a.log.Error("access log cannot be written, lines are lost", "error", err)
	}
	a.lost = err != nil
	return err
}

// close ends the periodic flushing and writes the rest.
func (a *accessLog) close() error {
	close(a.stop)
	<-a.stopped
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.flush()
}
