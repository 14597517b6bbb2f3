package adapters

import (
	"context"
	"encoding/json"
	"fmt"

	"google.golang.org/grpc"

	"github.com/pagi-go/pagi-bridge/bridge/lease"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/plugin/internal/adapterpb"
	"github.com/pagi-go/pagi-bridge/plugin/internal/control"
)

// remote is the lease.Control of a mount at an adapter.
type remote struct {
	rpc   adapterpb.AdapterClient
	mount string
	audit func() *audit // makes one for an attachment
	// lost is called when a stream of changes has ended without the gateway's will.
	lost func()
}

var _ lease.Control = (*remote)(nil)

// Attach implements lease.Control.
func (r *remote) Attach(ctx context.Context, gateway string) (lease.Stream, error) {
	stream, err := r.rpc.Attach(ctx, &adapterpb.AttachRequest{Gateway: gateway, Mount: r.mount})
	if err == nil {
		_, err = stream.Recv() // the gateway is attached
	}
	if err != nil {
		return nil, control.Words(err)
	}
	return &changes{ctx: ctx, stream: stream, audit: r.audit(), lost: r.lost}, nil
}

// changes is a lease.Stream over gRPC.
type changes struct {
	ctx    context.Context
	stream grpc.ServerStreamingClient[adapterpb.AttachResponse]
	audit  *audit
	lost   func()
}

// Next implements lease.Stream.
func (c *changes) Next() (next lease.Changes, err error) {
	m, err := c.stream.Recv()
	if err == nil {
		if err = json.Unmarshal(m.Changes, &next); err != nil {
			err = fmt.Errorf("what the adapter tells: %w", err)
		}
		c.audit.pass(&next)
	}
	if err != nil && c.ctx.Err() == nil {
		c.lost()
	}
	return next, control.Words(err)
}

// ask carries a call of lease.Control.
func ask[R any](ctx context.Context, r *remote, call string, argument any) (result R, err error) {
	text, err := json.Marshal(argument)
	if err != nil {
		return result, err
	}
	m, err := r.rpc.Ask(ctx, &adapterpb.AskRequest{Mount: r.mount, Call: call, Argument: text})
	if err != nil {
		return result, control.Words(err)
	}
	if err := json.Unmarshal(m.Result, &result); err != nil {
		return result, fmt.Errorf("what the adapter answers to %s: %w", call, err)
	}
	return result, nil
}

// none is the argument or the result of a call that has none.
type none struct{}

// Report implements lease.Control.
func (r *remote) Report(ctx context.Context, report lease.Report) error {
	_, err := ask[none](ctx, r, "report", report)
	return err
}

// Release implements lease.Control.
func (r *remote) Release(ctx context.Context, release lease.Release) (lease.Released, error) {
	return ask[lease.Released](ctx, r, "release", release)
}

// Kill implements lease.Control.
func (r *remote) Kill(ctx context.Context, kill lease.Kill) (lease.Killed, error) {
	return ask[lease.Killed](ctx, r, "kill", kill)
}

// Weigh implements lease.Control.
func (r *remote) Weigh(ctx context.Context, weigh lease.Weigh) error {
	_, err := ask[none](ctx, r, "weigh", weigh)
	return err
}

// Reload implements lease.Control.
func (r *remote) Reload(ctx context.Context) (lease.Reloaded, error) {
	return ask[lease.Reloaded](ctx, r, "reload", none{})
}

// Resize implements lease.Control.
func (r *remote) Resize(ctx context.Context, resize lease.Resize) (lease.Resized, error) {
	return ask[lease.Resized](ctx, r, "resize", resize)
}

// Status implements lease.Control.
func (r *remote) Status(ctx context.Context) (worker.Status, error) {
	return ask[worker.Status](ctx, r, "status", none{})
}
