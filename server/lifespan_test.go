package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
)

// lived makes an application with a lifespan of its own.
func lived(lifespan func(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if s.Type == pagi.TypeLifespan {
			return lifespan(ctx, s, receive, send)
		}
		return reply(ctx, send, fmt.Sprint(s.State["greeting"], len(s.State)))
	})
}

func TestLifespan(t *testing.T) {
	var order []string
	x := launch(t, &Server{App: lived(func(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		return lifespan.Serve(ctx, receive, send, func(context.Context) error {
			s.State["greeting"] = "hello"
			order = append(order, "startup")
			return nil
		}, func(context.Context) error {
			order = append(order, "shutdown")
			return nil
		})
	})})
	if _, body := x.request(ask).Response("GET"); body != "hello1" {
		t.Errorf("state %q", body)
	}
	if err := x.stop(); err != nil {
		t.Error(err)
	}
	if got := strings.Join(order, " "); got != "startup shutdown" {
		t.Errorf("order %s", got)
	}
}

func TestLifespanOutcomes(t *testing.T) {
	type lifespanFunc = func(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error
	var decline lifespanFunc = func(_ context.Context, s *pagi.Scope, _ pagi.Receive, _ pagi.Send) error { return pagi.Unsupported(s) }
	var refuse lifespanFunc = func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { return errors.New("what is that?") }
	var silent lifespanFunc = func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { return nil }
	var stuck lifespanFunc = func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, _ pagi.Send) error { <-ctx.Done(); return nil }
	var fail lifespanFunc = func(ctx context.Context, _ *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		return lifespan.Serve(ctx, receive, send, func(context.Context) error { return errors.New("no database") }, nil)
	}
	var crash lifespanFunc = func(ctx context.Context, _ *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		receive(ctx)
		send(ctx, pagi.LifespanStartupComplete{})
		return errors.New("crashed later")
	}
	var failStop lifespanFunc = func(ctx context.Context, _ *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		return lifespan.Serve(ctx, receive, send, nil, func(context.Context) error { return errors.New("cannot close") })
	}
	var stuckStop lifespanFunc = func(ctx context.Context, _ *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		return lifespan.Serve(ctx, receive, send, nil, func(ctx context.Context) error { <-ctx.Done(); return nil })
	}
	for _, tt := range []struct {
		name     string
		app      lifespanFunc
		mode     LifespanMode
		startErr string // "": it serves
		log      []string
		stopErr  string
	}{
		{"declined", decline, LifespanAuto, "", []string{"DEBUG", "declined lifespan"}, ""},
		{"declined by another error", refuse, LifespanAuto, "", []string{"INFO", "declined lifespan", "what is that"}, ""},
		{"declined by return", silent, "", "", []string{"INFO", "without answering"}, ""},
		{"declined though it must not", decline, LifespanOn, "declined it", nil, ""},
		{"declined by return though it must not", silent, LifespanOn, "returned without answering", nil, ""},
		{"off", stuck, LifespanOff, "", nil, ""},
		{"failed", fail, LifespanAuto, "no database", nil, ""},
		{"not in time", stuck, LifespanAuto, "lifespan startup timeout of 30ms", nil, ""},
		{"error after startup", crash, LifespanOn, "", []string{"ERROR", "crashed later"}, ""},
		{"shutdown failed", failStop, LifespanOn, "", nil, "cannot close"},
		{"shutdown not in time", stuckStop, LifespanOn, "", nil, "shutdown timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &Server{App: lived(tt.app), Lifespan: tt.mode, Timeouts: Timeouts{LifespanStartupTimeout: 30 * time.Millisecond, ShutdownTimeout: 30 * time.Millisecond}}
			if tt.startErr != "" {
				prepare(t, s)
				err := s.Run(t.Context())
				if err == nil || !strings.Contains(err.Error(), tt.startErr) {
					t.Errorf("error %v", err)
				}
				var failed *lifespan.Error
				if tt.name == "failed" && !errors.As(err, &failed) {
					t.Errorf("error %v is no LifespanError", err)
				}
				return
			}
			x := launch(t, s)
			if tt.log != nil {
				x.log.WaitFor(t, tt.log...)
			}
			if res, _ := x.request(ask).Response("GET"); res.StatusCode != 200 {
				t.Errorf("response %v", res)
			}
			if err := x.stop(); tt.stopErr == "" && err != nil || tt.stopErr != "" && (err == nil || !strings.Contains(err.Error(), tt.stopErr)) {
				t.Errorf("stop: %v", err)
			}
		})
	}
}
