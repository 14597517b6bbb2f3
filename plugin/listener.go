package plugin

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/plugin/internal/endpoint"
	"github.com/pagi-go/pagi-bridge/plugin/internal/pluginpb"
)

// listener is an endpoint: a socket at which gateways get one application.
//
//	serving --withdraw--> withdrawn --its last connection has ended--> ended
type listener struct {
	adapter    *adapter
	mount      *mount
	app        pagi.App
	number     int
	generation int
	since      time.Time
	endpoint   *endpoint.Endpoint

	ctx    context.Context // of all scopes
	cancel context.CancelFunc
	once   sync.Once
	done   chan struct{} // closed when it has ended
	begun  chan error    // capacity 1: whether the application has started up, for the first gateway

	served   atomic.Int64
	inflight atomic.Int64
}

// listenLocked makes an endpoint and puts it on the board.
func (a *adapter) listenLocked(m *mount, app pagi.App) (*listener, error) {
	a.sockets++
	e, err := endpoint.Listen(filepath.Join(a.directory, "s"+strconv.Itoa(a.sockets)), m.log)
	if err != nil {
		return nil, err
	}
	l := &listener{
		adapter: a, mount: m, app: app, number: a.sockets, generation: m.generation, since: time.Now(), endpoint: e,
		done: make(chan struct{}), begun: make(chan error, 1),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.tell(pluginpb.EndpointState_ENDPOINT_STATE_SERVING, "")
	go l.serve()
	return l, nil
}

// tell puts the state of the endpoint on the board.
func (l *listener) tell(state pluginpb.EndpointState, exit string) {
	l.adapter.server.Board.Put(&pluginpb.Endpoint{
		Mount: l.mount.id, Id: strconv.Itoa(l.number), Generation: uint32(l.generation), Pid: uint32(os.Getpid()),
		Network: "unix", Address: l.endpoint.Address(), Token: l.endpoint.Token(), Kind: pluginpb.EndpointKind_ENDPOINT_KIND_SCOPES,
		State: state, Exit: exit,
	})
}

// serve serves gateways until the listener is withdrawn, and their connections have ended.
func (l *listener) serve() {
	defer close(l.done)
	l.endpoint.Serve(l.ctx, counting{l}, wire.Offer{
		Features: wire.FeatureScopes | wire.FeaturePing | wire.FeatureDescriptors,
		Runtime:  "go", RuntimeVersion: l.adapter.version,
	})
	l.cancel()
	l.tell(pluginpb.EndpointState_ENDPOINT_STATE_ENDED, "it has finished")
	l.adapter.ended(l.mount, l)
}

// withdraw takes no more connections. Those that there are end by the gateway.
func (l *listener) withdraw() {
	l.once.Do(func() {
		l.tell(pluginpb.EndpointState_ENDPOINT_STATE_WITHDRAWN, "")
		l.endpoint.Withdraw()
	})
}

// stop waits for the end of a withdrawn listener. At the end of ctx its scopes end.
func (l *listener) stop(ctx context.Context) {
	select {
	case <-l.done:
		return
	case <-ctx.Done():
	}
	l.cancel()
	late := time.NewTimer(time.Second) // for applications that do not look at their context
	defer late.Stop()
	select {
	case <-l.done:
	case <-late.C:
	}
}

func (l *listener) counts() (served, inflight int) {
	return int(l.served.Load()), int(l.inflight.Load())
}

// counting is a listener's application, whose scopes are counted.
type counting struct{ listener *listener }

// Serve implements pagi.App.
func (c counting) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	l := c.listener
	if scope.Type == pagi.TypeLifespan {
		return c.lifespan(ctx, scope, receive, send)
	}
	l.inflight.Add(1)
	defer func() {
		l.inflight.Add(-1)
		l.served.Add(1)
	}()
	return l.app.Serve(ctx, scope, receive, send)
}

// lifespan passes the lifespan scope on, and notes how the startup ends. An application that declines the scope has
// started.
func (c counting) lifespan(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	l := c.listener
	begun := func(err error) {
		select {
		case l.begun <- err:
		default:
		}
	}
	err := l.app.Serve(ctx, scope, receive, func(ctx context.Context, ev pagi.Event) error {
		err := send(ctx, ev)
		switch e := ev.(type) {
		case pagi.LifespanStartupComplete:
			begun(err)
		case pagi.LifespanStartupFailed:
			begun(errors.New("startup failed: " + e.Message))
		}
		return err
	})
	begun(nil)
	return err
}
