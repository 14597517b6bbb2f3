package server

import (
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Clients can cause warnings without limit. So at most this many warnings of each kind are logged
// in this time.
const (
	warningsAtOnce = 10
	warningsEvery  = 10 * time.Second
)

// sparing logs warnings about clients and leaves out those beyond a limit. The next line of the
// same kind says how many were left out.
type sparing struct {
	log *slog.Logger

	mu    sync.Mutex
	kinds map[string]*warnings
}

// warnings counts the warnings of one kind.
type warnings struct {
	since           time.Time // when the count began
	logged, leftOut int
}

// warn logs a warning. msg is also its kind, so there must be few different ones.
func (s *sparing) warn(msg string, args ...any) { s.warnOf(msg, msg, args...) }

// warnOf logs a warning of a kind.
func (s *sparing) warnOf(kind, msg string, args ...any) {
	leftOut, ok := s.take(kind, time.Now())
	if !ok {
		return
	}
	if leftOut > 0 {
		args = append(args, "left_out", leftOut)
	}
	s.log.Warn(msg, args...)
}

// Write receives the lines of net/http's log. The beginning of a line is its kind; the rest may
// come from a client.
func (s *sparing) Write(line []byte) (int, error) {
	const kind = 16
	msg := strings.TrimSuffix(string(line), "\n")
	s.warnOf(msg[:min(len(msg), kind)], msg)
	return len(line), nil
}

// take reports whether a line may be logged now, and how many were left out before it.
func (s *sparing) take(msg string, now time.Time) (leftOut int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.kinds[msg]
	if w == nil {
		if s.kinds == nil {
			s.kinds = map[string]*warnings{}
		}
		w = &warnings{}
		s.kinds[msg] = w
	}
	if now.Sub(w.since) >= warningsEvery {
		w.since, w.logged = now, 0
	}
	if w.logged == warningsAtOnce {
		w.leftOut++
		return 0, false
	}
	w.logged++
	leftOut, w.leftOut = w.leftOut, 0
	return leftOut, true
}
