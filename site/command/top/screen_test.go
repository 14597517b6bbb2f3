package top

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// console is a pseudo terminal with what was written to it.
type console struct {
	t        *testing.T
	keyboard *os.File // of the user
	tty      *os.File // of the program

	mu   sync.Mutex
	text bytes.Buffer
}

func newConsole(t *testing.T) *console {
	t.Helper()
	keyboard, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	c := &console{t: t, keyboard: keyboard, tty: tty}
	c.resize(100, 20)
	read := make(chan struct{})
	go func() {
		defer close(read)
		var b [4096]byte
		for {
			n, err := keyboard.Read(b[:])
			c.mu.Lock()
			c.text.Write(b[:n])
			c.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = tty.Close() // a test may have closed it
		_ = keyboard.Close()
		<-read
	})
	return c
}

func (c *console) resize(columns, lines uint16) {
	c.t.Helper()
	if err := pty.Setsize(c.tty, &pty.Winsize{Cols: columns, Rows: lines}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *console) press(keys string) {
	c.t.Helper()
	if _, err := c.keyboard.WriteString(keys); err != nil {
		c.t.Fatal(err)
	}
}

// screen returns what the last frame has.
func (c *console) screen() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	frames := strings.Split(c.text.String(), "\x1b[H")
	for i := len(frames) - 1; i > 0; i-- {
		if strings.Contains(frames[i], "\x1b[J") {
			return frames[i]
		}
	}
	return ""
}

func (c *console) sees(text string) {
	c.t.Helper()
	testkit.Eventually(c.t, "the screen to show "+text, func() bool { return strings.Contains(c.screen(), text) })
}

func (c *console) all() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// gateway answers a top.
type gateway struct {
	mu  sync.Mutex
	n   int64
	err error
}

func (g *gateway) ask(context.Context) (*status.Gateway, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n += 10
	counts := status.Responses{Requests: g.n}
	return &status.Gateway{Version: "9", PID: 1, Responses: counts, Mounts: []status.Mount{{Mount: "/x", Kind: "psgi", Responses: &counts, Backend: &status.Backend{
		Circuit: "closed", Workers: []status.Worker{{ID: 1, PID: 77, State: "busy", Request: &status.Request{Method: "GET", Path: "/x/\x1b]0;evil\a"}}},
	}}}}, g.err
}

func (g *gateway) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err = err
}

// run runs top on the console.
func (c *console) run(ctx context.Context, g *gateway) (result <-chan error) {
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, Options{Ask: g.ask, Interval: 20 * time.Millisecond, Color: true}, c.tty, c.tty)
	}()
	return done
}

func (c *console) isRestored(before *term.State) {
	c.t.Helper()
	after, err := term.GetState(int(c.tty.Fd()))
	if err != nil {
		c.t.Fatal(err)
	}
	if *after != *before {
		c.t.Error("the mode of the terminal is not restored")
	}
	testkit.Eventually(c.t, "the screen to be left", func() bool { return strings.HasSuffix(c.all(), leaveScreen) })
}

func TestAtATerminal(t *testing.T) {
	c, g := newConsole(t), &gateway{}
	before, err := term.GetState(int(c.tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	done := c.run(t.Context(), g)
	c.sees(`GET /x/\x1b]0;evil\a`)
	if strings.Contains(c.all(), "\x1b]") || strings.Contains(c.all(), "\a") {
		t.Errorf("a control character of a client is written: %q", c.all())
	}
	c.press("w")
	testkit.Eventually(t, "the workers to go", func() bool { return !strings.Contains(c.screen(), "GET /x/") })
	c.press("w")
	c.sees("GET /x/")
	c.press("h")
	c.sees("Any key leads back.")
	c.press("x")
	c.sees("QUEUE")
	c.press(">>")
	c.sees("order: req/s")
	c.press("p")
	c.sees("PAUSED")
	c.press("p")
	testkit.Eventually(t, "it to go on", func() bool { return !strings.Contains(c.screen(), "PAUSED") })
	g.fail(errors.New("no gateway answers"))
	c.sees("no gateway answers")
	g.fail(nil)
	c.sees("pagi-bridge 9")
	c.press("q")
	if err := testkit.Await(t, done); err != nil {
		t.Error(err)
	}
	c.isRestored(before)
}

func TestTheTerminalIsRestored(t *testing.T) {
	for name, end := range map[string]func(c *console, cancel func()){
		"at q":                  func(c *console, _ func()) { c.press("q") },
		"at Ctrl-C":             func(c *console, _ func()) { c.press("\x03") },
		"when the context ends": func(_ *console, cancel func()) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			c := newConsole(t)
			before, err := term.GetState(int(c.tty.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := c.run(ctx, &gateway{})
			c.sees("/x")
			end(c, cancel)
			if err := testkit.Await(t, done); err != nil {
				t.Error(err)
			}
			c.isRestored(before)
		})
	}
}

func TestTheTerminalIsNotTouchedWithoutAGateway(t *testing.T) {
	c, g := newConsole(t), &gateway{}
	g.fail(errors.New("no gateway"))
	if err := testkit.Await(t, c.run(t.Context(), g)); err == nil || err.Error() != "no gateway" {
		t.Errorf("error %v", err)
	}
	if c.all() != "" {
		t.Errorf("written: %q", c.all())
	}
}

func TestRunNeedsATerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if err := Run(t.Context(), Options{Ask: (&gateway{}).ask, Interval: time.Second}, r, w); !errors.Is(err, ErrNoTerminal) {
		t.Errorf("error %v", err)
	}
}

func TestOnce(t *testing.T) {
	var out bytes.Buffer
	if err := Once(t.Context(), Options{Ask: (&gateway{}).ask, Interval: time.Millisecond}, &out, 0); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if lines := strings.Count(text, "\n"); lines != 5 || strings.Contains(text, "\x1b") || !strings.Contains(text, "GET /x/") || strings.Contains(text, "- req/s") {
		t.Errorf("%d lines: %q", lines, text)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Once(ctx, Options{Ask: (&gateway{}).ask, Interval: time.Hour}, io.Discard, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
