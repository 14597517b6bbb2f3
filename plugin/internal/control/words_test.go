package control

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// expiring is a context whose deadline has come and whose timer never runs.
type expiring struct{ context.Context }

func (expiring) Deadline() (time.Time, bool) { return time.Now(), true }

// gRPC looks at the clock itself, and can see that a deadline has passed before the timer of its context has run.
func TestExpired(t *testing.T) {
	late := fmt.Errorf("its description: %w", Words(status.Error(codes.DeadlineExceeded, "context deadline exceeded")))
	away := fmt.Errorf("its description: %w", Words(status.Error(codes.Unavailable, "EOF")))
	why := errors.New("why it is over")
	lasts := func(d time.Duration) context.Context {
		ctx, cancel := context.WithTimeoutCause(t.Context(), d, why)
		t.Cleanup(cancel)
		return ctx
	}
	over, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	for name, c := range map[string]struct {
		ctx  context.Context
		err  error
		want bool
	}{
		"the deadline is about to be noticed": {lasts(deadlineSlack / 2), late, true},
		"done":                                {over, away, true},
		"a plugin that says it by itself":     {lasts(time.Hour), late, false},
		"another error at the deadline":       {expiring{t.Context()}, away, false},
		"no deadline":                         {t.Context(), late, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Expired(c.ctx, c.err); got != c.want {
				t.Fatalf("%v, want %v", got, c.want)
			}
			if cause := context.Cause(c.ctx); c.want != (cause == why) {
				t.Errorf("the cause is %v", cause)
			}
		})
	}
}
