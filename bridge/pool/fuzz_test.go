package pool

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
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
		frames(wire.Frame{Type: wire.Response, Stream: 1, Payload: head}, wire.Frame{Type: wire.File, Flags: wire.FlagFin | wire.FlagDescriptor, Stream: 1, Payload: make([]byte, 32)}),
		frames(wire.Frame{Type: wire.Abort, Flags: wire.FlagFin, Stream: 1, Payload: []byte{1, 'x'}}, answer(2), answer(3)),
		frames(wire.Frame{Type: wire.Forked, Payload: head}, answer(1)),
		frames(wire.Frame{Type: wire.Ready}, wire.Frame{Type: wire.Failed, Payload: head}, answer(2)),
		[]byte("HTTP/1.1 200 OK\r\n\r\n"),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		setups := make(chan worker.Setup, 1)
		var first atomic.Bool
		s := &started{t: t, Pool: New(Options{ // not over a lease: the test is the process
			Processes: worker.Processes{Workers: 1},
			Limits:    Limits{Limits: worker.Limits{KillAfter: 50 * time.Millisecond}},
			Start: func(setup worker.Setup) (*exec.Cmd, []byte, error) {
				if first.Swap(true) {
					return nil, nil, errors.New("no other one")
				}
				setups <- setup
				return exec.Command("sleep", "3600"), nil, nil // what it says comes from this test
			},
			Logger: slog.New(slog.DiscardHandler),
		})}
		ready := make(chan error, 1)
		go func() { ready <- s.Start(t.Context()) }()
		setup := testkit.Await(t, setups)
		conn, err := net.Dial("unix", setup.Socket)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(introduction(setup.Token)); err != nil {
			t.Fatal(err)
		}
		if err := testkit.Await(t, ready); err != nil {
			t.Fatal(err)
		}
		pid := s.Status().Workers[0].PID
		var requests []*Request
		for _, safe := range []bool{true, true, false, true} {
			requests = append(requests, newRequest("anything", safe))
		}
		outcomes := enqueue(t, s, requests...) // a batch of two, because the worker counts as quick
		_, _ = conn.Write(said)                // until the pool closes the connection
		_ = conn.(*net.UnixConn).CloseWrite()
		_ = syscall.Kill(pid, syscall.SIGKILL)
		for _, c := range outcomes {
			if o := testkit.Await(t, c); errors.Is(o.err, context.DeadlineExceeded) {
				t.Error("a request has no end")
			}
		}
		_ = conn.Close() // the pool may have closed it
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if now := s.Status(); now.Queued != 0 || len(now.Workers) != 0 || len(s.idle) != 0 || len(s.stations) != 0 {
			t.Errorf("afterwards: %+v, %d idle, %d stations", now, len(s.idle), len(s.stations))
		}
	})
}

// introduction returns the first frames of a worker.
func introduction(token string) []byte {
	offer := wire.Offer{Features: wire.FeatureRequests | wire.FeaturePaths}
	hello := wire.AppendHello(nil, wire.HelloPayload{Versions: wire.Supported, PID: 1, Token: token, Offer: offer})
	return append(hello, frames(wire.Frame{Type: wire.Ready})...)
}
