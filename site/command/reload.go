package command

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/site"
)

// reloader reloads the applications of a running site and logs how that went. The
// gateway goes on in any case.
type reloader struct {
	site *site.Site
	log  *slog.Logger
}

// run reloads at each signal, and where the settings say so when files change, until
// ctx ends. It begins once ready is closed; a signal that comes before is not lost.
func (r *reloader) run(ctx context.Context, hangups <-chan os.Signal, ready <-chan struct{}) {
	select {
	case <-ready:
	case <-ctx.Done():
		return
	}
	defer besides(ctx, r.watch)()
	for {
		select {
		case <-hangups:
			r.all(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (r *reloader) all(ctx context.Context) {
	began := time.Now()
	r.log.Info("reload: begun")
	r.tell(ctx, r.log, began, r.site.Reload(ctx))
}

// watch reloads what has changed.
func (r *reloader) watch(ctx context.Context) {
	if !r.site.Settings.Reload {
		return
	}
	err := r.site.Watch(ctx, func(mount string, changed []string) func(error) {
		began := time.Now()
		log := r.log.With("mount", mount)
		log.Info("reload: begun", "changed", changed)
		return func(err error) { r.tell(ctx, log, began, err) }
	}, func(err error) { r.log.Warn("reload: cannot watch a directory", "error", err) })
	if err != nil {
		r.log.Error("reload: cannot watch the files; use HUP instead", "error", err)
	}
}

func (r *reloader) tell(ctx context.Context, log *slog.Logger, began time.Time, err error) {
	switch {
	case err == nil:
		log.Info("reload: done", "took", time.Since(began).Round(time.Millisecond))
	case ctx.Err() != nil:
		log.Info("reload: given up, because the gateway stops")
	default:
		log.Error("reload: failed; what could not be reloaded goes on as it was", "error", err)
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
