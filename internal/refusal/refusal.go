// Package refusal logs why a mount has answered a request for a file with 403 or 404, and follows
// symbolic links out of a mount's directory where an option allows it. The file applications and
// the CGI bridge use it.
package refusal

import (
	"context"
	"log/slog"
	"sync"

	"golang.org/x/time/rate"
)

// maxFiles is how many files a Log remembers. When it has that many it forgets all, so that a
// warning may come again.
const maxFiles = 1000

// Log writes each reason at debug. For a file that exists it writes the first one at warn, with at
// most twenty warnings at once and then one each second. The zero value is ready.
type Log struct {
	mu       sync.Mutex
	told     map[string]bool
	warnings *rate.Limiter // keeps clients that ask for very many files from filling the log
}

// Reason is why a request is refused.
type Reason struct {
	Status int
	// Request is the request's path, File the name that it leads to.
	Request, File string
	// Text is the reason. Option names the option that would allow the request, if there is one.
	Text, Option string
	// There reports that the file exists: its owner will ask why it is not served, so the
	// record is a warning.
	There bool
}

// Tell logs a reason.
func (l *Log) Tell(ctx context.Context, logger *slog.Logger, r Reason) {
	level := slog.LevelDebug
	if r.There && l.isNew(r.File+"\x00"+r.Text) {
		level = slog.LevelWarn
	}
	if logger == nil {
		logger = slog.Default()
	}
	if !logger.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{slog.Int("status", r.Status), slog.String("path", r.Request), slog.String("file", r.File), slog.String("reason", r.Text)}
	if r.Option != "" {
		attrs = append(attrs, slog.String("option", r.Option))
	}
	logger.LogAttrs(ctx, level, "file is not served", attrs...)
}

func (l *Log) isNew(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.told[key] {
		return false
	}
	if l.warnings == nil {
		l.warnings = rate.NewLimiter(1, 20)
	}
	if !l.warnings.Allow() {
		return false
	}
	if l.told == nil || len(l.told) >= maxFiles {
		l.told = map[string]bool{}
	}
	l.told[key] = true
	return true
}
