package shared

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/private"
)

// socket is where processes connect.
type socket struct {
	server   *Server
	patience time.Duration // for a process to read an answer

	mu        sync.Mutex
	dir       *private.Dir // nil: it does not listen
	listener  *net.UnixListener
	at        string
	conns     map[*net.UnixConn]struct{}
	strangers int
	stop      context.CancelFunc
	tasks     sync.WaitGroup
}

func newSocket(s *Server) *socket {
	return &socket{server: s, patience: writeTime, conns: map[*net.UnixConn]struct{}{}}
}

// Listen makes the socket, as the user that the gateway has by then. For a gateway of root, processes of every user can reach
// it, because mounts may have users of their own. What they need is a token.
func (s *socket) Listen() error {
	dir, err := private.Make("s")
	if err != nil {
		return err
	}
	name := make([]byte, 8)
	_, _ = rand.Read(name) // it never fails
	at := filepath.Join(dir.Path(), hex.EncodeToString(name))
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: at, Net: "unix"})
	if err == nil && os.Geteuid() == 0 {
		err = errors.Join(os.Chmod(dir.Path(), 0o711), os.Chmod(at, 0o666))
	}
	if err != nil {
		if listener != nil {
			err = errors.Join(err, listener.Close())
		}
		return errors.Join(err, dir.Remove())
	}
	ctx, stop := context.WithCancel(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dir, s.listener, s.at, s.stop = dir, listener, at, stop
	s.tasks.Go(func() { s.accept(ctx, listener) })
	return nil
}

// path returns where processes connect; "" before Listen and after Close.
func (s *socket) path() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

// Close ends all connections, and waits for their goroutines. Locks are free then. Close of a Server that does not
// listen does nothing.
func (s *socket) Close() error {
	s.mu.Lock()
	dir := s.dir
	if dir == nil {
		s.mu.Unlock()
		return nil
	}
	s.dir, s.at = nil, ""
	err := s.listener.Close()
	s.stop()
	for c := range s.conns {
		_ = c.Close() // nothing is said any more
	}
	s.mu.Unlock()
	s.tasks.Wait()
	return errors.Join(err, dir.Remove())
}

// acceptPause is how long accept waits when no descriptor is free.
const acceptPause = 50 * time.Millisecond

func (s *socket) accept(ctx context.Context, listener *net.UnixListener) {
	for {
		c, err := listener.AcceptUnix()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			s.server.opt.Logger.Warn("cannot accept a connection for shared values", "error", err)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		if !s.admitted(c) {
			_ = c.Close() // nothing was said
			continue
		}
		s.tasks.Go(func() { s.serve(ctx, c) })
	}
}

// admitted notes a connection, unless there are too many that have not said their tokens.
func (s *socket) admitted(c *net.UnixConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == "" || s.strangers >= maxStrangers {
		return false
	}
	s.strangers++
	s.conns[c] = struct{}{}
	return true
}

func (s *socket) serve(ctx context.Context, nc *net.UnixConn) {
	known := false
	c := &conn{server: s.server, net: nc, peer: &peer{}}
	err := c.serve(ctx, func(a *Access) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if a.conns >= maxConns {
			return false
		}
		a.conns++
		s.strangers--
		known = true
		return true
	})
	s.mu.Lock()
	if delete(s.conns, nc); known {
		c.access.conns--
	} else {
		s.strangers--
	}
	s.mu.Unlock()
	_ = nc.Close() // nothing is said any more
	if errors.Is(err, errProtocol) {
		who := "unknown"
		if known {
			who = c.access.name
		}
		s.server.opt.Logger.Warn("a connection for shared values is cut", "of", who, "error", fmt.Sprint(err))
	}
}
