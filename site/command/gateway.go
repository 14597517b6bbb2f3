package command

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/server"
	"github.com/pagi-go/pagi-bridge/server/acme"
	"github.com/pagi-go/pagi-bridge/site"
)

// gateway is a site that is served, with everything around it.
type gateway struct {
	options *options
	args    []string
	process Process
	logs    *logs
	server  *server.Server
	manager manager
	user    *identity     // to become; nil: stay
	pid     *pidFile      // nil: none
	status  *statusServer // nil: none
	acme    *acme.Manager // nil: none
	began   time.Time

	mu   sync.Mutex
	site *site.Site // the one that gets requests
}

// current is the site that gets requests.
func (g *gateway) current() *site.Site {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.site
}

func (g *gateway) setCurrent(s *site.Site) {
	g.mu.Lock()
	g.site = s
	g.mu.Unlock()
	g.process.procs.startsPrograms(slices.ContainsFunc(s.Mounts, func(m *site.Mount) bool { return m.Kind == site.KindCGI }))
}

// serve serves a site until ctx ends, and returns the exit code.
func (g *gateway) serve(ctx context.Context, s *site.Site) (code int) {
	p := g.process
	if err := g.setUp(s); err != nil {
		return complain(p, ExitUsage, err)
	}
	defer func() {
		if err := g.logs.close(); err != nil {
			code = complain(p, ExitFailure, err)
		}
	}()
	next, err := g.prepare(s)
	if err != nil {
		return complain(p, ExitUsage, err)
	}
	next.access.commit()
	if err := p.Setenv("PAGI_ENV", s.Settings.Environment); err != nil {
		return complain(p, ExitFailure, err)
	}
	g.server = next.server
	g.server.Inherited = p.sockets
	if s.Settings.TLS.HasACME() {
		if g.acme, err = acme.New(s.Settings.TLS.ACME, g.logs.logger); err != nil {
			return complain(p, ExitUsage, err)
		}
		g.server.TLS.Managed = g.acme
	}
	g.setCurrent(s)
	err = g.run(ctx)
	records := g.recordsOnly(s)
	if err != nil && (records || g.logs.file != nil) { // standard error may lead nowhere
		g.logs.logger.Error("the gateway ends", "error", err)
	}
	switch {
	case err != nil && records:
		_ = p.takeover.tell(err.Error()) // it sees our end, too
		return ExitFailure
	case err != nil:
		return complain(p, ExitFailure, err)
	case records:
		g.logs.logger.Info("stopped")
	case !g.options.quiet:
		fmt.Fprintln(p.Stderr, "Stopped.")
	}
	return ExitOK
}

// recordsOnly reports whether a program reads standard error, one that wants records.
func (g *gateway) recordsOnly(s *site.Site) bool {
	return s.Settings.LogFormat == "json" && g.logs.file == nil
}

// setUp does what belongs to the process rather than to the site.
func (g *gateway) setUp(s *site.Site) error {
	if s.Settings.Umask != "" {
		mask, err := server.ParseMode(s.Settings.Umask)
		if err != nil {
			return fmt.Errorf("umask: %w", err)
		}
		syscall.Umask(int(mask))
	}
	var err error
	if g.user, err = identityOf(&s.Settings); err != nil {
		return err
	}
	g.logs, err = openLogs(&s.Settings, g.process.Stderr, g.options.quiet, g.user)
	if err != nil {
		return err
	}
	g.manager = manager{g.logs.logger}
	return nil
}

// prepared is a site that can be served.
type prepared struct {
	site   *site.Site
	server *server.Server
	access *accessChange
}

// prepare builds a site and opens its access log, which is to be committed or aborted.
func (g *gateway) prepare(s *site.Site) (*prepared, error) {
	s.Logger = g.logs.logger
	app, err := s.Build()
	if err != nil {
		return nil, err
	}
	access, err := g.logs.changeAccess(s)
	if err != nil {
		return nil, err
	}
	srv := s.Settings.Server()
	srv.App, srv.Logger, srv.AccessLog, srv.Development = app, g.logs.logger, access.w, s.Development()
	return &prepared{s, srv, access}, nil
}

