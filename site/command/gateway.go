package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/beside"
	"github.com/pagi-go/pagi-bridge/internal/metrics"
	"github.com/pagi-go/pagi-bridge/internal/private"
	"github.com/pagi-go/pagi-bridge/internal/shared"
	"github.com/pagi-go/pagi-bridge/internal/tracing"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/plugin/adapters"
	"github.com/pagi-go/pagi-bridge/server"
	"github.com/pagi-go/pagi-bridge/server/acme"
	"github.com/pagi-go/pagi-bridge/site"
)

// gateway is a site that is served, with its logs, files and signals.
type gateway struct {
	options  *options
	args     []string
	process  Process
	logs     *logs
	server   *server.Server
	manager  manager
	user     *identity      // the one to become; nil: no change
	pid      *pidFile       // nil: none
	status   *privateServer // nil: none
	hub      *privateServer // nil: none
	told     *metricsServer // nil: none
	metrics  *metrics.Registry
	tracer   *tracing.Tracer // nil: no traces are recorded
	shared   *shared.Server
	programs *beside.Set // beside the site
	runtime  runtimeDir
	ending   sync.WaitGroup // of what handOverBeside does
	acme     *acme.Manager  // nil: none
	// adapters keep mounts in other processes. Nil: this program cannot be started as one.
	adapters *adapters.Adapters
	began    time.Time
	asks     chan ask // for the reloader
	drainer  *drainer

	mu   sync.Mutex
	site *site.Site // the one that gets requests
	// besideOpen is the other end of what besideEnd has returned; nil: nothing yet.
	besideOpen *os.File
}

// current returns the site that gets requests.
func (g *gateway) current() *site.Site {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.site
}

func (g *gateway) setCurrent(s *site.Site) {
	g.mu.Lock()
	g.site = s
	g.mu.Unlock()
	g.shared.Resize(s.Settings.Cache.Size)
	g.process.procs.startsPrograms(slices.ContainsFunc(s.All(), func(m *site.Mount) bool { return m.Kind == site.KindCGI }))
}

// serve serves a site until ctx ends, and returns the exit code.
func (g *gateway) serve(ctx context.Context, s *site.Site) (code int) {
	p := g.process
	err := g.setUp(s)
	if err != nil {
		return complain(p, ExitUsage, err)
	}
	defer func() {
		if err := g.logs.close(); err != nil { // this error does not cause another start
			complain(p, code, fmt.Errorf("log: %w", err))
		}
	}()
	if g.tracer, err = tracing.New(&s.Settings.Tracing, tracing.Process{Version: version(), Environment: s.Settings.Environment}, g.logs.logger); err != nil {
		return complain(p, ExitUsage, err)
	}
	defer g.endTracing()
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
	p.beginning.isOver()
	err = g.run(ctx)
	g.endTracing()
	records := g.recordsOnly(s)
	if err != nil && (records || g.logs.file != nil) { // standard error may have no reader
		g.logs.logger.Error("the gateway stops because of an error", "error", err)
	}
	switch {
	case err != nil && records:
		_ = p.takeover.tell(err.Error()) // the waiting process also notices the end of this one
		return ExitFailure
	case err != nil:
		return complain(p, ExitFailure, err, g.options.hints()...)
	}
	if g.records(s) {
		g.logs.logger.Info("stopped", "version", version(), "pid", os.Getpid(), "ran", time.Since(g.began).Round(time.Second).String())
	}
	if !records && !g.options.quiet {
		fmt.Fprintln(p.Stderr, "Stopped.")
	}
	return ExitOK
}

// endTracing sends the spans that wait.
func (g *gateway) endTracing() {
	if err := g.tracer.Close(); err != nil {
		g.logs.logger.Warn(err.Error())
	}
}

// records reports whether the log is separate from the text that a person reads at a terminal. Then
// it also records the start and the end.
func (g *gateway) records(s *site.Site) bool { return g.recordsOnly(s) || g.logs.file != nil }

// recordsOnly reports whether standard error is read by a program that expects only records.
func (g *gateway) recordsOnly(s *site.Site) bool {
	return s.Settings.LogFormat == "json" && g.logs.file == nil
}

