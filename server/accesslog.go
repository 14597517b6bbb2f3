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
	log *slog.Logger

	mu     sync.Mutex
	w      io.Writer // nil: lines are dropped
	format AccessFormat
	buf    []byte
	lost   bool // a write failed and was reported

	stop, stopped chan struct{} // of the periodic flushing; nil until there is something to flush
}

func newAccessLog(log *slog.Logger) *accessLog { return &accessLog{log: log} }

// check reports what is wrong with the options of s about the log.
func (a *accessLog) check(s *Server) error {
	_, err := ParseAccessFormat(s.AccessLogFormat)
	return err
}

// set makes the log what s says, which was checked.
func (a *accessLog) set(s *Server) {
	format, _ := ParseAccessFormat(s.AccessLogFormat) // check has seen it
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.flushLocked() // it is reported
	a.w, a.format = s.AccessLog, format
	if a.w != nil && a.stop == nil {
		a.buf = make([]byte, 0, accessBuffer+4096)
		a.stop, a.stopped = make(chan struct{}), make(chan struct{})
		go a.flushPeriodically()
	}
}

func (a *accessLog) flushPeriodically() {
	defer close(a.stopped)
	ticker := time.NewTicker(accessDelay)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			a.mu.Lock()
			_ = a.flushLocked() // it is reported
			a.mu.Unlock()
		case <-a.stop:
			return
		}
	}
}

// record is the engine's Done hook.
func (a *accessLog) record(rec *pagi.HTTPRecord) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.buf = a.format.Append(a.buf, rec)
	if len(a.buf) >= accessBuffer {
		_ = a.flushLocked() // it is reported
	}
}

// flushLocked writes what was collected. A log that cannot be written is reported once
// until it works again; requests go on.
func (a *accessLog) flushLocked() error {
	if len(a.buf) == 0 || a.w == nil {
		a.buf = a.buf[:0]
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
	if a.stop == nil {
		return nil
	}
	close(a.stop)
	<-a.stopped
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.flushLocked()
}
