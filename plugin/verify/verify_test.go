package verify_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/plugin/host"
	"github.com/pagi-go/pagi-bridge/plugin/verify"
)

// hello is examples/plugin-hello.
var hello string

func TestMain(m *testing.M) {
	os.Exit(testkit.RunWith(m, map[string]*string{"examples/plugin-hello": &hello}))
}

// text is a result as a line.
func text(results []verify.Result) string {
	var b strings.Builder
	for _, r := range results {
		b.WriteString(r.Outcome.Sign() + " " + r.Check + ": " + r.Found + "\n")
	}
	return b.String()
}

func TestTheExamplesPass(t *testing.T) {
	t.Parallel()
	wsgi, err := filepath.Abs("../../examples/plugin-wsgi")
	if err != nil {
		t.Fatal(err)
	}
	for name, opt := range map[string]verify.Options{
		"go":   {Command: []string{hello}, Config: map[string]any{"greeting": "Moin"}},
		"wsgi": {Command: []string{testkit.Tool(t, "python3", "python3"), "wsgi.py", "app.py"}, Dir: wsgi, Protocol: host.ProtocolWire, Path: "/stream"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			results := verify.Run(t.Context(), opt)
			if !verify.Passed(results) || len(results) < 11 {
				t.Error(text(results))
			}
		})
	}
}

// broken is a worker that breaks the protocol in the way that its argument says.
const broken = `
import os, socket, struct, sys, time

data, config = sys.stdin.buffer.read(), {}
def string(at):
    n = struct.unpack(">I", data[at:at + 4])[0]
    return data[at + 4:at + 4 + n], at + 4 + n
at = 4
for _ in range(struct.unpack(">I", data[:4])[0]):
    k, at = string(at)
    config[k], at = string(at)
if b"no_option" in config[b"config"] and sys.argv[1] != "any option":
    sys.exit("there is no option no_option_has_this_name")
def s(b): return struct.pack(">I", len(b)) + b
def frame(kind, stream, payload=b""): conn.sendall(struct.pack(">IIBB", len(payload), stream, kind, 0) + payload)
conn = socket.socket(socket.AF_UNIX)
conn.connect(config[b"socket"])
frame(0x10, 0, struct.pack(">HHI", 3, 3, os.getpid()) + s(config[b"token"]) + struct.pack(">I", 1) + s(b"features") + s(b"scopes"))
if sys.argv[1] != "never ready":
    frame(0x11, 0)
while True:
    head = conn.recv(10, socket.MSG_WAITALL)
    if len(head) < 10: sys.exit()
    n, stream, kind, flags = struct.unpack(">IIBB", head)
    if n: conn.recv(n, socket.MSG_WAITALL)
    if kind == 0x06 and sys.argv[1] == "garbage":
        conn.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    elif kind == 0x06 and sys.argv[1] != "no answer":
        frame(0x25, stream, struct.pack(">BBHI", 0x11, 0, 200, 0))
        frame(0x25, stream, struct.pack(">BBHI", 0x12, 0, 0, 0))
        if sys.argv[1] != "no end": frame(0x1e, stream, b"\0")
    elif kind == 0x03 and sys.argv[1] != "does not stop":
        sys.exit()
`

// Each fault is found by a check that names it.
func TestFaultsAreFound(t *testing.T) {
	t.Parallel()
	python := testkit.Tool(t, "python3", "python3")
	file := filepath.Join(testkit.Tree(t, map[string]string{"broken.py": broken}), "broken.py")
	for fault, want := range map[string]string{
		"any option":    "✗ it refuses an unknown option by its name",
		"never ready":   "✗ it starts and its endpoint can be dialled",
		"garbage":       "✗ it answers GET /",
		"no answer":     "✗ it answers GET /",
		"no end":        "✗ it ends the scope of a client that has left",
		"does not stop": "✗ it stops in time when it is told to",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			results := verify.Run(t.Context(), verify.Options{Command: []string{python, file, fault}, Protocol: host.ProtocolWire, Patience: 2 * time.Second})
			if got := text(results); verify.Passed(results) || !strings.Contains(got, want) {
				t.Errorf("%s\nwant %s", got, want)
			}
		})
	}
	results := verify.Run(t.Context(), verify.Options{Command: []string{"/bin/echo", "hi"}})
	if got := text(results); !strings.Contains(got, `✗ it greets and describes itself`) || !strings.Contains(got, `prints "hi"`) {
		t.Error(got)
	}
	results = verify.Run(t.Context(), verify.Options{Command: []string{"./nothing"}})
	if got := text(results); !strings.Contains(got, `✗ the program can be run`) {
		t.Error(got)
	}
}
