package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// contestant is a server of PSGI applications over HTTP.
type contestant struct {
	name string
	// needs are the programs it is made of, modules the Perl modules.
	needs, modules []string
	// variable is the environment variable that names its directory or script; "" means it has none.
	variable string
	// start starts it and returns its processes, the one that listens last.
	start func(b *bench, s setup) ([]*exec.Cmd, error)
	// ready is the path that answers 200 when it serves; "" means /.
	ready string
}

// using returns a contestant that also needs a Perl module.
func using(module string, c contestant) contestant {
	c.modules = append(slices.Clone(c.modules), module)
	return c
}

// setup is the configuration with which a contestant is started.
type setup struct {
	app     string // the application's file
	port    int    // on 127.0.0.1
	workers int
	preload bool // processes are forked from one that has loaded the application
}

// address is the address at which the contestant listens.
func (s setup) address() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// launch starts commands, each in a process group of its own. They end with this process, even when
// it is killed (on Linux).
func launch(commands ...*exec.Cmd) ([]*exec.Cmd, error) {
	for i, cmd := range commands {
		cmd.SysProcAttr = procAttr()
		if cmd.Stderr == nil {
			cmd.Stderr = io.Discard
		}
		if os.Getenv("BENCH_VERBOSE") != "" {
			cmd.Stderr = os.Stderr
		}
		if err := cmd.Start(); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", cmd.Path, err), halt(commands[:i]))
		}
	}
	return commands, nil
}

// halt ends processes and their groups. One that has not ended 5 seconds after TERM gets it again, which forces a gateway, and
// KILL after 5 more.
func halt(commands []*exec.Cmd) error {
	for _, cmd := range slices.Backward(commands) {
		done := make(chan struct{})
		go func() {
			_ = cmd.Wait() // it is told to end; its exit status does not matter
			close(done)
		}()
	signals:
		for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM, syscall.SIGKILL} {
			if err := syscall.Kill(-cmd.Process.Pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
			select {
			case <-done:
				break signals
			case <-time.After(5 * time.Second):
			}
		}
		<-done
	}
	return nil
}

// isHere reports whether a contestant was asked for and can run. It prints the name of one that
// cannot run.
func (b *bench) isHere(c contestant) bool {
	if len(b.contests) > 0 && !slices.Contains(b.contests, c.name) {
		return false
	}
	if what := c.lacks(); what != "" {
		fmt.Printf("(%s is left out: %s)\n\n", c.name, what)
		return false
	}
	return true
}

// lacks says what a contestant needs and is not here, or "".
func (c *contestant) lacks() string {
	for _, program := range c.needs {
		if _, err := exec.LookPath(program); err != nil {
			return "no " + program
		}
	}
	for _, module := range c.modules {
		if err := exec.Command("perl", "-M"+module, "-e", "1").Run(); err != nil {
			return "no Perl module " + module
		}
	}
	if c.variable != "" && os.Getenv(c.variable) == "" {
		return c.variable + " is not set (go doc ./bench)"
	}
	return ""
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// serve starts a contestant, waits until it answers with 200, calls use with its
// URL and processes, and ends it.
func (b *bench) serve(c contestant, s setup, use func(url string, processes []*exec.Cmd) error) (err error) {
	port, err := freePort()
	if err != nil {
		return err
	}
	s.port = port
	processes, err := c.start(b, s)
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	defer func() { err = errors.Join(err, halt(processes)) }()
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	if err := waitUntilServing(url + c.ready); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return use(url, processes)
}

func waitUntilServing(url string) error {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	var last error
	for range 200 {
		res, err := client.Get(url)
		if err == nil {
			err = res.Body.Close()
			if res.StatusCode == 200 {
				return err
			}
			err = fmt.Errorf("it answers %s", res.Status)
		}
		last = err
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("it does not serve: %w", last)
}
