package adapters

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/proc"
)

// child is an adapter's process that this gateway starts. It is go-plugin's runner.Runner: go-plugin reads the first line
// of the output, which has the adapter's address.
type child struct {
	cmd   *exec.Cmd
	hello io.ReadCloser
	ended chan struct{}              // closed when it has ended
	check func(address string) error // reports an address that is not its own
	// exit is how, and succeeded whether it had finished; valid after ended.
	exit      string
	succeeded bool

	mu      sync.Mutex
	running bool
	refused bool // it must not be started any more
}

// setEnv adds the variables of go-plugin.
func (c *child) setEnv(env []string) { c.cmd.Env = append(c.cmd.Env, env...) }

// Start implements runner.Runner.
func (c *child) Start(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused {
		return errors.New("it is not to be started any more")
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.cmd.Start(); err != nil {
		return err
	}
	c.running = true
	// Only the first line is for go-plugin. The rest, which no adapter should print, is read so that it never blocks.
	line, hello := io.Pipe()
	c.hello = line
	go func() {
		lines := bufio.NewReader(out)
		first, err := lines.ReadString('\n')
		_, _ = io.WriteString(hello, first) // go-plugin may have given up
		_ = hello.CloseWithError(err)       // which never fails
		_, _ = io.Copy(io.Discard, lines)   // until wait closes it
	}()
	go c.wait(out)
	return nil
}

// wait waits for the end of the process. What it has started may hold its output open for longer.
func (c *child) wait(out io.Closer) {
	state, err := c.cmd.Process.Wait()
	if err != nil {
		c.exit = err.Error()
	} else {
		c.exit, c.succeeded = state.String(), state.Success()
	}
	_ = out.Close() // only read from
	close(c.ended)
}

// pid is its number, 0 before Start.
func (c *child) pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.running {
		return 0
	}
	return c.cmd.Process.Pid
}

// kill ends it and its group.
func (c *child) kill() {
	c.mu.Lock()
	c.refused = true
	running := c.running
	c.mu.Unlock()
	if running {
		proc.Group(c.cmd.Process.Pid).Signal(syscall.SIGKILL)
		<-c.ended
	}
}

// end tells it to end, and kills it after grace.
func (c *child) end(grace time.Duration) {
	c.mu.Lock()
	c.refused = true
	running := c.running
	c.mu.Unlock()
	if !running {
		return
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case <-c.ended:
	case <-late.C:
		c.kill()
	}
}

// Wait implements runner.Runner.
func (c *child) Wait(context.Context) error {
	<-c.ended
	if c.succeeded {
		return nil
	}
	return errors.New(c.exit)
}

// Kill implements runner.Runner.
func (c *child) Kill(context.Context) error {
	c.kill()
	return nil
}

// Stdout implements runner.Runner.
func (c *child) Stdout() io.ReadCloser { return c.hello }

// Stderr implements runner.Runner. The adapter writes to the gateway's own standard error.
func (c *child) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name implements runner.Runner.
func (c *child) Name() string { return c.cmd.Path }

// ID implements runner.Runner.
func (c *child) ID() string { return strconv.Itoa(c.pid()) }

// Diagnose implements runner.Runner.
func (c *child) Diagnose(context.Context) string { return "what it has printed is above" }

// PluginToHost implements runner.Runner.
func (c *child) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" {
		return "", "", errors.New("the adapter listens at " + network + " " + address)
	}
	return network, address, c.check(address)
}

// HostToPlugin implements runner.Runner.
func (c *child) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
