// Package accept goes on accepting connections after temporary errors, above all when the process
// has no descriptors left.
package accept

import (
	"errors"
	"log/slog"
	"net"
	"syscall"
	"time"
)

const (
	// firstPause and longestPause are the shortest and the longest pause before another try.
	// Descriptors become free when other connections end.
	firstPause   = 5 * time.Millisecond
	longestPause = time.Second
)

// Connection calls accept until that returns a connection or a permanent error. Once stopping is
// closed, Connection returns net.ErrClosed instead of trying again. After a temporary error it
// tries again, with pauses that grow from 5 ms to one second. It logs the first of several
// temporary errors in a row, and the end of the row, both with the listener's address.
func Connection[C net.Conn](accept func() (C, error), stopping <-chan struct{}, log *slog.Logger, listener net.Addr) (C, error) {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		c, err := accept()
		switch first := pause == firstPause; {
		case err == nil && first:
			return c, nil
		case err == nil:
			log.Info("connections are accepted again", "listener", listener.String())
			return c, nil
		case !passes(err):
			return c, err
		case isClosed(stopping):
			return c, errors.Join(net.ErrClosed, err)
		case first:
			log.Warn("connections cannot be accepted now, and wait", "listener", listener.String(), "error", err)
		}
		select {
		case <-time.After(pause):
		case <-stopping:
		}
	}
}

// passing are the temporary errors of accept(2). The listener is all right: the system has no room
// at the moment, or the accepted connection has failed.
var passing = []error{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
	syscall.ECONNABORTED, syscall.EPERM, syscall.EPROTO, syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
}

func passes(err error) bool {
	for _, p := range passing {
		if errors.Is(err, p) {
			return true
		}
	}
	var temporary interface{ Temporary() bool }
	return errors.As(err, &temporary) && temporary.Temporary()
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
