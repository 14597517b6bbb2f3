package host

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// limiter lets so many log records through per second, and as many at once. It counts the others, and says how many they
// were before the next record that passes, or at flush.
type limiter struct {
	rate float64 // records per second; less than 0: no limit

	mu     sync.Mutex
	tokens float64
	last   time.Time
	lost   int
}

func newLimiter(rate int) *limiter { return &limiter{rate: float64(rate), tokens: float64(rate)} }

// admit reports whether a record may pass, and how many were lost before it.
func (l *limiter) admit(now time.Time) (ok bool, lost int) {
	if l.rate < 0 {
		return true, 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.last.IsZero() {
		l.tokens = min(l.rate, l.tokens+now.Sub(l.last).Seconds()*l.rate)
	}
	l.last = now
	if l.tokens < 1 {
		l.lost++
		return false, 0
	}
	l.tokens--
	lost, l.lost = l.lost, 0
	return true, lost
}

// miss counts records that were lost elsewhere.
func (l *limiter) miss(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost += n
}

// flush writes how many records were lost since the last one.
func (l *limiter) flush(log *slog.Logger) {
	l.mu.Lock()
	lost := l.lost
	l.lost = 0
	l.mu.Unlock()
	if lost > 0 {
		log.Warn(lostText(lost))
	}
}

func lostText(n int) string {
	return fmt.Sprintf("%d records of the plugin were lost, because it writes too many (log_rate)", n)
}

// logger returns a logger for what the plugin says: its records pass the limiter.
func (l *limiter) logger(log *slog.Logger) *slog.Logger {
	return slog.New(&limited{log.Handler(), l})
}

// limited is a slog.Handler with a limiter.
type limited struct {
	to      slog.Handler
	limiter *limiter
}

// Enabled implements slog.Handler.
func (h *limited) Enabled(ctx context.Context, level slog.Level) bool {
	return h.to.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *limited) Handle(ctx context.Context, r slog.Record) error {
	ok, lost := h.limiter.admit(time.Now())
	if !ok {
		return nil
	}
	if lost > 0 {
		if err := h.to.Handle(ctx, slog.NewRecord(time.Now(), slog.LevelWarn, lostText(lost), 0)); err != nil {
			return err
		}
	}
	return h.to.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *limited) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &limited{h.to.WithAttrs(attrs), h.limiter}
}

// WithGroup implements slog.Handler.
func (h *limited) WithGroup(name string) slog.Handler {
	return &limited{h.to.WithGroup(name), h.limiter}
}
