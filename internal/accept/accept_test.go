package accept

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
)

// script returns an accept function with these results, nil for a connection.
func script(t *testing.T, results ...error) func() (net.Conn, error) {
	return func() (net.Conn, error) {
		if len(results) == 0 {
			t.Fatal("another connection is accepted than was to come")
		}
		err := results[0]
		results = results[1:]
		if err != nil {
			return nil, &net.OpError{Op: "accept", Err: err}
		}
		return &net.TCPConn{}, nil
	}
}

func TestErrorsThatPass(t *testing.T) {
	lasting := errors.New("a fault of the listener")
	cases := []struct {
		name    string
		results []error
		want    error
		warned  int
		again   int
	}{
		{name: "a connection is returned at once", results: []error{nil}},
		{name: "a row of errors is told once", results: []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, nil}, warned: 1, again: 1},
		{name: "an error of the listener is returned", results: []error{lasting}, want: lasting},
		{name: "an error of the listener ends a row", results: []error{syscall.EMFILE, lasting}, want: lasting, warned: 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			_, err := Connection(script(t, c.results...), nil, slog.New(slog.NewTextHandler(&log, nil)), &net.TCPAddr{})
			if !errors.Is(err, c.want) {
				t.Errorf("the error is %v, want %v", err, c.want)
			}
			if n := strings.Count(log.String(), "cannot be accepted"); n != c.warned {
				t.Errorf("%d warnings, want %d: %s", n, c.warned, &log)
			}
			if n := strings.Count(log.String(), "accepted again"); n != c.again {
				t.Errorf("%d records of a recovery, want %d: %s", n, c.again, &log)
			}
		})
	}
}

func TestAStopEndsARow(t *testing.T) {
	stopping := make(chan struct{})
	tries := 0
	_, err := Connection(func() (net.Conn, error) {
		if tries++; tries == 2 {
			close(stopping)
		}
		return nil, syscall.EMFILE
	}, stopping, slog.New(slog.DiscardHandler), &net.TCPAddr{})
	if !errors.Is(err, net.ErrClosed) || tries != 2 {
		t.Errorf("after %d tries the error is %v, want net.ErrClosed after 2", tries, err)
	}
}
