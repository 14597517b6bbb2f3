package server

import (
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Of what clients can cause as often as they like, this many warnings of each kind are
// logged in this time.
const (
	warningsAtOnce = 10
	warningsEvery  = 10 * time.Second
)

// sparing logs warnings about clients, but not for each of very many. The next line of
// the kind says how many were left out.
type sparing struct {
	log *slog.Logger

	mu    sync.Mutex
	kinds map[string]*warnings
}

// warnings are those of one kind.
type warnings struct {
	since           time.Time // when the count began
	logged, leftOut int
}

// warn logs a warning; msg must be one of few.
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

// Write is what net/http's log writes by. How a line begins tells its kind, what follows
// may be a client's.
func (s *sparing) Write(line []byte) (int, error) {
	const kind = 16
	msg := strings.TrimSuffix(string(line), "\n")
	s.warnOf(msg[:min(len(msg), kind)], msg)
	return len(line), nil
}

// take reports whether a line may be logged now, and how many were not before it.
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
