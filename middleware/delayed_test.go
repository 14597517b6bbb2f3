package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func ExampleDelayed() {
	app := middleware.Delayed{Delay: 50 * time.Millisecond}.Wrap(hello)
	begun := time.Now()
	res := pagitest.New(app).Get("/")
	fmt.Println(res.Text(), time.Since(begun) >= 50*time.Millisecond)
	// Output: hello true
}

func TestDelayed(t *testing.T) {
	refused := errors.New("not today")
	waits := func(d time.Duration, result error) func(context.Context, *pagi.Scope) error {
		return func(ctx context.Context, _ *pagi.Scope) error {
			select {
			case <-time.After(d):
				return result
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	for name, tc := range map[string]struct {
		m      middleware.Delayed
		leaves time.Duration // of the client; 0: it stays
		took   time.Duration
		status int   // of the error
		err    error // "": none
	}{
		"no delay":                     {middleware.Delayed{}, 0, 0, 0, nil},
		"a delay":                      {middleware.Delayed{Delay: time.Second}, 0, time.Second, 0, nil},
		"a function":                   {middleware.Delayed{Wait: waits(time.Minute, nil)}, 0, time.Minute, 0, nil},
		"both":                         {middleware.Delayed{Delay: time.Second, Wait: waits(time.Minute, nil), Timeout: time.Hour}, 0, 61 * time.Second, 0, nil},
		"a function that fails":        {middleware.Delayed{Wait: waits(time.Second, refused)}, 0, time.Second, 0, refused},
		"a function that takes long":   {middleware.Delayed{Wait: waits(time.Hour, nil), Timeout: time.Minute}, 0, time.Minute, 504, context.DeadlineExceeded},
		"a client that leaves":         {middleware.Delayed{Delay: time.Minute}, time.Second, time.Second, 0, context.Canceled},
		"a client that leaves in Wait": {middleware.Delayed{Wait: waits(time.Hour, nil), Timeout: time.Minute}, time.Second, time.Second, 0, context.Canceled},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tc.leaves > 0 {
				time.AfterFunc(tc.leaves, cancel)
			}
			reached := false
			app := pagi.AppFunc(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { reached = true; return nil })
			begun := time.Now()
			err := tc.m.Wrap(app).Serve(ctx, &pagi.Scope{Type: pagi.TypeHTTP}, nil, nil)
			var asked *pagi.StatusError
			status := 0
			if errors.As(err, &asked) {
				status = asked.Status
			}
			if took := time.Since(begun); !errors.Is(err, tc.err) || reached != (tc.err == nil) || status != tc.status || took != tc.took {
				t.Errorf("%s: %v after %v, reached %v", name, err, took, reached)
			}
		})
	}
	checkFails(t, middleware.Delayed{Delay: -1}, "delay: must not be negative, is -1ns")
	checkFails(t, middleware.Delayed{Timeout: -1}, "timeout: must not be negative, is -1ns")
}
