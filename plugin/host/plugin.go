// Package host is the gateway's side of plugins: a mount whose application is a program of somebody else's. It starts the
// program, has it checked and configured, sends it scopes over the wire, and starts it anew when it has died. Whatever a
// plugin does, the rest of the site goes on: requests to its mount are answered 503 until it serves again.
//
// There are two kinds of plugins. With the protocol "grpc" the program is a plugin of hashicorp/go-plugin with the service
// of plugin/proto/plugin.proto: it tells its options, and names the sockets to dial. With "wire" it is a worker of
// bridge/wire/PROTOCOL.md that dials the gateway, for languages without gRPC.
//
// The files: plugin.go has the options and the application; external.go keeps a plugin of the first kind running,
// instance.go is one life of its process and session.go what is said on its control plane, endpoint.go a socket that it
// has named; process.go runs the program; wire.go is the second kind; limiter.go keeps floods out of the log; program.go
// checks files and builds the environment.
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/mux"
	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/spans"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
)

func init() { parts.App[Plugin]("plugin", "command") }

// The protocols of plugins.
const (
	ProtocolGRPC = "grpc"
	ProtocolWire = "wire"
)

// Plugin is a mount that a plugin serves. Command is required. A Plugin must not be copied once it is used.
type Plugin struct {
	// Command is the program and its arguments. A name with a slash is a file, relative to Dir; another one is looked up
	// in PATH.
	Command []string `yaml:"command"`
	// Protocol is how the program talks to the gateway: "grpc" (the default), for a plugin of hashicorp/go-plugin, or
	// "wire", for a worker that dials the gateway as bridge/wire/PROTOCOL.md says.
	Protocol string `yaml:"protocol" default:"grpc"`
	// Config has the plugin's own options. The plugin checks them when it starts.
	Config map[string]any `yaml:"config"`
	// Checksum is "sha256:" and the SHA-256 of the program's file in hexadecimal. A program with another one is not
	// started. The file must be one that others cannot write.
	Checksum string `yaml:"checksum"`
	// Env has variables of its environment besides PATH, LANG, LC_*, TZ, HOME and TMPDIR. It gets no others.
	Env map[string]string `yaml:"env"`
	// Dir is the directory it begins in; in a site file that of the site file by default.
	Dir string `yaml:"dir" path:"yes"`
	// Workers is the number of processes, for the protocol "wire" only; 1 by default.
	Workers int `yaml:"workers"`
	// MaxRequests is how many scopes a worker of the protocol "wire" serves before another one takes its place; 0 means
	// no limit.
	MaxRequests int `yaml:"max_requests"`
	// MaxRSS is how many bytes of memory a worker of the protocol "wire" may have before another one takes its place; 0
	// means no limit.
	MaxRSS int64 `yaml:"max_rss" unit:"bytes"`
	// StartTimeout is how long it may take from its start until it serves; 30 s by default.
	StartTimeout time.Duration `yaml:"start_timeout" default:"30s"`
	// KillAfter is the time between TERM and KILL when it is ended; 5 s by default.
	KillAfter time.Duration `yaml:"kill_after" default:"5s"`
	// LogRate is how many records it may write to the log per second, 100 by default. Those beyond are counted. Less than
	// 0 means no limit.
	LogRate int `yaml:"log_rate" default:"100" negative:"yes"`

	// Name is the mount's name in the log.
	Name string `yaml:"-"`
	// Environment is development, deployment or production.
	Environment string `yaml:"-"`
	// Where returns the place of an option of Config in a site file, as the beginning of a message; nil: it has none.
	Where func(option string) string `yaml:"-"`
	// Logger gets all records; nil means slog.Default.
	Logger *slog.Logger `yaml:"-"`

	running atomic.Pointer[backend]
}

// backend is what serves a mount: a plugin of either kind.
type backend interface {
	start(ctx context.Context) error
	stop(ctx context.Context) error
	reload(ctx context.Context) error
	// serve calls chosen, unless it is nil, when a process gets the scope: with its number among the workers, and its pid.
	serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send, chosen func(worker, pid int)) error
	// absence says why no scope can be served, and when to try again.
	absence() (why string, retry time.Duration)
	status() status.Backend
}

// Check implements pagi.Checker. It starts nothing.
func (p *Plugin) Check() error {
	var errs []error
	bad := func(name, format string, args ...any) { errs = append(errs, pagi.BadOption(name, format, args...)) }
	if _, err := p.program(); err != nil {
		bad("command", "%w", err)
	}
	wire := p.Protocol == ProtocolWire
	if p.Protocol != "" && p.Protocol != ProtocolGRPC && !wire {
		bad("protocol", "must be %q or %q, is %q", ProtocolGRPC, ProtocolWire, p.Protocol)
	}
	if !wire {
		for name, given := range map[string]bool{"workers": p.Workers != 0, "max_requests": p.MaxRequests != 0, "max_rss": p.MaxRSS != 0} {
			if given {
				bad(name, "belongs to the protocol %q; a plugin of %q has one process", ProtocolWire, ProtocolGRPC)
			}
		}
	}
	if _, err := checksumOf(p.Checksum); err != nil {
		bad("checksum", "%w", err)
	}
	if _, err := p.configJSON(); err != nil {
		bad("config", "%w", err)
	}
	for name, value := range p.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			bad("env", "%q cannot be a variable", name)
		}
	}
	return errors.Join(append(errs, option.CheckSigns(p))...)
}

// Serve implements pagi.App. The lifespan scope starts the plugin.
func (p *Plugin) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type == pagi.TypeLifespan {
		return lifespan.Serve(ctx, receive, send, p.start, p.stop)
	}
	b := p.backend()
	if b == nil {
		return p.refusal("it is not started", time.Second)
	}
	if t := scope.Trace(); t != nil {
		return p.serveTraced(ctx, t, b, scope, receive, send)
	}
	return p.outcome(b, b.serve(ctx, scope, receive, send, nil))
}

// serveTraced serves a scope whose trace is recorded, with a span for the plugin's work.
func (p *Plugin) serveTraced(ctx context.Context, t pagi.Trace, b backend, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	work := t.Start("plugin", time.Now())
	work.Set(slog.String(spans.Mount, p.Name))
	err := p.outcome(b, b.serve(ctx, scope.Below(work), receive, send, func(worker, pid int) {
		work.Set(slog.Int(spans.Worker, worker), slog.Int(spans.PID, pid))
	}))
	work.End(time.Now(), err)
	return err
}

// outcome returns the error of a scope that a backend has served, in the form for clients.
func (p *Plugin) outcome(b backend, err error) error {
	var ended *mux.EndError
	switch {
	case err == nil, errors.As(err, &ended):
		return err
	case errors.Is(err, mux.ErrBusy):
		return p.refusal(b.absence())
	case errors.Is(err, mux.ErrClosed), errors.Is(err, mux.ErrProtocol), errors.Is(err, mux.ErrBlocked):
		return &pagi.StatusError{Status: 502, Message: "Bad Gateway", Err: fmt.Errorf("plugin: %w", err)}
	}
	return err
}

// refusal answers a scope that no plugin can serve now.
func (p *Plugin) refusal(why string, retry time.Duration) error {
	seconds := max(1, int((retry+time.Second-1)/time.Second))
	return &pagi.StatusError{
		Status: 503, Message: "Service Unavailable", Headers: pagi.NewHeaders("retry-after", strconv.Itoa(seconds)),
		Err: fmt.Errorf("plugin: %s", why),
	}
}

func (p *Plugin) backend() backend {
	if b := p.running.Load(); b != nil {
		return *b
	}
	return nil
}

func (p *Plugin) start(ctx context.Context) error {
	if p.Logger == nil {
		p.Logger = slog.Default()
	}
	option.SetDefaults(p)
	var b backend
	if p.Protocol == ProtocolWire {
		b = newWire(p)
	} else {
		b = newExternal(p)
	}
	if p.Checksum == "" && p.Environment == "production" {
		p.Logger.Warn("the plugin has no checksum, so any program at its path is started", "mount", p.Name, "command", p.Command[0])
	}
	if err := b.start(ctx); err != nil {
		return fmt.Errorf("plugin: %w", err)
	}
	p.running.Store(&b)
	return nil
}

func (p *Plugin) stop(ctx context.Context) error {
	if b := p.backend(); b != nil {
		return b.stop(ctx)
	}
	return nil
}

// Reload has the plugin load its application anew. A plugin whose program has changed, or that cannot reload, is replaced
// by a new process, and ends once it has no scopes.
func (p *Plugin) Reload(ctx context.Context) error {
	b := p.backend()
	if b == nil {
		return errors.New("the plugin is not started")
	}
	return b.reload(ctx)
}

// Status tells of the plugin's processes.
func (p *Plugin) Status() status.Backend {
	if b := p.backend(); b != nil {
		return b.status()
	}
	return status.Backend{Circuit: "open"}
}
