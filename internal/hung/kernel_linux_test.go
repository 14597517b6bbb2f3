package hung

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// begin starts a process that a test ends.
func begin(t *testing.T, stdin *os.File, args ...string) int {
	t.Helper()
	cmd := exec.Command(testkit.Tool(t, args[0], args[0]), args[1:]...)
	cmd.Stdin = stdin
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // "killed" is no error here
	})
	return cmd.Process.Pid
}

func TestWhatAProcessWaitsFor(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	socket, err := conn.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	if err := syscall.SetNonblock(int(socket.Fd()), false); err != nil {
		t.Fatal(err)
	}
	_, err = os.ReadFile("/proc/self/stack") // root may not in every container
	hasStacks := err == nil
	for _, c := range []struct {
		pid  int
		want string
	}{
		{begin(t, nil, "sleep", "1000"), "clock_nanosleep"},
		{begin(t, socket, "cat"), "read(fd 0: socket tcp " + listener.Addr().String() + ")"},
	} {
		// What Look reads is read one after another, while the process may still be on its way.
		testkit.Eventually(t, c.want+", asleep", func() bool {
			k := Look(c.pid)
			return k != nil && k.Syscall == c.want && k.Wchan != "" && strings.HasPrefix(k.State, "S") && (!hasStacks || len(k.Stack) > 0)
		})
	}
	if k := Look(1 << 30); k != nil {
		t.Errorf("no such process: %+v", k)
	}
}

func TestCalls(t *testing.T) {
	for text, want := range map[string]string{
		"running\n":            noCall,
		"-1 0x7ffe 0x7f00\n":   "",
		"":                     "",
		"99999 0x1 0x2\n":      "number 99999",
		"x\n":                  "",
		"0 0xffffff9c 0x1 0x1": map[bool]string{true: "read", false: ""}[calls[0].name == "read"],
	} {
		if want == "" && strings.HasPrefix(text, "0 ") {
			continue // another machine
		}
		if got := describeCall(os.Getpid(), text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if !littleEndian {
		t.Skip("the addresses below are those of a little-endian machine")
	}
	for text, want := range map[string]string{
		"0100007F:0CEA": "127.0.0.1:3306", "0000000000000000FFFF00000100007F:0050": "127.0.0.1:80",
		"B80D01200000000000000000010000 00:01BB": "invalid AddrPort", "": "invalid AddrPort", "0100007F": "invalid AddrPort",
		"B80D0120000000000000000001000000:01BB": "[2001:db8::1]:443",
	} {
		if got := parseAddress(text).String(); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	if got := parseStack("[<0>] do_wait+0x1/0x2\n[<0>] kernel_wait4+0x1/0x2\nrubbish\n"); fmt.Sprint(got) != "[do_wait kernel_wait4]" {
		t.Errorf("%q", got)
	}
}

// A signal without a handler would end the process: it is not sent.
func TestOnlyHandledSignalsAreSent(t *testing.T) {
	for text, want := range map[string]bool{
		"SigCgt:\t0000000000000008\nSigBlk:\t0000000000000000\n": true,
		"SigCgt:\t0000000000000008\nSigBlk:\t0000000000000008\n": false,
		"SigCgt:\t0000000000000000\nSigBlk:\t0000000000000000\n": false,
		"SigBlk:\t0000000000000000\n":                            false,
		"SigCgt:\t0000000000000008\nSigBlk:\trubbish\n":          false,
	} {
		if _, d := parseStatus([]byte(text)); d.caught(syscall.SIGILL) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
	pid := begin(t, nil, "sleep", "1000")
	asleep := func() bool { k := Look(pid); return k != nil && strings.HasPrefix(k.State, "S") }
	testkit.Eventually(t, "it to sleep", asleep)
	var inbox Inbox
	start := time.Now()
	h := Examine(Process{PID: pid, Inbox: &inbox, HasEnded: func() bool { return false }})
	if h.NoPerl != "it has no handler" || h.Kernel == nil || time.Since(start) > testkit.Patience/2 {
		t.Errorf("%+v", h)
	}
	if !asleep() {
		t.Error("the process has not survived it")
	}
	if h := Examine(Process{PID: pid, Inbox: &inbox, HasEnded: func() bool { return true }}); h.Kernel != nil || h.NoPerl != "it has ended" {
		t.Errorf("one that has ended: %+v", h)
	}
}

// A process that keeps silent is waited for as long as Patience says, and not at all in a hurry.
func TestASilentProcessIsNotWaitedFor(t *testing.T) {
	pid := begin(t, nil, "perl", "-e", `$SIG{ILL} = $SIG{NUM60} = sub { }; sleep 1 while 1`)
	testkit.Eventually(t, "its handlers", func() bool { _, d := look(pid); return d.caught(syscall.SIGILL) && d.caught(gentleSignal) })
	var inbox Inbox
	p := Process{PID: pid, Inbox: &inbox, HasEnded: func() bool { return false }}
	start := time.Now()
	if h := Examine(p); !strings.Contains(h.NoPerl, "has not answered") {
		t.Errorf("%+v", h)
	}
	if took := time.Since(start); took < Patience-time.Millisecond || took > testkit.Patience/2 {
		t.Errorf("it took %v", took)
	}
	hurry := make(chan struct{})
	close(hurry)
	p.Hurry = hurry
	if h := Examine(p); h.NoPerl != "there was no time" {
		t.Errorf("%+v", h)
	}
}
