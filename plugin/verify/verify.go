// Package verify tells the author of a plugin what is wrong with it. It does what a gateway does: it starts the plugin, gives
// it options, sends it scopes of all types, lets clients be slow and leave, and stops it. It knows a plugin as package
// plugin/host does, and nothing of its application.
//
// The files: verify.go has the list of checks and their results, scopes.go the checks of a running plugin.
package verify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/plugin/host"
)

// Result is what one check has found.
type Result struct {
	// Check says what must be so.
	Check string
	// Outcome is OK, Failed, or Skipped where the check does not apply.
	Outcome Outcome
	// Found is what was seen, for people.
	Found string
	// Mend says what to do about a failure.
	Mend string
}

// Outcome is how a check has ended.
type Outcome int

// The outcomes.
const (
	OK Outcome = iota
	Failed
	Skipped
)

// Sign is the outcome as one character.
func (o Outcome) Sign() string { return [...]string{"✓", "✗", "–"}[o] }

// Options say what is verified. Command is required.
type Options struct {
	// Command is the program and its arguments.
	Command []string
	// Protocol is one of host's; ProtocolGRPC by default.
	Protocol string
	// Config has the options for the run in which scopes are sent.
	Config map[string]any
	// Dir is the directory in which the plugin begins; "" is the current one.
	Dir string
	// Env has variables of its environment besides the usual ones.
	Env map[string]string
	// Path is the path that requests ask for; "/" by default.
	Path string
	// Patience is how long each step may take; 5 s by default.
	Patience time.Duration
	// Report, if not nil, gets each result as it is known.
	Report func(Result)
}

// run is one verification.
type run struct {
	opt     Options
	results []Result
	log     *records
	plugin  *host.Plugin // of the current start
	life    *lifespan.Run
}

// Run verifies a plugin and returns the results, in the order of the checks. It ends early where nothing more can be said.
func Run(ctx context.Context, opt Options) []Result {
	if opt.Path == "" {
		opt.Path = "/"
	}
	if opt.Patience == 0 {
		opt.Patience = 5 * time.Second
	}
	r := &run{opt: opt}
	r.all(ctx)
	return r.results
}

// Passed reports whether no check has failed.
func Passed(results []Result) bool {
	for _, r := range results {
		if r.Outcome == Failed {
			return false
		}
	}
	return true
}

func (r *run) add(result Result) bool {
	r.results = append(r.results, result)
	if r.opt.Report != nil {
		r.opt.Report(result)
	}
	return result.Outcome != Failed
}

func (r *run) ok(check, found string, args ...any) bool {
	return r.add(Result{Check: check, Found: fmt.Sprintf(found, args...)})
}

func (r *run) fail(check, mend, found string, args ...any) bool {
	return r.add(Result{Check: check, Outcome: Failed, Found: fmt.Sprintf(found, args...), Mend: mend})
}

func (r *run) skip(check, found string, args ...any) bool {
	return r.add(Result{Check: check, Outcome: Skipped, Found: fmt.Sprintf(found, args...)})
}

// new returns the plugin with options, not started.
func (r *run) new(config map[string]any) *host.Plugin {
	r.log = &records{}
	return &host.Plugin{
		Command: r.opt.Command, Protocol: r.opt.Protocol, Dir: r.opt.Dir, Env: r.opt.Env, Config: config, Name: "/verify",
		StartTimeout: 3 * r.opt.Patience, KillAfter: r.opt.Patience, Logger: slog.New(r.log), LogRate: 1000,
	}
}

func (r *run) all(ctx context.Context) {
	if err := r.new(nil).Check(); err != nil {
		r.fail("the program can be run", "Give the path of a program that may be executed.", "%v", err)
		return
	}
	if r.opt.Protocol != host.ProtocolWire && !r.describes(ctx) {
		return
	}
	r.emptyConfig(ctx)
	r.wrongConfig(ctx)
	if !r.starts(ctx) {
		return
	}
	r.scopes(ctx)
	r.stops(ctx)
	r.stopsAtWork(ctx)
}

func (r *run) describes(ctx context.Context) bool {
	const check = "it greets and describes itself"
	d, err := r.new(nil).Describe(ctx)
	if err != nil {
		return r.fail(check, "Its main function must call plugin.Serve, or greet as a go-plugin of the protocol grpc does, and print nothing before.", "%v", err)
	}
	return r.ok(check, "%s %s, protocol %d to %d, %d options", d.Name, d.Version, d.LeastProtocol, d.MostProtocol, len(d.Options))
}

