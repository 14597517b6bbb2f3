package command

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/site"
)

// reloader reloads a running site and logs the result. The gateway goes on in any case.
type reloader struct {
	gateway   *gateway
	stopWatch func() // ends watching the files of the current site
}

// run reloads at each signal, and if the settings say so when files change, until ctx ends.
func (r *reloader) run(ctx context.Context, hangups <-chan os.Signal) {
	r.startWatch(ctx)
	defer func() { r.stopWatch() }()
	for {
		select {
		case <-hangups:
			_ = r.all(ctx) // it is in the log
		case a := <-r.gateway.asks:
			if a.mount == "" {
				a.done <- r.all(ctx)
			} else {
				a.done <- r.mount(ctx, a.mount)
			}
		case <-ctx.Done():
			return
		}
	}
}

// all reads the site file again. If it has not changed, every application loads its code again,
// worker by worker. Otherwise another site is built beside the running one, which keeps the mounts that have not changed.
func (r *reloader) all(ctx context.Context) (err error) {
	g := r.gateway
	began := time.Now()
	g.logs.logger.Info("reload: begun")
	g.manager.reloading()
	defer g.manager.ready()
	current := g.current()
	if current.File == "" {
		err = current.Reload(ctx)
		r.tell(ctx, "", began, err)
		return err
	}
	next, err := g.options.site(g.process)
	switch {
	case err != nil:
	case next.SameFile(current):
		err = current.Reload(ctx)
	default:
		err = r.replace(ctx, current, next)
	}
	r.tell(ctx, "", began, err)
	return err
}

// mount has one mount load its code again.
func (r *reloader) mount(ctx context.Context, name string) error {
	began := time.Now()
	r.gateway.logs.logger.Info("reload: begun", "mount", name)
	err := r.gateway.current().ReloadMount(ctx, name)
	r.tell(ctx, name, began, err)
	return err
}

// replace replaces a site by another one. After an error nothing has changed.
func (r *reloader) replace(ctx context.Context, old, next *site.Site) error {
	g := r.gateway
	next.Succeed(old)
	to, err := g.prepare(next)
	if err != nil {
		return err
	}
	if err := r.start(ctx, old, to); err != nil {
		if failed := to.access.abort(); failed != nil {
			g.logs.logger.Error("cannot close the access log", "error", failed)
		}
		return err
	}
	to.access.commit()
	g.logs.setLevel(&next.Settings, g.options.quiet)
	r.stopWatch()
	g.setCurrent(next)
	g.programs.Apply(next.Besides())
	r.startWatch(ctx)
	g.logs.logger.Debug("reload: mounts that have not changed go on", "mounts", next.Kept())
	if names := old.Settings.NeedRestart(&next.Settings); len(names) > 0 {
		g.logs.logger.Warn("reload: these settings take effect at the next restart (USR2)", "settings", strings.Join(names, ", "))
	}
	return next.TakeOver(ctx)
}

// start starts a site with its environment, and serves it instead of the old one.
func (r *reloader) start(ctx context.Context, old *site.Site, to *prepared) error {
	setenv := r.gateway.process.Setenv
	if err := setenv("PAGI_ENV", to.site.Settings.Environment); err != nil {
		return err
	}
	if err := r.gateway.server.Reload(ctx, to.server); err != nil {
		return errors.Join(err, setenv("PAGI_ENV", old.Settings.Environment))
	}
	return nil
}

// startWatch reloads the applications of the current site whose files have changed.
func (r *reloader) startWatch(ctx context.Context) {
	r.stopWatch = func() {}
	s, log := r.gateway.current(), r.gateway.logs.logger
	if !s.Settings.Reloads() {
		return
	}
	r.stopWatch = besides(ctx, func(ctx context.Context) {
		err := s.Watch(ctx, func(mount string, changed []string) func(error) {
			began := time.Now()
			log.With("mount", mount).Info("reload: begun", "changed", changed)
			return func(err error) { r.tell(ctx, mount, began, err) }
		}, func(err error) { log.Warn("reload: cannot watch a directory", "error", err) })
		if err != nil {
			log.Error("reload: cannot watch the files; use HUP instead", "error", err)
		}
	})
}

func (r *reloader) tell(ctx context.Context, mount string, began time.Time, err error) {
	log := r.gateway.logs.logger
	if mount != "" {
		log = log.With("mount", mount)
	}
	switch {
	case err == nil:
		log.Info("reload: done", "took", time.Since(began).Round(time.Millisecond))
	case ctx.Err() != nil:
		log.Info("reload: given up, because the gateway stops")
	default:
		log.Error("reload: failed; mounts that could not be reloaded go on as they were", "error", err)
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
