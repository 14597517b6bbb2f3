package pool

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

// frames joins frames given as type, flags, stream and payload.
func frames(list ...wire.Frame) (b []byte) {
	for _, f := range list {
		b = wire.AppendFrame(b, f.Type, f.Flags, f.Stream, f.Payload)
	}
	return b
}

// FuzzWorker gives a pool one worker that sends HELLO and READY, and then any bytes until its
// connection ends. Nothing may panic or hang, and each request must end.
func FuzzWorker(f *testing.F) {
	head := append(wire.AppendPairs([]byte{0, 200}, "a", "b"), "body"...)
	answer := func(stream uint32) wire.Frame {
		return wire.Frame{Type: wire.Response, Flags: wire.FlagFin, Stream: stream, Payload: head}
	}
	file := append(make([]byte, 32), "/etc/passwd"...)
	busy := wire.FlagFin | wire.FlagBusy
	for _, seed := range [][]byte{
		nil,
		frames(answer(1), answer(2), answer(3)),
		frames(wire.Frame{Type: wire.Response, Stream: 1, Payload: head}, wire.Frame{Type: wire.Body, Stream: 1, Payload: head}, wire.Frame{Type: wire.Body, Flags: wire.FlagFin, Stream: 1}, answer(2)),
		frames(wire.Frame{Type: wire.Informational, Stream: 1, Payload: wire.AppendPairs([]byte{0, 103})}, answer(1)),
		frames(wire.Frame{Type: wire.Response, Flags: busy, Stream: 1, Payload: head}, wire.Frame{Type: wire.Log, Flags: wire.LevelWarn, Stream: 1, Payload: head}, wire.Frame{Type: wire.Idle}, answer(2)),
		frames(wire.Frame{Type: wire.Response, Flags: busy, Stream: 1, Payload: head}, wire.Frame{Type: wire.Exiting, Payload: head}),
		frames(wire.Frame{Type: wire.Response, Stream: 1, Payload: head}, wire.Frame{Type: wire.File, Flags: wire.FlagFin, Stream: 1, Payload: file}),
		frames(wire.Frame{Type: wire.Abort, Flags: wire.FlagFin, Stream: 1, Payload: []byte{1, 'x'}}, answer(2), answer(3)),
		frames(wire.Frame{Type: wire.Forked, Payload: head}, answer(1)),
		frames(wire.Frame{Type: wire.Ready}, wire.Frame{Type: wire.Failed, Payload: head}, answer(2)),
		[]byte("HTTP/1.1 200 OK\r\n\r\n"),
	} {
		f.Add(seed)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, said []byte) {
		p := New(Options{
			Processes: Processes{Workers: 1},
			Start:     func(Setup) (*exec.Cmd, []byte, error) { return nil, nil, errors.New("no other one") },
			Logger:    slog.New(slog.DiscardHandler),
		})
		p.dir, p.started = dir, true
		w := connected(p)
		ours, theirs := socketPair(t)
		var outcomes sync.WaitGroup
		for _, safe := range []bool{true, true, false, true} {
			answer, err := p.Do(newRequest("anything", safe))
			if err != nil {
				t.Fatal(err)
			}
			outcomes.Go(func() {
				defer answer.Close()
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
				defer cancel()
				for last := false; !last; {
					piece, err := answer.Next(ctx)
					if ctx.Err() != nil {
						t.Error("a request has no end")
					}
					last = piece.Last || err != nil
				}
			})
		}
		p.tasks.Go(func() {
			_, _ = theirs.Write(append(introduction(w), said...)) // until the pool closes the connection
			_ = theirs.CloseWrite()
			_, _ = io.Copy(io.Discard, theirs)
			_ = theirs.Close()
		})
		p.tasks.Go(p.watch)
		p.greet(ours)
		<-w.lost
		w.end()
		outcomes.Wait()
		close(p.quit)
		p.tasks.Wait()
		if s := p.Status(); s.Queued != 0 || len(s.Workers) != 0 || len(p.idle) != 0 || len(p.tokens) != 0 {
			t.Errorf("afterwards: %+v, %d idle, %d unknown", s, len(p.idle), len(p.tokens))
		}
	})
}

// socketPair returns the two ends of a worker's connection.
func socketPair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		conn, err := net.FileConn(f)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		ends[i] = conn.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// connected adds a worker without a process. The pool expects it to connect, and will give it a
// batch because it counts as quick.
func connected(p *Pool) *worker {
	w := &worker{abort: make(chan struct{}), average: time.Nanosecond}
	w.init(p, 1, p.log)
	w.exit = "the end of its connection"
	close(w.spawned)
	close(w.exited)
	p.launched = 1
	p.workers[w] = struct{}{}
	p.tokens[w.token] = w
	return w
}

// introduction returns the first frames of a worker.
func introduction(w *worker) []byte {
	offer := wire.Offer{Features: wire.FeatureRequests | wire.FeaturePaths}
	hello := wire.AppendHello(nil, wire.HelloPayload{Versions: wire.Supported, PID: 1, Token: w.token, Offer: offer})
	return append(hello, frames(wire.Frame{Type: wire.Ready})...)
}
