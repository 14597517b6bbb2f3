package socket_test

import (
	"context"
	"net"
	"testing"
)

// exampleT is the testing.TB of an Example.
type exampleT struct {
	testing.TB
	cleanups []func()
}

func (t *exampleT) Helper()                  {}
func (t *exampleT) Cleanup(f func())         { t.cleanups = append(t.cleanups, f) }
func (t *exampleT) Context() context.Context { return context.Background() }
func (t *exampleT) Error(args ...any)        { panic(args) }

// run calls f as a test.
func run(f func(t testing.TB)) {
	t := &exampleT{}
	f(t)
	for _, cleanup := range t.cleanups {
		cleanup()
	}
}

func hasIPv6() bool {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return false
	}
	return l.Close() == nil
}
