package testkit

import (
	"context"
	"log/slog"
	"sync"
	"testing"
)

// StuckLog returns a log that is blocked, the text that it writes, and a function that releases it.
func StuckLog(t testing.TB) (logger *slog.Logger, text *Log, release func()) {
	text = &Log{}
	gate := &sync.Mutex{}
	gate.Lock()
	release = sync.OnceFunc(gate.Unlock)
	t.Cleanup(release)
	return slog.New(blocking{text.Logger().Handler(), gate}), text, release
}

type blocking struct {
	slog.Handler
	gate *sync.Mutex
}

func (b blocking) Handle(ctx context.Context, r slog.Record) error {
	b.gate.Lock()
	defer b.gate.Unlock()
	return b.Handler.Handle(ctx, r)
}

func (b blocking) WithAttrs(attrs []slog.Attr) slog.Handler {
	return blocking{b.Handler.WithAttrs(attrs), b.gate}
}