// setUp sets up the process, as opposed to the site.
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
	g.logs, err = openLogs(&s.Settings, g.process.Stderr, g.options.quiet, g.user, g.process.Terminal)
	if err != nil {
		return err
	}
	slog.SetDefault(g.logs.logger) // libraries that take no logger must not block either
	g.metrics = metrics.New()
	g.metrics.SetSource(g.report)
	g.shared = shared.New(shared.Options{Publish: site.Publisher(func() pubsub.Broker { return g.current().Broker() }), Logger: g.logs.logger})
	g.programs = beside.New(g.logs.logger)
	g.manager = newManager(g.logs.logger, g.process.LookupEnv)
	g.adapters = g.process.newAdapters(adapters.Options{Logger: g.logs.logger, Inherited: g.process.takeover.adapters()})
	return nil
}

// prepared is a site that can be served.
type prepared struct {
	site   *site.Site
	server *server.Server
	access *accessChange
}

// prepare builds a site and opens its access log. The caller must commit or abort the change of the
// log.
func (g *gateway) prepare(s *site.Site) (*prepared, error) {
	s.Logger, s.Adapters, s.Metrics, s.Shared, s.Tracer = g.logs.logger, g.adapters, g.metrics, g.shared, g.tracer
	s.Runtime = g.runtime.path
	app, err := s.Build()
	if err != nil {
		return nil, err
	}
	access, err := g.logs.changeAccess(s)
	if err != nil {
		return nil, err
	}
	for _, warning := range s.Warnings {
		g.logs.logger.Warn(warning.Error())
	}
	srv := s.Settings.Server()
	srv.MaxBodySize = s.MaxBodySize()
	srv.Observers = s.Observers()
	srv.App, srv.Logger, srv.AccessLog, srv.Development = app, g.logs.logger, access.w, s.Development()
	return &prepared{s, srv, access}, nil
}

// run runs the server and the tasks beside it.
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
		g.programs.Quiet()
		if !errors.Is(context.Cause(ctx), server.ErrHandedOver) {
			g.manager.stopping()
		}
	})
	defer stopTelling()
	err = g.server.Run(ctx)
	if !errors.Is(context.Cause(ctx), server.ErrHandedOver) { // then handOverBeside does it
		g.programs.Stop(0, server.Forced(ctx))
	}
	stopBeside()
	g.ending.Wait()
	g.adapters.Close()
	return errors.Join(err, g.shared.Close(), g.status.close(), g.hub.close(), g.told.close(), g.runtime.remove(), g.pid.release())
}

// bound is called when all listeners are open.
func (g *gateway) bound() error {
	var err error
	if g.pid, err = claimPidFile(g.current().Settings.PidFile, g.process.takeover, g.user); err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	if err := g.makeForUser(); err != nil {
		return err
	}
	if err := g.user.become(g.process.Setenv); err != nil {
		return err
	}
	g.sweep() // before a directory is made, which sweeps without a word
	if err := g.shared.Listen(); err != nil {
		return fmt.Errorf("the socket of shared values: %w", err)
	}
	g.programs.Apply(g.current().Besides())
	g.programs.Start(g.process.takeover.ended())
	g.warn()
	return nil
}

// makeForUser makes the directories that the user could not make.
func (g *gateway) makeForUser() error {
	s := &g.current().Settings
	if s.StatusSocket != "" {
		if err := g.user.makeForUser(filepath.Dir(s.StatusSocket)); err != nil {
			return fmt.Errorf("status socket: %w", err)
		}
	}
	if path := s.MetricsSocket(); path != "" {
		if err := g.user.makeForUser(filepath.Dir(path)); err != nil {
			return fmt.Errorf("metrics_listen: %w", err)
		}
	}
	if s.Hub != "" {
		if err := g.user.makeForUser(filepath.Dir(s.Hub)); err != nil {
			return fmt.Errorf("hub: %w", err)
		}
	}
	if s.TLS.HasACME() {
		if err := g.user.makeForUser(s.TLS.ACME.Storage); err != nil {
			return fmt.Errorf("tls.acme.storage: %w", err)
		}
	}
	return nil
}

