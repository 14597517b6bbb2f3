package testkit

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// Log collects log records, or what a program writes, as text.
type Log struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String returns all that was logged so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Logger returns a logger that writes here, every level, as slog's text format.
func (l *Log) Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// WaitFor waits until one line of the log holds all parts.
func (l *Log) WaitFor(t testing.TB, parts ...string) {
	t.Helper()
	if !poll(func() bool { return l.hasLine(parts) }) {
		t.Fatalf("waited in vain for a line with %q; the log holds:\n%s", parts, l)
	}
}

func (l *Log) hasLine(parts []string) bool {
	for line := range strings.Lines(l.String()) {
		all := true
		for _, part := range parts {
			all = all && strings.Contains(line, part)
		}
		if all {
			return true
		}
	}
	return false
}
