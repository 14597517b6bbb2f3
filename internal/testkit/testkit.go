// Package testkit holds what the tests of several packages need: waiting for a
// condition, and a log to look into.
package testkit

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// Patience is how long Eventually waits before it gives a condition up.
const Patience = 20 * time.Second

// Eventually waits until condition holds and fails the test when it does not in
// time. what completes the sentence "waited in vain for".
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Log collects log records as text.
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

// WaitFor waits until the log holds text.
func (l *Log) WaitFor(t testing.TB, text string) {
	t.Helper()
	Eventually(t, "the log to hold "+text+"; it holds:\n"+l.String(), func() bool { return strings.Contains(l.String(), text) })
}
