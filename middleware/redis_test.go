package middleware_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// startRedis starts a redis-server on a Unix socket, and returns its URL and what stops it. The end
// of the test stops it also.
func startRedis(t testing.TB) (url string, stop func()) {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not installed (scripts/install-test-deps)")
	}
	dir, err := os.MkdirTemp("", "redis") // the name of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	var output bytes.Buffer
	// A test that is killed cannot stop the server: timeout does, in the end.
	cmd := exec.Command("timeout", "--kill-after=1", "900", program, "--port", "0", "--unixsocket", socket, "--unixsocketperm", "600", "--dir", dir,
		"--save", "", "--appendonly", "no", "--daemonize", "no")
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // which timeout passes on
		_ = cmd.Wait()
		os.RemoveAll(dir)
	}
	t.Cleanup(stop)
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket})
	defer client.Close()
	deadline := time.Now().Add(testkit.Patience)
	for client.Ping(context.Background()).Err() != nil {
		if time.Now().After(deadline) {
			stop()
			t.Fatalf("redis-server does not answer: %s", output.String())
		}
		time.Sleep(5 * time.Millisecond)
	}
	return "unix://" + socket, stop
}
