package sse_test

import (
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi/pagitest/socket"
)

func TestMain(m *testing.M) { socket.Main(m) }
