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
	if err := conn.SetReadDeadline(time.Now().Add(helloTimeout)); err != nil {
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
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	c, err := g.callerOf(conn, hello.Token)
	if err != nil {
		return nil, err
	}
	w := c.self()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.tokens[hello.Token] == nil { // its process has ended meanwhile
		return nil, fmt.Errorf("HELLO of a process that has ended: %w", io.EOF)
	}
	switch role := hello.Info.Get("role"); {
	case hello.Version != wire.Version:
		w.failure = fmt.Sprintf("it speaks version %d of the protocol, the gateway %d", hello.Version, wire.Version)
	case role != c.role():
		w.failure = fmt.Sprintf("it was started with the role %q and says that it has the role %q", c.role(), role)
	default:
		delete(g.tokens, hello.Token)
		w.out.connect(quick)
		close(w.known)
		return c, nil
	}
	c.refusedLocked()
	g.tasks.Go(w.kill)
	return nil, errors.New(w.failure)
}

// isReset reports whether a connection ended because its process has ended.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// checkPID makes sure that the process that has connected is the one with this pid. Where the
// system does not tell the pid of the process, the token and the directory must do.
func checkPID(conn *net.UnixConn, pid int) error {
	switch is, known, err := proc.PeerPID(conn); {
	case err != nil:
		return err
	case known && is != pid:
		return fmt.Errorf("process %d has connected where the zygote has announced process %d", is, pid)
	}
	return nil
}

// callerOf returns the caller that was given this token. The connection must come from its process.
func (g *Group) callerOf(conn *net.UnixConn, token string) (caller, error) {
	g.mu.Lock()
	c := g.tokens[token]
	g.mu.Unlock()
	if c == nil {
		return nil, errors.New("HELLO with a token that is not expected")
	}
	x := c.self()
	<-x.spawned // a short wait: only a running process can know its token
	if x.made.forked {
		if err := checkPID(conn, x.made.pid); err != nil {
			return nil, err
		}
		x.made.output.started(nil) // the process has opened its own end
	}
	return c, nil
}
