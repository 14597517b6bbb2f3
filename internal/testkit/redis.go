package testkit

import (
	"bufio"
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Redis is a redis-server of a test on a Unix socket in a directory of its own.
type Redis struct {
	// URL is "unix://" and the socket's path.
	URL string

	dir  string
	cmd  *exec.Cmd
	once sync.Once
}

// StartRedis starts a server, which Stop ends, and the end of the test as well. The test is skipped if
// redis-server is not installed.
func StartRedis(t testing.TB) *Redis {
	t.Helper()
	r := startRedis(t)
	t.Cleanup(r.Stop)
	return r
}

// startRedis starts a server. Its directory has a short name, because that of a socket is limited.
func startRedis(t testing.TB) *Redis {
	t.Helper()
	program := Tool(t, "redis-server", "redis-server")
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
	r := &Redis{URL: "unix://" + socket, dir: dir, cmd: cmd}
	if !poll(func() bool { return r.command("PING") == "+PONG" }) {
		r.Stop()
		t.Fatalf("redis-server does not answer: %s", output.String())
	}
	return r
}

// command sends a command and returns the line that answers it; "" for none.
func (r *Redis) command(text string) string {
	conn, err := net.Dial("unix", strings.TrimPrefix(r.URL, "unix://"))
	if err != nil {
		return ""
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(Patience)); err != nil {
		return ""
	}
	if _, err := conn.Write([]byte(text + "\r\n")); err != nil {
		return ""
	}
	line, _ := bufio.NewReader(conn).ReadString('\n') // a line that is cut short is no answer
	return strings.TrimSuffix(line, "\r\n")
}

// Stop ends the server and removes its directory. It may be called more than once.
func (r *Redis) Stop() {
	r.once.Do(func() {
		_ = r.cmd.Process.Signal(syscall.SIGTERM) // which timeout passes on
		_ = r.cmd.Wait()
		os.RemoveAll(r.dir)
	})
}

// sharedRedis is the server of all tests of a package but those that stop theirs.
var sharedRedis struct {
	sync.Once
	*Redis
}

// SharedRedis returns a server without any data, which the tests of a package have in common. Their
// TestMain calls StopSharedRedis.
func SharedRedis(t testing.TB) *Redis {
	t.Helper()
	Tool(t, "redis-server", "redis-server")
	sharedRedis.Do(func() { sharedRedis.Redis = startRedis(t) })
	if sharedRedis.Redis == nil {
		t.Fatal("the redis-server of the package could not be started")
	}
	if answer := sharedRedis.command("FLUSHALL"); answer != "+OK" {
		t.Fatalf("FLUSHALL: %q", answer)
	}
	return sharedRedis.Redis
}

// StopSharedRedis ends the server of SharedRedis, if there is one.
func StopSharedRedis() {
	if sharedRedis.Redis != nil {
		sharedRedis.Stop()
	}
}