// emptyConfig checks what the plugin says when it gets no options.
func (r *run) emptyConfig(ctx context.Context) {
	const check = "it takes no options, or names those that are missing"
	if r.opt.Protocol == host.ProtocolWire {
		return // the start says it
	}
	err := r.new(nil).CheckConfig(ctx)
	var refused *host.ConfigError
	switch {
	case err == nil:
		r.ok(check, "it starts without options")
	case errors.As(err, &refused) && strings.HasPrefix(refused.Fields[0], "config."):
		r.ok(check, "%s", refused.Fields[0])
	default:
		r.fail(check, "Configure must answer a missing option by an error with its name in the field.", "%v", err)
	}
}

// unknownOption is one that no plugin has.
const unknownOption = "no_option_has_this_name"

func (r *run) wrongConfig(ctx context.Context) {
	const check = "it refuses an unknown option by its name"
	p := r.new(map[string]any{unknownOption: true})
	var err error
	if r.opt.Protocol == host.ProtocolWire {
		var life *lifespan.Run
		if life, err = r.begin(ctx, p); err == nil {
			r.end(ctx, life)
		}
	} else {
		err = p.CheckConfig(ctx)
	}
	switch {
	case err == nil:
		r.fail(check, "Compare the names of the options that come with those that you know. A misspelt one would go unnoticed.", "it takes %s", unknownOption)
	case !strings.Contains(err.Error(), unknownOption):
		r.fail(check, "Name the option in the error's field.", "%v", err)
	default:
		r.ok(check, "%s", firstLine(err.Error()))
	}
}

// begin starts a plugin.
func (r *run) begin(ctx context.Context, p *host.Plugin) (*lifespan.Run, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*r.opt.Patience)
	defer cancel()
	return lifespan.Start(ctx, p, &pagi.Scope{Type: pagi.TypeLifespan, State: map[string]any{}})
}

func (r *run) end(ctx context.Context, life *lifespan.Run) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, r.opt.Patience)
	defer cancel()
	began := time.Now()
	err := life.Shutdown(ctx)
	return time.Since(began), err
}

func (r *run) starts(ctx context.Context) bool {
	const check = "it starts and its endpoint can be dialled"
	p := r.new(r.opt.Config)
	began := time.Now()
	life, err := r.begin(ctx, p)
	if err != nil {
		mend := "Read what it says. Each endpoint must be a socket that its process listens at, in the directory that Configure names."
		if r.opt.Protocol == host.ProtocolWire {
			mend = "Read what it says. It must dial the socket of its configuration, say HELLO, and then READY."
		}
		return r.fail(check, mend, "%v", err)
	}
	r.plugin, r.life = p, life
	workers := p.Status().Workers
	return r.ok(check, "%d process(es), after %v", len(workers), time.Since(began).Round(time.Millisecond))
}

// stops checks that it ends in time when it has nothing to do.
func (r *run) stops(ctx context.Context) {
	const check = "it stops in time when it is told to"
	took, err := r.end(ctx, r.life)
	trouble := r.log.find("does not stop", "does not exit", "does not shut down", "was killed", "is killed")
	switch {
	case err != nil:
		r.fail(check, "After DRAIN and the last scope it must close its connections, and Stop must return.", "%v", err)
	case trouble != "":
		r.fail(check, "After DRAIN and the last scope it must close its connections, and Stop must return. Then its process must exit.", "%s", trouble)
	case took > r.opt.Patience:
		r.fail(check, "After DRAIN and the last scope it must exit.", "it takes %v", took)
	default:
		r.ok(check, "after %v", took.Round(time.Millisecond))
	}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// records keeps the messages of log records.
type records struct {
	mu   sync.Mutex
	list []string
}

// Enabled implements slog.Handler.
func (l *records) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (l *records) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, text)
	return nil
}

// WithAttrs implements slog.Handler.
func (l *records) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup implements slog.Handler.
func (l *records) WithGroup(string) slog.Handler { return l }

// find returns the first message that holds one of the parts, "" for none.
func (l *records) find(parts ...string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, text := range l.list {
		for _, part := range parts {
			if strings.Contains(text, part) {
				return text
			}
		}
	}
	return ""
}