// run runs the server and what goes on beside it.
func (g *gateway) run(ctx context.Context) (err error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	ready := make(chan struct{})
	g.server.Bound = g.bound
	g.server.Ready = func(addrs []net.Addr) error {
		if err := g.ready(addrs); err != nil {
			return err
		}
		close(ready)
		return nil
	}
	stopBeside := besides(ctx, func(ctx context.Context) {
		select {
		case <-ready:
			g.beside(ctx, end)
		case <-ctx.Done():
		}
	})
	stopTelling := context.AfterFunc(ctx, func() {
		if !errors.Is(context.Cause(ctx), server.ErrHandedOver) {
			g.manager.stopping()
		}
	})
	defer stopTelling()
	err = g.server.Run(ctx)
	stopBeside()
	return errors.Join(err, g.status.close(), g.pid.release())
}

// bound is called when all listeners are open.
func (g *gateway) bound() error {
	var err error
	if g.pid, err = claimPidFile(g.current().Settings.PidFile, g.process.takeover, g.user); err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	return g.user.become(g.process.Setenv)
}

// ready is called when the site can be served. An error leaves a predecessor all it has.
func (g *gateway) ready(addrs []net.Addr) error {
	s, p := g.current(), g.process
	var err error
	if g.status, err = serveStatus(s.Settings.StatusSocket, g.report, p.takeover.replaces()); err != nil {
		return fmt.Errorf("status socket: %w", err)
	}
	if err := g.pid.write(); err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	if err := g.status.appear(); err != nil { // last, as its predecessor cannot have it back
		return fmt.Errorf("status socket: %w", err)
	}
	if p.takeover.replaces() { // what follows may have to wait for somebody who reads it
		g.tellReady()
	}
	status, _ := g.server.Status()
	switch {
	case g.recordsOnly(s):
		g.logs.logger.Info("serving", "version", version(), "environment", s.Settings.Environment, "at", addresses(addrs, status.Listeners))
	case !g.options.quiet:
		banner(p.Stderr, s, addrs, status.Listeners)
	}
	g.manager.ready()
	g.tellReady()
	return p.takeover.detach()
}

// tellReady tells the process that started this one, once.
func (g *gateway) tellReady() {
	g.pid.keep()
	if err := g.process.takeover.tell(""); err != nil {
		g.logs.logger.Warn("the process that started this one does not listen any more", "error", err)
	}
}

// beside is what goes on while the server runs, until ctx ends. end ends its serving.
func (g *gateway) beside(ctx context.Context, end context.CancelCauseFunc) {
	p := g.process
	defer besides(ctx, func(ctx context.Context) { (&reloader{gateway: g}).run(ctx, p.Hangups) })()
	defer besides(ctx, func(ctx context.Context) { g.manager.keepAlive(ctx, func() { g.report() }) })()
	defer besides(ctx, func(ctx context.Context) {
		r := &restarter{
			gateway:  g,
			launcher: &launcher{program: p.program, args: g.args, env: p.environ},
			handOver: func(pid int) {
				g.manager.replaced(pid)
				end(server.ErrHandedOver)
			},
		}
		r.run(ctx, p.Restarts)
	})()
	if g.acme != nil {
		defer besides(ctx, g.manageCertificates)()
	}
	for {
		select {
		case <-p.Reopens:
			g.logs.reopen()
		case <-p.More:
			g.resize(1)
		case <-p.Fewer:
			g.resize(-1)
		case <-ctx.Done():
			return
		}
	}
}

// resize adds n workers to each mount that has some, until the site is another one.
func (g *gateway) resize(n int) {
	workers := g.current().Resize(n)
	for _, name := range slices.Sorted(maps.Keys(workers)) {
		g.logs.logger.Info("workers: another number", "mount", name, "workers", workers[name])
	}
}

// manageCertificates gets certificates until ctx ends.
func (g *gateway) manageCertificates(ctx context.Context) {
	var ports acme.Ports
	status, _ := g.server.Status()
	for _, l := range status.Listeners {
		_, text, err := net.SplitHostPort(l.Address)
		port, notNumber := strconv.Atoi(text)
		switch {
		case err != nil || notNumber != nil: // a Unix socket
		case l.TLS && ports.TLS == 0:
			ports.TLS = port
		case l.Redirect && ports.Redirect == 0:
			ports.Redirect = port
		}
	}
	if err := g.acme.Run(ctx, ports); err != nil {
		g.logs.logger.Error("there will be no certificates", "error", err)
	}
}
