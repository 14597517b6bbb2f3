package middleware

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/pagi-go/pagi-bridge/internal/lint"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Lint checks the application inside it, or a middleware, against the PAGI specification 0.3: every
// event that it sends, their order, body lengths, the case of header names, and that it leaves the
// scope alone and returns when it is done. It also checks the scope that it is given.
//
// Otherwise it changes nothing. In the environment development the server checks the events of every
// application by itself.
type Lint struct {
	// Disabled turns the checks off.
	Disabled bool `yaml:"disabled"`
	// Strict makes a violation a failure: the event is not sent, Send returns a *Violation, and so does
	// Serve, even if the application overlooks it.
	Strict bool `yaml:"strict"`
	// OnWarning is told of each violation instead of the log.
	OnWarning func(*Violation) `yaml:"-"`
	// Logger gets a record of each violation at level warn; nil means slog.Default.
	Logger *slog.Logger `yaml:"-"`
}

// Violation is a rule that an application breaks: its id, its place in the specification, and an
// error that says what is wrong.
type Violation = lint.Violation

func init() { parts.Middleware[Lint]("lint") }

// Check reports nothing: all options are right.
func (m Lint) Check() error { return nil }

// Wrap puts m around next.
func (m Lint) Wrap(next pagi.App) pagi.App {
	if m.Disabled {
		return next
	}
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		l := &linted{m: &m, ctx: ctx, scope: scope, Checker: lint.New(scope)}
		l.Lenient = !m.Strict
		if err := l.report(l.Scope()); err != nil {
			return err
		}
		err := next.Serve(ctx, scope, l.receive(receive), l.send(send))
		return l.returned(err)
	})
}

// linted is one call of the application.
type linted struct {
	*lint.Checker
	m     *Lint
	ctx   context.Context
	scope *pagi.Scope

	mu    sync.Mutex
	first error // the first violation, if Strict
}

// report tells of a violation, and returns it with Strict.
func (l *linted) report(v *Violation) error {
	if v == nil {
		return nil
	}
	if l.m.OnWarning != nil {
		l.m.OnWarning(v)
	} else if !l.m.Strict {
		args := []any{"rule", v.Rule, "section", v.Section, "problem", v.Err, "method", l.scope.Method, "path", l.scope.RootPath + l.scope.Path}
		args = l.scope.Notes.Append(args)
		logger(l.m.Logger).WarnContext(l.ctx, "the application breaks a rule of PAGI", args...)
	}
	if !l.m.Strict {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == nil {
		l.first = v
	}
	return v
}

func (l *linted) send(send pagi.Send) pagi.Send {
	return func(ctx context.Context, ev pagi.Event) error {
		if err := l.report(l.Send(ev)); err != nil {
			return err
		}
		return send(ctx, ev)
	}
}

func (l *linted) receive(receive pagi.Receive) pagi.Receive {
	return func(ctx context.Context) (pagi.Event, error) {
		if v := l.Receive(); v != nil {
			if err := l.report(v); err != nil {
				return nil, err
			}
			return receive(ctx)
		}
		defer l.Received()
		return receive(ctx)
	}
}

// returned returns the application's own error, if it has one, with the violation that may be its
// cause.
func (l *linted) returned(err error) error {
	found := l.report(l.Returned(err, l.ctx.Err() != nil))
	l.mu.Lock()
	first := l.first
	l.mu.Unlock()
	if first == nil {
		first = found
	}
	switch {
	case first == nil || errors.Is(err, first):
		return err
	case err == nil:
		return first
	}
	return fmt.Errorf("%w; before that, %v", err, first)
}