// warn logs the paths that this process's user cannot use. It also warns if that user is root
// without need.
func (g *gateway) warn() {
	s := g.current()
	for _, text := range unusableApart(s) {
		g.logs.logger.Warn(text)
	}
	switch {
	case g.user != nil:
		for _, text := range unusable(s, g.user.String()) {
			g.logs.logger.Warn(text)
		}
	case os.Geteuid() == 0 && !s.RunsAsOthers() && !s.HasUsersApart():
		g.logs.logger.Warn("everything runs as root, applications and scripts included: set the option user to another one, or isolate.user for applications and scripts")
	}
}

// sweep removes the directories that killed gateways of this user have left behind.
func (g *gateway) sweep() {
	removed, err := private.Sweep()
	if len(removed) > 0 {
		g.logs.logger.Info("removed the directories of a gateway that was killed", "directories", removed)
	}
	if err != nil {
		g.logs.logger.Warn("cannot remove the directories of a gateway that was killed", "error", err)
	}
}

// ready is called when the site can be served. After an error a predecessor still has everything it
// needs to go on.
func (g *gateway) ready(addrs []net.Addr) error {
	s, p := g.current(), g.process
	var err error
	if g.status, err = servePrivate(s.Settings.StatusSocket, "", g.control(), p.takeover.replaces()); err != nil {
		return fmt.Errorf("status socket: %w", err)
	}
	if g.hub, err = servePrivate(s.Settings.Hub, "h", hubHandler(func() pubsub.Broker { return g.current().Broker() }), p.takeover.replaces()); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	if g.told, err = g.serveMetrics(p.takeover.replaces()); err != nil {
		return fmt.Errorf("metrics_listen: %w", err)
	}
	if err := g.pid.write(); err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	if err := errors.Join(g.hub.appear(), g.told.appear(), g.status.appear()); err != nil { // the last step, because a predecessor cannot get the sockets back
		return fmt.Errorf("private sockets: %w", err)
	}
	if p.takeover.replaces() { // the writes below may wait for a reader
		g.tellReady()
	}
	status, _ := g.server.Status()
	if g.records(s) {
		g.logs.logger.Info("serving", "version", version(), "pid", os.Getpid(), "environment", s.Settings.Environment,
			"at", addresses(addrs, status.Listeners))
		if g.tracer != nil {
			g.logs.logger.Info("requests are traced", "collector", g.tracer.Endpoint(), "recorded", g.tracer.Share())
		}
	}
	if !g.recordsOnly(s) && !g.options.quiet {
		banner(p.Stderr, s, g.options.guess, addrs, status.Listeners)
	}
	if p.errors != nil { // the process that started this one may read it once it is told
		p.errors.Flush(logPatience)
	}
	g.manager.ready()
	g.tellReady()
	return p.takeover.detach()
}

// tellReady tells the process that started this one, once.
func (g *gateway) tellReady() {
	g.pid.keep()
	if err := g.process.takeover.tell(""); err != nil {
		g.logs.logger.Warn("cannot report to the process that started this one", "error", err)
	}
}

// beside runs the tasks beside the server until ctx ends. end stops the server.
func (g *gateway) beside(ctx context.Context, end context.CancelCauseFunc) {
	p := g.process
	defer besides(ctx, func(ctx context.Context) { (&reloader{gateway: g}).run(ctx, p.Hangups) })()
	defer besides(ctx, func(ctx context.Context) { g.manager.keepAlive(ctx, func() { g.report() }) })()
	defer besides(ctx, func(ctx context.Context) {
		r := &restarter{
			gateway:  g,
			launcher: &launcher{program: p.program, args: g.args, env: p.environ},
			handOver: func(pid int) {
				g.handOverBeside(ctx)
				g.adapters.HandOver()
				g.manager.replaced(pid)
				end(server.ErrHandedOver)
			},
		}
		r.run(ctx, p.Restarts)
	})()
	defer besides(ctx, func(ctx context.Context) { g.drain(ctx, end) })()
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

// resize adds n workers to each mount with workers. The change lasts until the site is replaced.
func (g *gateway) resize(n int) {
	workers := g.current().Resize(n)
	for _, name := range slices.Sorted(maps.Keys(workers)) {
		g.logs.logger.Info("the number of workers has changed", "mount", name, "workers", workers[name])
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
		g.logs.logger.Error("no certificates can be fetched by ACME", "error", err)
	}
}
