package psgi

import (
	"context"
	"log/slog"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/internal/spans"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// askTraced has a worker answer a request whose trace is recorded: with a span for the wait, and one for the worker's work.
func (a *app) askTraced(ctx context.Context, t pagi.Trace, r *job, scope *pagi.Scope, send pagi.Send) (err error) {
	asked := time.Now()
	work := t.Start("psgi", asked)
	r.encode(scope.Below(work), &a.names)
	r.pool.Turn = &pool.Turn{}
	answer, err := a.pool.Do(&r.pool)
	if err != nil {
		err = a.refusal(err)
		spans.Wait(t, asked, time.Now(), err)
		return err
	}
	defer answer.Close()
	err = a.relay(ctx, answer, scope, send)
	turn := answer.Turn()
	if turn.Given.IsZero() {
		spans.Wait(t, asked, time.Now(), err)
		return err
	}
	spans.Wait(t, asked, turn.Given, nil)
	work.Begin(turn.Given)
	work.Set(slog.String(spans.Mount, a.opt.Name), slog.Int(spans.Worker, turn.Worker), slog.Int(spans.PID, turn.PID))
	if turn.Done.IsZero() {
		turn.Done = time.Now()
	}
	work.End(turn.Done, err)
	return err
}
