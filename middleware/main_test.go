package middleware_test

import (
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi/pagitest/socket"
)

// The tests run in memory, and over sockets with PAGITEST=socket.
func TestMain(m *testing.M) { socket.Main(m) }
