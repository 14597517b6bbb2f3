// Package endpoint is a Unix socket at which gateways dial an application in Go. Plugins have them, and adapters for what runs
// in the adapter itself.
package endpoint

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"

	"github.com/pagi-go/pagi-bridge/bridge/mux"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/accept"
	"github.com/pagi-go/pagi-bridge/internal/proc"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Endpoint is a socket that listens. Listen makes one, Serve serves at it, and Withdraw ends that.
type Endpoint struct {
	socket *net.UnixListener
	token  string
	users  []int
	log    *slog.Logger
	once   sync.Once
	quit   chan struct{} // closed by Withdraw
}

// Listen makes a socket with mode 0600. Processes of root, of this process's own user and of users may dial, and must say the
// token.
func Listen(path string, log *slog.Logger, users ...int) (*Endpoint, error) {
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	return &Endpoint{socket: socket, token: rand.Text(), users: append(users, 0, os.Geteuid()), log: log, quit: make(chan struct{})}, nil
}

// Address returns the path of the socket, and Token what a gateway must say.
func (e *Endpoint) Address() string { return e.socket.Addr().String() }

// Token returns what a gateway must say.
func (e *Endpoint) Token() string { return e.token }

// Serve serves an application to each gateway that dials, until Withdraw. It returns when all their connections have ended.
// The end of ctx ends all scopes.
func (e *Endpoint) Serve(ctx context.Context, app pagi.App, offer wire.Offer) {
	var serving sync.WaitGroup
	for {
		conn, err := accept.Connection(e.socket.AcceptUnix, e.quit, e.log, e.socket.Addr())
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				e.log.Error("no gateway can connect any more", "error", err)
			}
			break
		}
		serving.Go(func() {
			if err := e.connection(ctx, conn, app, offer); err != nil {
				e.log.Warn("a connection of the gateway has failed", "error", err)
			}
		})
	}
	serving.Wait()
}

// connection serves one gateway.
func (e *Endpoint) connection(ctx context.Context, conn *net.UnixConn, app pagi.App, offer wire.Offer) error {
	defer func() { _ = conn.Close() }() // the worker has closed it already, unless the greeting has failed
	line, err := mux.Answer(conn, offer, wire.FeatureScopes, func(h wire.HelloPayload) error { return e.admit(conn, h) })
	if err != nil {
		return err
	}
	if err := mux.NewWorker(line, app, mux.WorkerOptions{Logger: e.log}).Run(ctx); errors.Is(err, mux.ErrProtocol) {
		return err
	}
	return nil // the gateway has closed it
}

// admit checks who has dialled.
func (e *Endpoint) admit(conn *net.UnixConn, h wire.HelloPayload) error {
	peer, known, err := proc.PeerOf(conn)
	switch {
	case err != nil:
		return err
	case known && !slices.Contains(e.users, peer.UID):
		return fmt.Errorf("the user %d may not connect here", peer.UID)
	case subtle.ConstantTimeCompare([]byte(h.Token), []byte(e.token)) != 1:
		return errors.New("the token is wrong")
	}
	return nil
}

// Withdraw takes no more connections. Those that there are end by their gateways, or with the ctx of Serve. The file of the
// socket is removed.
func (e *Endpoint) Withdraw() {
	e.once.Do(func() {
		close(e.quit)
		_ = e.socket.Close() // an error means that the file is gone already
	})
}
