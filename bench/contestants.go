package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// contestant is something that serves a PSGI application over HTTP.
type contestant struct {
	name string
	// needs are the programs it is made of.
	needs []string
	// start starts it at a port and returns its processes.
	start func(b *bench, app string, port int) ([]*exec.Cmd, error)
	// ready is the path that answers 200 when it serves; "" means /.
	ready string
	// connections limits how many it is measured with; 0 means no limit.
	connections func(b *bench) int
}

var contestants = []contestant{
	{name: "pagi-bridge", start: startOurs},
	{name: "nginx+uwsgi", needs: []string{"nginx", "uwsgi"}, start: startUWSGI},
	{name: "nginx+starman", needs: []string{"nginx", "starman"}, start: startNginxStarman},
	// A keep-alive connection holds a Starman worker, so it is given as many as it can serve.
	{name: "starman", needs: []string{"starman"}, start: startStarman, connections: func(b *bench) int { return b.workers }},
}

func startOurs(b *bench, app string, port int) ([]*exec.Cmd, error) {
	cmd := exec.Command(b.binary, "-q", "--no-access-log", "-E", "deployment", "-p", fmt.Sprint(port), "-w", fmt.Sprint(b.workers), app)
	return launch(cmd)
}

func startStarman(b *bench, app string, port int) ([]*exec.Cmd, error) {
	return launch(exec.Command("starman", "--workers", fmt.Sprint(b.workers), "--listen", fmt.Sprintf("127.0.0.1:%d", port),
		"-E", "deployment", "--disable-proctitle", app))
}

func startUWSGI(b *bench, app string, port int) ([]*exec.Cmd, error) {
	socket := filepath.Join(b.dir, fmt.Sprintf("uwsgi-%d.sock", port))
	return launch(
		exec.Command("uwsgi", "--plugins", "psgi", "--socket", socket, "--psgi", app, "--master",
			"--processes", fmt.Sprint(b.workers), "--disable-logging", "--die-on-term"),
		b.nginx(port, fmt.Sprintf(`location / { include /etc/nginx/uwsgi_params; uwsgi_modifier1 5; uwsgi_pass unix:%s; }`, socket), ""),
	)
}

func startNginxStarman(b *bench, app string, port int) ([]*exec.Cmd, error) {
	socket := filepath.Join(b.dir, fmt.Sprintf("starman-%d.sock", port))
	return launch(
		exec.Command("starman", "--workers", fmt.Sprint(b.workers), "--listen", socket, "-E", "deployment", "--disable-proctitle", app),
		b.nginx(port, `location / { proxy_pass http://app; proxy_set_header Host $host; }`,
			fmt.Sprintf("upstream app { server unix:%s; }", socket)),
	)
}

// nginx returns a command that runs nginx with one location.
func (b *bench) nginx(port int, location, global string) *exec.Cmd {
	conf := fmt.Sprintf(`user root; worker_processes 2; daemon off; pid %[1]s/nginx-%[2]d.pid; error_log %[1]s/nginx.log crit;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 100000000; client_max_body_size 0; client_body_temp_path %[1]s;
  %[4]s
  server { listen 127.0.0.1:%[2]d; %[3]s }
}`, b.dir, port, location, global)
	path, err := b.write(fmt.Sprintf("nginx-%d.conf", port), conf)
	cmd := exec.Command("nginx", "-c", path)
	if err != nil {
		cmd.Err = err
	}
	return cmd
}

// launch starts commands, each in a process group of its own.
func launch(commands ...*exec.Cmd) ([]*exec.Cmd, error) {
	for i, cmd := range commands {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Stderr = io.Discard
		if os.Getenv("BENCH_VERBOSE") != "" {
			cmd.Stderr = os.Stderr
		}
		if err := cmd.Start(); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", cmd.Path, err), halt(commands[:i]))
		}
	}
	return commands, nil
}

// halt ends processes and their groups.
func halt(commands []*exec.Cmd) error {
	for i := len(commands) - 1; i >= 0; i-- {
		cmd := commands[i]
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
		done := make(chan struct{})
		go func() {
			_ = cmd.Wait() // it was told to end; how it did is of no interest
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
				return err
			}
			<-done
		}
	}
	return nil
}

// available returns the contestants that can run here; the others are named.
func (b *bench) available() []contestant {
	var list []contestant
next:
	for _, c := range contestants {
		if len(b.contests) > 0 && !contains(b.contests, c.name) {
			continue
		}
		for _, program := range c.needs {
			if _, err := exec.LookPath(program); err != nil {
				fmt.Printf("(%s is left out: no %s)\n", c.name, program)
				continue next
			}
		}
		list = append(list, c)
	}
	return list
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
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
func (b *bench) serve(c contestant, app string, use func(url string, processes []*exec.Cmd) error) (err error) {
	port, err := freePort()
	if err != nil {
		return err
	}
	processes, err := c.start(b, app, port)
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
	for range 100 {
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
