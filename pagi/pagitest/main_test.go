package pagitest_test

import (
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest/socket"
)

// The tests run in memory, and over sockets with PAGITEST=socket.
func TestMain(m *testing.M) { socket.Main(m) }

func onSocket() bool { return pagitest.DefaultVia() != nil }

// lost returns the reason that an application sees when the client goes away for reason. By a
// socket the server sees only that it has left.
func lost(reason string) string {
	if onSocket() {
		return pagi.ReasonClientClosed
	}
	return reason
}
