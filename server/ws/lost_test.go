package ws

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// TestLostBy says which reason a read that failed is.
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
