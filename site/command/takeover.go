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

	"github.com/pagi-go/pagi-bridge/plugin/adapters"
	"github.com/pagi-go/pagi-bridge/server"
)

// How one process of the gateway starts another one, to run in the background or to replace it. The
// new process finds in an environment variable which descriptors it was given. On one of them it
// reports that it serves, or why it cannot.
//
//	old: start ──────────> new: adopt the sockets, start the applications
//	old: wait <── "ready"  new: serve
//	old: drain, end

// takeoverVariable holds a takeover in JSON.
const takeoverVariable = "PAGI_BRIDGE_TAKEOVER"

// killAfter is how long a new process may take to end when its start is given up.
const killAfter = 10 * time.Second

// firstDescriptor is the first descriptor after the standard streams.
const firstDescriptor = 3

// takeover describes what a process got from the process that started it. Descriptor 3 is for the
// answer; the sockets follow from 4 on, and then the pid file.
type takeover struct {
	// Passed describes the sockets.
	Passed []passed `json:"sockets,omitempty"`
	// Background is set for a process that runs in the background.
	Background bool `json:"background,omitempty"`
	// Predecessor is the process that is replaced; 0: none.
	Predecessor int `json:"predecessor,omitempty"`
	// Adapters are those of the predecessor.
	Adapters []adapters.State `json:"adapters,omitempty"`
	// PidFile says that the predecessor's pid file was passed, and with it the lock.
	PidFile bool `json:"pid_file,omitempty"`
	// Beside says that a pipe was passed that ends when the predecessor has ended its services and jobs.
	Beside bool `json:"beside,omitempty"`

	sockets []server.Socket
	pidFile *os.File // nil: none was passed
	beside  *os.File // nil: none was passed
	answer  *os.File
}

// passed is a server.Socket without its file.
type passed struct {
	Place   string `json:"place,omitempty"`
	Name    string `json:"name,omitempty"`
	Foreign bool   `json:"foreign,omitempty"`
}

// receiveTakeover returns this process's takeover, once; nil if there is none.
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
	if t.Beside {
		fd := firstDescriptor + 1 + len(t.Passed)
		if t.PidFile {
			fd++
		}
		t.beside = inherit(fd, "services")
	}
	return t, nil
}

// adapters returns the adapters of the predecessor.
func (t *takeover) adapters() []adapters.State {
	if t == nil {
		return nil
	}
	return t.Adapters
}

// replaces reports whether this process replaces another one.
func (t *takeover) replaces() bool { return t != nil && t.Predecessor != 0 }

// ended returns a channel that is closed when the predecessor has ended its services and jobs; nil for none. It is called once.
func (t *takeover) ended() <-chan struct{} {
	if t == nil || t.beside == nil {
		return nil
	}
	done := make(chan struct{})
	go func() { // it ends with the predecessor
		defer close(done)
		_, _ = t.beside.Read(make([]byte, 1)) // nothing is ever written
		_ = t.beside.Close()                  // only read from
	}()
	return done
}

// takePidFile returns the pid file that was passed, once, and the process that owns it.
func (t *takeover) takePidFile() (*os.File, int) {
	if t == nil {
		return nil, 0
	}
	file := t.pidFile
	t.pidFile = nil
	return file, t.Predecessor
}

// tell answers the waiting process: "" means that this process is ready.
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

// detach detaches a background process from the terminal at which it was started.
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
	killAfter time.Duration // 0: the constant of that name
}

// start starts another process of this program, passes it sockets, whose files it closes, and waits
// until it serves. After an error the new process has ended. When ctx ends start tells the process
// to end, and kills it if it does not.
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
	if t.beside != nil {
		t.Beside = true
		cmd.ExtraFiles = append(cmd.ExtraFiles, t.beside)
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
		_ = cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended
		return time.AfterFunc(cmp.Or(l.killAfter, killAfter), func() {
			_ = cmd.Process.Kill()               // an error means that it has ended
			_ = read.SetReadDeadline(time.Now()) // its children may still have the other end open
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
		answer = "the new process ended before it served: " + waited.Error()
	case answer == "":
		answer = "it ended before it served"
	}
	return 0, &startError{answer, cmd.ProcessState.ExitCode()}
}

// startError is the reason why a process could not be started.
type startError struct {
	message string
	code    int // the exit code of the process
}

func (e *startError) Error() string { return e.message }
