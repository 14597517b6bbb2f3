package fakeworker

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	ossignal "os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

// The zygote of this file cannot fork. It starts the fake worker, and gives it its token once the
// gateway knows the process. FAKE_ZYGOTE names the fault of the zygote: a word, or a word, a colon
// and a file that must exist for the fault to show.

type fakeZygote struct {
	fake
	socket string
	fault  string
	file   string
	mu     sync.Mutex // held while a frame is written
	silent bool
	alive  atomic.Int64 // the number of running children
}

// is reports whether the fault is to show now.
func (z *fakeZygote) is(fault string) bool {
	if z.fault != fault {
		return false
	}
	_, err := os.Stat(z.file)
	return z.file == "" || err == nil
}

func (z *fakeZygote) say(t wire.Type, payload []byte) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.put(t, 0, 0, payload)
}

func runFakeZygote(config map[string]string, mode string) error {
	conn, err := net.Dial("unix", config["socket"])
	if err != nil {
		return err
	}
	z := &fakeZygote{fake: fake{conn: conn, frames: bufio.NewReader(conn)}, socket: config["socket"]}
	z.fault, z.file, _ = strings.Cut(mode, ":")
	role, version := wire.RoleZygote, uint16(wire.Version)
	switch {
	case z.is("no role"):
		role = ""
	case z.is("wrong version"):
		version = 99
	case z.is("no start"):
		fmt.Fprintln(os.Stderr, "cannot find my boots")
		os.Exit(9)
	}
	z.hello(version, config["token"], role)
	switch {
	case z.is("failed"):
		z.say(wire.Failed, []byte("no app today\n"))
		return nil
	case z.is("failed and stays"):
		z.say(wire.Failed, []byte("no app today\n"))
		time.Sleep(time.Hour)
	case z.is("silent"):
		ossignal.Ignore(syscall.SIGTERM)
		time.Sleep(time.Hour)
	case z.is("ends when ready"):
		z.say(wire.Ready, nil)
		os.Exit(5)
	}
	fmt.Println("loaded")
	z.say(wire.Ready, nil)
	usr1 := make(chan os.Signal, 1)
	ossignal.Notify(usr1, syscall.SIGUSR1)
	go func() {
		for range usr1 {
			z.misbehave()
		}
	}()
	for {
		frame, err := wire.ReadFrame(z.frames, nil)
		if err != nil {
			return nil // the gateway has gone
		}
		if frame.Type == wire.Drain {
			fmt.Printf("drained with %d children\n", z.alive.Load())
			return nil
		}
		if err := z.fork(decodePairs(frame.Payload)); err != nil {
			return err
		}
	}
}

// misbehave sends frames that a zygote must not send.
func (z *fakeZygote) misbehave() {
	number := func(n ...int) (p []byte) {
		for _, n := range n {
			p = binary.BigEndian.AppendUint32(p, uint32(n))
		}
		return p
	}
	switch z.fault {
	case "garbage":
		z.mu.Lock()
		_, _ = z.conn.Write([]byte("HTTP/1.1 200 OK\r\n\r\nhello"))
		z.mu.Unlock()
	case "unknown frame":
		z.say(0x77, nil)
	case "an answer":
		z.reply(1, "hello")
	case "ready twice":
		z.say(wire.Ready, nil)
	case "unknown child":
		z.say(wire.Exited, number(os.Getpid(), 0))
	case "malformed":
		z.say(wire.Exited, []byte{1})
	case "unasked fork":
		z.say(wire.Forked, append(number(os.Getpid(), 1), 'x'))
	}
}

func (z *fakeZygote) fork(config map[string]string) error {
	switch {
	case z.is("dies on fork"):
		os.Exit(3)
	case z.is("hangs on fork"):
		ossignal.Ignore(syscall.SIGTERM)
		time.Sleep(time.Hour)
	case z.is("cannot fork"):
		z.say(wire.Forked, append(forkedPayload(0, config["token"]), "no memory today"...))
		return nil
	case z.is("says pid 1"):
		z.say(wire.Forked, forkedPayload(1, config["token"]))
		return nil
	case z.is("says the gateway's pid"):
		z.say(wire.Forked, forkedPayload(os.Getppid(), config["token"]))
		return nil
	case z.is("says its own pid"):
		z.say(wire.Forked, forkedPayload(os.Getpid(), config["token"]))
		return nil
	case z.is("keeps silent"):
		z.silent = true
	}
	out, err := os.OpenFile(config["output"], os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	cmd := exec.Command(os.Args[0])
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return err
	}
	z.alive.Add(1)
	if err := out.Close(); err != nil {
		return err
	}
	if z.is("dies after fork") {
		os.Exit(3)
	}
	announced := cmd.Process.Pid
	if z.is("announces another") { // it announces a child that does not connect
		other := exec.Command("sleep", "3600")
		other.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := other.Start(); err != nil {
			return err
		}
		announced = other.Process.Pid
		go func() { z.report(other) }()
	}
	z.say(wire.Forked, forkedPayload(announced, config["token"]))
	if _, err := stdin.Write(wire.AppendPairs(nil, "socket", z.socket, "token", config["token"], "listen", config["listen"])); err != nil {
		return err
	}
	if err := stdin.Close(); err != nil {
		return err
	}
	go func() {
		if announced == cmd.Process.Pid {
			z.report(cmd)
		}
	}()
	return nil
}

// report waits for a child and reports how it ended.
func (z *fakeZygote) report(cmd *exec.Cmd) {
	_ = cmd.Wait()
	z.alive.Add(-1)
	if z.silent {
		return
	}
	p := binary.BigEndian.AppendUint32(nil, uint32(cmd.Process.Pid))
	z.say(wire.Exited, binary.BigEndian.AppendUint32(p, uint32(cmd.ProcessState.Sys().(syscall.WaitStatus))))
}

func forkedPayload(pid int, token string) []byte {
	p := binary.BigEndian.AppendUint32(nil, uint32(pid))
	p = binary.BigEndian.AppendUint32(p, uint32(len(token)))
	return append(p, token...)
}
