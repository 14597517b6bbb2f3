package command

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pagi-go/pagi-bridge/server"
)

// How one process of the gateway starts another one, which is to go into the
// background or to take its place: the new one finds in an environment variable what
// descriptors it was given, and says on one of them that it serves, or why it cannot.
//
//	old: start ──────────> new: adopt the sockets, start the applications
//	old: wait <── "ready"  new: serve
//	old: drain, end

// takeoverVariable holds a takeover in JSON.
const takeoverVariable = "PAGI_BRIDGE_TAKEOVER"

// killAfter is how long a process that is not to be started after all may take to end.
const killAfter = 10 * time.Second

// firstDescriptor is that of what a process is given beside its standard streams.
const firstDescriptor = 3

// takeover is what a process was given by the one that started it. It answers on
// descriptor 3; the sockets follow from 4 on, and then the pid file.
type takeover struct {
	// Passed says what the sockets are.
	Passed []passed `json:"sockets,omitempty"`
	// Background is set in a process that goes into the background.
	Background bool `json:"background,omitempty"`
	// Predecessor is the process whose place is taken; 0: none.
	Predecessor int `json:"predecessor,omitempty"`
	// PidFile says that its pid file was passed, and with it the lock.
	PidFile bool `json:"pid_file,omitempty"`

	sockets []server.Socket
	pidFile *os.File // nil: none was passed
	answer  *os.File
}

// passed is a server.Socket without its file.
type passed struct {
	Place   string `json:"place,omitempty"`
	Name    string `json:"name,omitempty"`
	Foreign bool   `json:"foreign,omitempty"`
}

// receiveTakeover returns what this process was given, once; nil for nothing.
func receiveTakeover() (*takeover, error) {
	text, ok := os.LookupEnv(takeoverVariable)
	if !ok {
		return nil, nil
	}
	if err := os.Unsetenv(takeoverVariable); err != nil {
		return nil, err
	}
	t := &takeover{}
	if err := json.Unmarshal([]byte(text), t); err != nil {
		return nil, fmt.Errorf("%s: %w", takeoverVariable, err)
	}
	inherit := func(fd int, name string) *os.File {
		unix.CloseOnExec(fd)
		return os.NewFile(uintptr(fd), name)
	}
	t.answer = inherit(firstDescriptor, "answer")
	for i, s := range t.Passed {
		file := inherit(firstDescriptor+1+i, s.Place)
		t.sockets = append(t.sockets, server.Socket{Place: s.Place, Name: s.Name, Foreign: s.Foreign, File: file})
	}
	if t.PidFile {
		t.pidFile = inherit(firstDescriptor+1+len(t.Passed), "pid file")
	}
	return t, nil
}

// replaces reports whether this process takes another one's place.
func (t *takeover) replaces() bool { return t != nil && t.Predecessor != 0 }

// takePidFile returns the pid file that was passed, once, and whose it is.
func (t *takeover) takePidFile() (*os.File, int) {
	if t == nil {
		return nil, 0
	}
	file := t.pidFile
	t.pidFile = nil
	return file, t.Predecessor
}

// tell answers the process that waits: "" stands for being ready.
func (t *takeover) tell(problem string) error {
	if t == nil || t.answer == nil {
		return nil
	}
	if problem == "" {
		problem = "ready"
	}
	_, err := io.WriteString(t.answer, strings.ReplaceAll(problem, "\n", "; ")+"\n")
	err = errors.Join(err, t.answer.Close())
	t.answer = nil
	return err
}

// detach leaves the terminal a process in the background was started at.
func (t *takeover) detach() error {
	if t == nil || !t.Background {
		return nil
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	for fd := range 3 {
		if err := unix.Dup2(int(null.Fd()), fd); err != nil {
			return fmt.Errorf("detach from the terminal: %w", err)
		}
	}
	return null.Close()
}

// launcher starts this program again.
type launcher struct {
	program   string
	args, env []string
	killAfter time.Duration // 0: the constant
}

// start starts another process of this program, passes it sockets, whose files it
// closes, and waits until it serves. On an error there is no such process any more. When
// ctx ends it is told to end, and killed if it does not.
func (l *launcher) start(ctx context.Context, t *takeover, sockets []server.Socket, setUp func(*exec.Cmd)) (pid int, err error) {
	defer func() {
		for _, s := range sockets {
			err = errors.Join(err, s.File.Close())
		}
	}()
	read, write, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer func() { _ = read.Close() }() // only read from
	cmd := exec.Command(l.program, l.args...)
	cmd.ExtraFiles = []*os.File{write}
	for _, s := range sockets {
		t.Passed = append(t.Passed, passed{s.Place, s.Name, s.Foreign})
		cmd.ExtraFiles = append(cmd.ExtraFiles, s.File)
	}
	if t.pidFile != nil {
		t.PidFile = true
		cmd.ExtraFiles = append(cmd.ExtraFiles, t.pidFile)
	}
	text, err := json.Marshal(t)
	if err != nil {
		return 0, errors.Join(err, write.Close())
	}
	cmd.Env = append(append([]string(nil), l.env...), takeoverVariable+"="+string(text))
	setUp(cmd)
	if err := errors.Join(cmd.Start(), write.Close()); err != nil {
		return 0, err
	}
	end := sync.OnceValue(func() *time.Timer {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it has ended, or it hears
		return time.AfterFunc(cmp.Or(l.killAfter, killAfter), func() {
			_ = cmd.Process.Kill()               // it has ended, or it does now
			_ = read.SetReadDeadline(time.Now()) // its children may have the other end, too
		})
	})
	stop := context.AfterFunc(ctx, func() { end() })
	answer, err := bufio.NewReader(read).ReadString('\n')
	answer = strings.TrimSpace(answer)
	if stop() && answer == "ready" {
		pid := cmd.Process.Pid
		return pid, cmd.Process.Release()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		answer = err.Error()
	}
	kill := end()
	waited := cmd.Wait()
	kill.Stop()
	switch {
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	case answer == "" && waited != nil:
		answer = "it ended before it served: " + waited.Error()
	case answer == "":
		answer = "it ended before it served"
	}
	return 0, &startError{answer, cmd.ProcessState.ExitCode()}
}

// startError is why a process could not be started.
type startError struct {
	message string
	code    int // it ended with
}

func (e *startError) Error() string { return e.message }
