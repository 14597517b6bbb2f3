package redispubsub_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// server is a redis-server of the test on a Unix socket in a directory of its own.
type server struct {
	url, dir string
	cmd      *exec.Cmd
}

// shared is the server of all tests but those that stop theirs; TestMain ends it.
var shared struct {
	sync.Once
	*server
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.server != nil {
		shared.stop()
	}
	os.Exit(code)
}

// sharedServer returns a server that has no messages.
func sharedServer(t *testing.T) *server {
	t.Helper()
	shared.Do(func() { shared.server = startServer(t) })
	if shared.server == nil {
		t.Skip("redis-server is not installed (scripts/install-test-deps)")
	}
	client := shared.client(t)
	if err := client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	return shared.server
}

// startServer starts a server. Its directory has a short name, because that of a socket is limited.
func startServer(t *testing.T) *server {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not installed (scripts/install-test-deps)")
	}
	dir, err := os.MkdirTemp("", "redis")
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
		os.RemoveAll(dir)
		t.Fatal(err)
	}
	s := &server{url: "unix://" + socket, dir: dir, cmd: cmd}
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket})
	defer client.Close()
	deadline := time.Now().Add(testkit.Patience)
	for client.Ping(context.Background()).Err() != nil {
		if time.Now().After(deadline) {
			s.stop()
			t.Fatalf("redis-server does not answer: %s", output.String())
		}
		time.Sleep(5 * time.Millisecond)
	}
	return s
}

// stop may be called more than once.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // which timeout passes on
	_ = s.cmd.Wait()
	os.RemoveAll(s.dir)
}

func (s *server) client(t *testing.T) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(s.url)
	if err != nil {
		t.Fatal(err)
	}
	options.MaxRetries = -1
	client := redis.NewClient(options)
	t.Cleanup(func() { client.Close() })
	return client
}
