package apps_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi/pagitest/socket"
)

// The tests run in memory, and over sockets with PAGITEST=socket. With an address in the environment the
// process is the clients of a test.
func TestMain(m *testing.M) {
	if address := os.Getenv(addressVariable); address != "" {
		fmt.Fprintln(os.Stderr, "clients:", broadcastClients(address))
		return
	}
	socket.Main(m)
}
