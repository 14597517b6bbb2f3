package plugin

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/mux"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/accept"
	"github.com/pagi-go/pagi-bridge/internal/proc"
	"github.com/pagi-go/pagi-bridge/pagi"
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
	log        *slog.Logger
	socket     *net.UnixListener
	token      string

	ctx    context.Context // of all scopes
	cancel context.CancelFunc
	once   sync.Once
	quit   chan struct{} // closed by withdraw
	done   chan struct{} // closed when it has ended
	begun  chan error    // capacity 1: whether the application has started up, for the first gateway

	served   atomic.Int64
	inflight atomic.Int64
}

// listenLocked makes an endpoint and puts it on the board.
func (a *adapter) listenLocked(m *mount, app pagi.App) (*listener, error) {
	a.sockets++
	path := filepath.Join(a.directory, "s"+strconv.Itoa(a.sockets))
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	l := &listener{
		adapter: a, mount: m, app: app, number: a.sockets, generation: m.generation, since: time.Now(), log: m.log, socket: socket, token: rand.Text(),
		quit: make(chan struct{}), done: make(chan struct{}), begun: make(chan error, 1),
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
		Network: "unix", Address: l.socket.Addr().String(), Token: l.token, Kind: pluginpb.EndpointKind_ENDPOINT_KIND_SCOPES,
		State: state, Exit: exit,
	})
}

// serve takes connections until the listener is withdrawn, and then waits for their ends.
func (l *listener) serve() {
	defer close(l.done)
	var serving sync.WaitGroup
	for {
		conn, err := accept.Connection(l.socket.AcceptUnix, l.quit, l.log, l.socket.Addr())
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				l.log.Error("no gateway can connect any more", "error", err)
			}
			break
		}
		serving.Go(func() {
			if err := l.connection(conn); err != nil {
				l.log.Warn("a connection of the gateway has failed", "error", err)
			}
		})
	}
	serving.Wait()
	l.cancel()
	l.tell(pluginpb.EndpointState_ENDPOINT_STATE_ENDED, "it has finished")
	l.adapter.ended(l.mount, l)
}

// connection serves one gateway.
func (l *listener) connection(conn *net.UnixConn) error {
	defer func() { _ = conn.Close() }() // the worker has closed it already, unless the greeting has failed
	offer := wire.Offer{
		Features: wire.FeatureScopes | wire.FeaturePing | wire.FeatureDescriptors,
		Runtime:  "go", RuntimeVersion: l.adapter.version,
	}
	line, err := mux.Answer(conn, offer, wire.FeatureScopes, func(h wire.HelloPayload) error { return l.admit(conn, h) })
	if err != nil {
		return err
	}
	err = mux.NewWorker(line, counting{l}, mux.WorkerOptions{Logger: l.log}).Run(l.ctx)
	if errors.Is(err, mux.ErrProtocol) {
		return err
	}
	return nil // the gateway has closed it
}

// admit checks who has dialled.
func (l *listener) admit(conn *net.UnixConn, h wire.HelloPayload) error {
	peer, known, err := proc.PeerOf(conn)
	switch {
	case err != nil:
		return err
	case known && peer.UID != os.Geteuid() && peer.UID != 0:
		return fmt.Errorf("the user %d may not connect here", peer.UID)
	case subtle.ConstantTimeCompare([]byte(h.Token), []byte(l.token)) != 1:
		return errors.New("the token is wrong")
	}
	return nil
}

// withdraw takes no more connections. Those that there are end by the gateway.
func (l *listener) withdraw() {
	l.once.Do(func() {
		l.tell(pluginpb.EndpointState_ENDPOINT_STATE_WITHDRAWN, "")
		close(l.quit)
		_ = l.socket.Close() // its file is removed with it; an error means that there is none
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
