package ws

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// TestLostBy has the reason for each error of a read.
func TestLostBy(t *testing.T) {
	netError := func(err error) error { return &net.OpError{Op: "read", Err: os.NewSyscallError("read", err)} }
	for reason, errs := range map[string][]error{
		pagi.ReasonClientClosed:  {io.EOF, io.ErrUnexpectedEOF, netError(syscall.ECONNRESET), net.ErrClosed, errors.New("stream error")},
		pagi.ReasonReadError:     {netError(syscall.EHOSTUNREACH), netError(syscall.ETIMEDOUT)},
		pagi.ReasonClientTimeout: {fmt.Errorf("x: %w", os.ErrDeadlineExceeded)},
	} {
		for _, err := range errs {
			if got := lostBy(err); got != reason {
				t.Errorf("%v: got %s, want %s", err, got, reason)
			}
		}
	}
}

// torn is a connection on which nothing can be written any more.
type torn struct{ net.Conn }

func (torn) Write([]byte) (int, error) {
	return 0, &net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.EPIPE)}
}

// TestLostByAWrite: after a write that failed, messages and a Close that came before are still
// received. Without any, the failed write is the reason of the end.
func TestLostByAWrite(t *testing.T) {
	for name, tt := range map[string]struct {
		said string
		want engine.WebSocketEnd
	}{
		"a client that said nothing":      {"", engine.WebSocketEnd{Code: codeAbnormal, Reason: pagi.ReasonWriteError}},
		"a client that was cut short":     {"\x82\x82\x00", engine.WebSocketEnd{Code: codeAbnormal, Reason: pagi.ReasonWriteError}},
		"a client that closed and left":   {"\x88\x82\x00\x00\x00\x00\x03\xe9", engine.WebSocketEnd{Code: codeGoingAway, Answer: codeGoingAway, Peer: true}},
		"a client that broke the framing": {"\x88\x02", engine.WebSocketEnd{Code: codeAbnormal, Reason: pagi.ReasonWriteError}},
	} {
		for _, leaves := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, and leaves: %v", name, leaves), func(t *testing.T) {
				t.Parallel()
				here, there := net.Pipe()
				defer there.Close()
				c := (&Server{}).newConn(torn{here}, nil, &pagi.Scope{}, engine.WebSocketHooks{Flow: engine.NewFlowMeter(0, 0)}, nil)
				defer c.Drop()
				if err := c.Send(t.Context(), pagi.WebSocketSend{Text: "x"}); err != nil {
					t.Fatal(err)
				}
				c.waitQuiet(-1) // the write has failed
				said := make(chan error, 1)
				go func() {
					var err error
					if tt.said != "" {
						_, err = io.WriteString(there, tt.said)
					}
					if leaves {
						err = errors.Join(err, there.Close())
					}
					said <- err
				}()
				_, err := c.Receive()
				var end *engine.WebSocketEnd
				if !errors.As(err, &end) || *end != tt.want {
					t.Errorf("got %+v, want %+v", err, tt.want)
				}
				if err := testkit.Await(t, said); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
