package command_test

import (
	"io"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/creack/pty"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// The program shows the requests that are running, in the width of the terminal.
func TestTop(t *testing.T) {
	g, dir, order := drained(t, strings.Replace(drainSite, "middleware:\n", "middleware:\n  - request_id: {}\n", 1))
	answer := ask(g, "/a/slow?password=secret")
	g.get("/a/")
	g.Eventually("the request is running", func() bool { return strings.Contains(order(0, "status"), "GET /a/slow") })
	text := order(0, "top", "--once", "--interval", "100ms")
	if !regexp.MustCompile(`(?m)^/a +psgi +ok +1/2 .*\n( .*\n)* +\d+ busy .*GET /a/slow \([-0-9a-f]+\)$`).MatchString(text) || strings.Contains(text, "secret") {
		t.Errorf("%s", text)
	}

	cmd := testkit.Command(dir, program, "top", "--interval", "1h", "-c", "site.yaml")
	cmd.Env = append(cmd.Environ(), "NO_COLOR=1", "TERM=xterm")
	keyboard, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 120, Rows: 20})
	if err != nil {
		t.Fatal(err)
	}
	defer keyboard.Close()
	var mu sync.Mutex
	var seen strings.Builder
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(writer(func(p []byte) { mu.Lock(); seen.Write(p); mu.Unlock() }), keyboard) // EIO at the end
	}()
	frame := func() string {
		mu.Lock()
		defer mu.Unlock()
		return seen.String()[max(0, strings.LastIndex(seen.String(), "\x1b[H")):]
	}
	g.Eventually("a table", func() bool {
		return strings.Contains(frame(), "GET /a/slow (") && strings.Contains(frame(), "RESTARTS")
	})
	if strings.Contains(frame(), "\x1b[1m") {
		t.Error("there are colours, in spite of NO_COLOR")
	}
	if err := pty.Setsize(keyboard, &pty.Winsize{Cols: 40, Rows: 10}); err != nil { // the kernel sends SIGWINCH
		t.Fatal(err)
	}
	g.Eventually("a narrow table", func() bool { return strings.Contains(frame(), "MOUNT") && !strings.Contains(frame(), "RESTARTS") })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	g.Eventually("the screen is restored", func() bool { return strings.HasSuffix(frame(), "\x1b[?25h\x1b[?1049l") })
	_ = keyboard.Close()
	<-read

	put(t, dir, "go", "")
	if body := testkit.Await(t, answer); body != "app" {
		t.Errorf("the running request got %q", body)
	}
	for _, c := range []struct{ want, args string }{
		{"top needs a terminal; --once prints one table without", "top"},
		{"--interval must be at least 100ms, is 1ms", "top --interval 1ms"},
		{"unexpected argument", "top now"},
	} {
		if got := order(2, strings.Fields(c.args)...); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.args, got, c.want)
		}
	}
	if code := g.Stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }
