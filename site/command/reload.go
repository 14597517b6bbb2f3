package command

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/site"
)

// reloading reloads the site at each signal until ctx ends. It begins once ready is
// closed; a signal that comes before is not lost.
func reloading(ctx context.Context, s *site.Site, logger *slog.Logger, hangups <-chan os.Signal, ready <-chan struct{}) {
	select {
	case <-ready:
	case <-ctx.Done():
		return
	}
	for {
		select {
		case <-hangups:
			reload(ctx, s, logger)
		case <-ctx.Done():
			return
		}
	}
}

// reload reloads the site and logs how that went. The gateway goes on in any case.
func reload(ctx context.Context, s *site.Site, logger *slog.Logger) {
	logger.Info("reload: begun")
	began := time.Now()
	switch err := s.Reload(ctx); {
	case err == nil:
		logger.Info("reload: done", "took", time.Since(began).Round(time.Millisecond))
	case ctx.Err() != nil:
		logger.Info("reload: given up, because the gateway stops")
	default:
		logger.Error("reload: failed; what could not be reloaded goes on as it was", "error", err)
	}
}

// besides runs f beside what the caller does next; stop ends its context and waits
// for it.
func besides(ctx context.Context, f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { f(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}
