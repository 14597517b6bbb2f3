package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/proc"
	"github.com/pagi-go/pagi-bridge/internal/sysio"
	"github.com/pagi-go/pagi-bridge/plugin/internal/control"
)

const (
	// maxLine is the longest line of output that becomes one record, in bytes. A longer one becomes several.
	maxLine = 8 << 10
	// lastLines is how many lines of output go into the error of a failed start.
	lastLines = 12
	// outputTime is how long output is still read once the process has ended.
	outputTime = 500 * time.Millisecond
)

// process runs a plugin's program. It is go-plugin's runner.Runner: go-plugin reads the first line of the output, which is
// the plugin's greeting. All other output becomes log records.
type process struct {
	spec      proc.Spec
	dir       string // where its sockets must be
	killAfter time.Duration
	log       *slog.Logger

	hello  *io.PipeReader // the greeting
	greet  *io.PipeWriter
	output sync.WaitGroup
	pipes  []*os.File
	ended  chan struct{} // closed once it has ended and its output was read
	exit   proc.Exit     // valid after ended

	mu      sync.Mutex
	proc    *proc.Process // nil before Start
	refused bool          // it must not be started any more
	last    []string      // the last lines of output
}

func newProcess(spec proc.Spec, dir string, killAfter time.Duration, log *slog.Logger) *process {
	p := &process{spec: spec, dir: dir, killAfter: killAfter, log: log, ended: make(chan struct{})}
	p.hello, p.greet = io.Pipe()
	return p
}

// Start implements runner.Runner.
func (p *process) Start(context.Context) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer func() { _ = null.Close() }() // only read from
	var writers []*os.File
	defer func() {
		for _, w := range writers {
			_ = w.Close() // this process wrote nothing to it
		}
	}()
	for range 2 {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		p.pipes, writers = append(p.pipes, r), append(writers, w)
	}
	p.spec.Files = []uintptr{null.Fd(), writers[0].Fd(), writers[1].Fd()}
	p.spec.DiesWithParent = true
	if err := p.begin(); err != nil {
		for _, r := range p.pipes {
			_ = r.Close() // only read from
		}
		return err
	}
	p.output.Go(func() { p.read(p.pipes[0], p.greet) })
	p.output.Go(func() { p.read(p.pipes[1], nil) })
	go p.reap()
	return nil
}

// begin starts the process, unless end was called already.
func (p *process) begin() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused {
		return errors.New("it is not to be started any more")
	}
	started, err := proc.Start(p.spec)
	if err == nil {
		p.proc = started
	}
	return err
}

// started returns the process, nil before Start.
func (p *process) started() *proc.Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.proc
}

// reap waits for the end of the process, and ends what it has left behind in its group.
func (p *process) reap() {
	exit := p.started().Finish()
	for _, r := range p.pipes { // a process that has left the group may still have them open
		_ = r.SetReadDeadline(time.Now().Add(outputTime)) // pipes of os.Pipe have deadlines
	}
	p.output.Wait()
	p.exit = exit
	close(p.ended)
}

// read makes log records of output. The first line goes to greet instead, if that is not nil.
func (p *process) read(from *os.File, greet *io.PipeWriter) {
	defer func() { _ = from.Close() }() // only read from
	defer func() {
		if greet != nil {
			_ = greet.Close() // which never fails
		}
	}()
	lines := bufio.NewReaderSize(&sysio.PipeReader{File: from}, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		text := strings.TrimRight(string(line), "\r\n")
		switch {
		case greet != nil && len(line) > 0:
			_, _ = io.WriteString(greet, text+"\n") // go-plugin may have given up
			_ = greet.Close()
			greet = nil
			if !strings.Contains(text, "|") {
				p.note(text)
			}
		case text != "":
			p.note(text)
			p.log.Warn(control.Clean(text, maxLine))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// note keeps a line for the error of a failed start.
func (p *process) note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = append(p.last[max(0, len(p.last)-lastLines+1):], text)
}

// words are the last lines of output.
func (p *process) words() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.last, "\n")
}

// hasEnded reports whether it has ended.
func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// end ends it and its group: TERM now, and KILL after grace. It returns when it has ended.
func (p *process) end(grace time.Duration) {
	p.mu.Lock()
	p.refused = true
	started := p.proc
	p.mu.Unlock()
	if started == nil {
		return
	}
	started.End(grace)
	<-p.ended
}

// Wait implements runner.Runner.
func (p *process) Wait(context.Context) error {
	<-p.ended
	if p.exit.Status.Exited() && p.exit.Status.ExitStatus() == 0 {
		return nil
	}
	return errors.New(p.exit.String())
}

// Kill implements runner.Runner.
func (p *process) Kill(context.Context) error {
	p.end(p.killAfter)
	return nil
}

// Stdout implements runner.Runner.
func (p *process) Stdout() io.ReadCloser { return p.hello }

// Stderr implements runner.Runner. Standard error does not pass through go-plugin.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name implements runner.Runner.
func (p *process) Name() string { return p.spec.Path }

// ID implements runner.Runner.
func (p *process) ID() string {
	if started := p.started(); started != nil {
		return strconv.Itoa(started.Pid())
	}
	return ""
}

// Diagnose implements runner.Runner.
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.Runner. It refuses an address of the control plane that is not the plugin's own.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" {
		return "", "", fmt.Errorf("its control plane is at %s %s, and must be at a Unix socket", control.Clean(network, 20), control.Clean(address, 200))
	}
	if err := control.CheckWithin(p.dir, address); err != nil {
		return "", "", fmt.Errorf("its control plane: %w", err)
	}
	return network, address, control.CheckSocket(address, os.Geteuid())
}

// HostToPlugin implements runner.Runner.
func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
