package redisstore_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// server is a redis-server of the test on a Unix socket in a directory of its own.
type server struct {
	url string
	cmd *exec.Cmd
}

// shared is the server of all tests but those that stop theirs; TestMain ends it.
var shared struct {
	sync.Once
	*server
	dir string
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.server != nil {
		shared.stop()
	}
	if shared.dir != "" {
		os.RemoveAll(shared.dir)
	}
	os.Exit(code)
}

// sharedServer returns a server that has no sessions.
func sharedServer(t *testing.T) *server {
	t.Helper()
	shared.Do(func() {
		dir, err := os.MkdirTemp("", "redis")
		if err != nil {
			t.Fatal(err)
		}
		shared.dir = dir
		shared.server = startServer(t, dir)
	})
	if shared.server == nil {
		t.Skip("redis-server is not installed (scripts/install-test-deps)")
	}
	client := shared.client(t)
	if err := client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	return shared.server
}

func startServer(t *testing.T, dir string) *server {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not installed (scripts/install-test-deps)")
	}
	socket := filepath.Join(dir, "s")
	var output bytes.Buffer
	cmd := exec.Command(program, "--port", "0", "--unixsocket", socket, "--unixsocketperm", "600", "--dir", dir,
		"--save", "", "--appendonly", "no", "--daemonize", "no")
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &server{url: "unix://" + socket, cmd: cmd}
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

func (s *server) stop() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
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

func key(id string) string { return fmt.Sprint("pagi_session:", id) }
