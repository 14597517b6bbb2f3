package worker

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/buffer"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/proc"
	"github.com/pagi-go/pagi-bridge/internal/sysio"
)

const (
	// helloTimeout is how long a process may take to say HELLO once it has connected.
	helloTimeout = 5 * time.Second
)

// greet reads the HELLO of a new connection and gives the connection to its process.
func (g *Group) greet(conn *net.UnixConn) {
	quick := sysio.New(conn)
	reader := wire.NewReader(bufio.NewReaderSize(quick, 64<<10), buffer.Get)
	c, err := g.introduce(conn, quick, reader)
	if err != nil {
		level := slog.LevelError
		if errors.Is(err, io.EOF) { // the process was killed while it started
			level = slog.LevelDebug
		}
		g.log.Log(context.Background(), level, "refused a worker's connection", "error", err)
		_ = conn.Close() // it was of no use anyway
		return
	}
	w := c.self()
	err = c.read(reader) // never nil
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, net.ErrClosed) && !isReset(err) {
		what := cmp.Or(c.role(), "worker")
		w.logger().Error("the "+what+" broke the protocol and is killed", "error", err)
		g.mu.Lock()
		w.failure = err.Error()
		g.mu.Unlock()
		g.tasks.Go(w.kill)
	}
	if isReset(err) {
		g.mu.Lock()
		w.reset = true
		g.mu.Unlock()
	}
	close(w.lost)
}

func (g *Group) introduce(conn *net.UnixConn, quick net.Conn, reader *wire.Reader) (caller, error) {
	if err := conn.SetDeadline(time.Now().Add(helloTimeout)); err != nil {
		return nil, err
	}
	frame, err := reader.Next()
	if err != nil {
		return nil, fmt.Errorf("no HELLO: %w", err)
	}
	if frame.Type != wire.Hello {
		return nil, fmt.Errorf("%w: %s instead of HELLO", ErrProtocol, frame.Type)
	}
	hello, err := wire.DecodeHello(frame.Payload)
	buffer.Put(frame.Buffer)
	if err != nil {
		return nil, err
	}
	c, peer, err := g.callerOf(conn, hello.Token)
	if err != nil {
		return nil, err
	}
	terms, err := g.agree(c, hello, peer)
	if err != nil {
		return nil, g.refuse(conn, c, err)
	}
	if _, err := conn.Write(wire.AppendWelcome(nil, terms.Welcome(os.Getpid()))); err != nil {
		return nil, fmt.Errorf("answer HELLO: %w", err)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	x := c.self()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.tokens[hello.Token] == nil { // its process has ended meanwhile
		return nil, fmt.Errorf("HELLO of a process that has ended: %w", io.EOF)
	}
	delete(g.tokens, hello.Token)
	x.terms = terms
	x.out.Connect(quick)
	close(x.known)
	return c, nil
}

// agree returns the terms of a connection. Files by their paths are among them only if the process has the gateway's
// own user: the gateway must not open for a worker what the worker could not open itself.
func (g *Group) agree(c caller, hello wire.HelloPayload, peer *proc.Peer) (wire.Terms, error) {
	own, need := g.opt.Greeting(), g.opt.Need
	if c.role() == wire.RoleZygote {
		own, need = wire.Offer{Features: wire.FeatureFork}, wire.FeatureFork
	}
	if peer == nil || peer.UID == os.Geteuid() {
		own.Features |= wire.FeaturePaths
	}
	if hello.Offer.Role != c.role() {
		return wire.Terms{}, fmt.Errorf("it was started with the role %q and says that it has the role %q", c.role(), hello.Offer.Role)
	}
	return wire.Agree(own, need, hello)
}

// refuse tells a process why it cannot take part, and has it killed.
func (g *Group) refuse(conn *net.UnixConn, c caller, why error) error {
	x := c.self()
	g.mu.Lock()
	x.failure = why.Error()
	c.refusedLocked()
	g.mu.Unlock()
	_, err := conn.Write(wire.AppendFrame(nil, wire.Refused, 0, 0, []byte(why.Error())))
	g.tasks.Go(x.kill)
	return errors.Join(why, err)
}

// isReset reports whether a connection ended because its process has ended.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// callerOf returns the caller that was given this token, and the process that has connected, nil if
// the system does not tell. A process that a zygote has announced must be that process. Where the
// system does not tell, the token and the directory must do.
func (g *Group) callerOf(conn *net.UnixConn, token string) (caller, *proc.Peer, error) {
	g.mu.Lock()
	c := g.tokens[token]
	g.mu.Unlock()
	if c == nil {
		return nil, nil, errors.New("HELLO with a token that is not expected")
	}
	is, known, err := proc.PeerOf(conn)
	if err != nil {
		return nil, nil, err
	}
	peer := &is
	if !known {
		peer = nil
	}
	x := c.self()
	<-x.spawned // a short wait: only a running process can know its token
	if x.made.forked {
		if peer != nil && peer.PID != x.made.pid {
			return nil, nil, fmt.Errorf("process %d has connected where the zygote has announced process %d", peer.PID, x.made.pid)
		}
		x.made.output.started(nil) // the process has opened its own end
	}
	return c, peer, nil
}
