package natsserver

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// againAfter is how often a server may warn of the same thing, a peer that is away for example.
const againAfter = time.Minute

// logger passes what a server says to a slog.Logger. What it says in normal service is for debugging.
// Errors of NATS are those of other servers and of the network, from which it recovers.
type logger struct {
	to *slog.Logger

	mu     sync.Mutex
	fatal  string
	warned map[string]time.Time // by format
}

func (l *logger) Noticef(format string, v ...any) { l.to.Debug("nats: " + fmt.Sprintf(format, v...)) }
func (l *logger) Debugf(string, ...any)           {} // of each connection and ping
func (l *logger) Tracef(string, ...any)           {}
func (l *logger) Warnf(format string, v ...any)   { l.warn(format, v) }
func (l *logger) Errorf(format string, v ...any)  { l.warn(format, v) }

// warn logs a warning; one that repeats another is for debugging.
func (l *logger) warn(format string, v []any) {
	l.mu.Lock()
	repeats := time.Since(l.warned[format]) < againAfter
	if !repeats {
		if l.warned == nil {
			l.warned = map[string]time.Time{}
		}
		l.warned[format] = time.Now()
	}
	l.mu.Unlock()
	if repeats {
		l.Noticef(format, v...)
		return
	}
	l.to.Warn("nats: " + fmt.Sprintf(format, v...))
}

// Fatalf is called when a server cannot listen. That it has no port for clients is intended.
func (l *logger) Fatalf(format string, v ...any) {
	if strings.HasPrefix(format, "Error listening on port:") {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fatal = fmt.Sprintf(format, v...)
}

// reason returns why a server could not start; "" if it could.
func (l *logger) reason() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}
