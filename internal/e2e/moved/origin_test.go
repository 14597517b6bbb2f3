package moved_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// origin is the original server, with the processes behind it.
type origin struct {
	t         *testing.T
	processes []*process
}

// process leads a process group.
type process struct {
	cmd   *exec.Cmd
	name  string
	log   testkit.Log
	ended chan struct{}
}

// startBackend starts the server that stays behind the original server and pagi-bridge.
func (c *movedCase) startBackend(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(c.dir, "backend.sh")); err != nil {
		return
	}
	o := &origin{t: t}
	t.Cleanup(o.stop)
	o.waitFor(o.start(c.dir, "backend.sh", "sh", filepath.Join(c.dir, "backend.sh")), "127.0.0.1:"+c.backend)
}

// startOrigin starts what serves the case at present.
func (c *movedCase) startOrigin(t *testing.T) *origin {
	t.Helper()
	o := &origin{t: t}
	t.Cleanup(o.stop)
	first := c.configs[0]
	for _, name := range c.configs[1:] {
		o.waitFor(o.start(c.dir, name, c.command(t, name)...), c.listens(t, name))
	}
	if first == "site.nginx" && strings.Contains(c.read(t, first), "fcgiwrap.sock") {
		socket := filepath.Join(c.dir, "fcgiwrap.sock")
		o.waitFor(o.start(c.dir, "fcgiwrap", testkit.Tool(t, "fcgiwrap", "fcgiwrap"), "-s", "unix:"+socket), socket)
	}
	addresses := []string{"127.0.0.1:" + c.port}
	if strings.Contains(c.read(t, first), c.tls) {
		addresses = append(addresses, "127.0.0.1:"+c.tls)
	}
	p := o.start(c.dir, first, c.command(t, first)...)
	for _, a := range addresses {
		o.waitFor(p, a)
	}
	return o
}

func (c *movedCase) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var listening = regexp.MustCompile(`127\.0\.0\.1:\d+|/\S+\.sock\b`)

// listens returns where the application of a file listens.
func (c *movedCase) listens(t *testing.T, name string) string {
	t.Helper()
	address := listening.FindString(c.read(t, name))
	if address == "" {
		t.Fatalf("%s names no address", name)
	}
	return address
}

// command is what starts the server of a configuration.
func (c *movedCase) command(t *testing.T, name string) []string {
	t.Helper()
	switch name {
	case "apache.conf":
		apache := testkit.Tool(t, "apache2", "apache2-bin")
		c.write(t, "server.conf", c.apacheMain(t))
		return []string{apache, "-d", c.dir, "-f", filepath.Join(c.dir, "server.conf"), "-D", "FOREGROUND"}
	case "site.nginx":
		nginx := testkit.Tool(t, "nginx", "nginx-light")
		c.write(t, "server.nginx", c.nginxMain())
		return []string{nginx, "-p", c.dir, "-e", filepath.Join(c.dir, "nginx.log"), "-c", filepath.Join(c.dir, "server.nginx")}
	case "app.ini":
		return []string{testkit.Tool(t, "uwsgi", "uwsgi-core"), "--ini", filepath.Join(c.dir, name)}
	case "Procfile":
		_, command, _ := strings.Cut(c.read(t, name), "web:")
		return []string{"sh", "-c", "PORT=" + c.port + "; export PORT; " + strings.TrimSpace(command)}
	case "app.service":
		line := regexp.MustCompile(`(?m)^ExecStart=(.*)$`).FindStringSubmatch(c.read(t, name))
		if line == nil {
			t.Fatal("the unit has no ExecStart")
		}
		environment := regexp.MustCompile(`(?m)^Environment=(.*)$`).FindStringSubmatch(c.read(t, name))
		if environment == nil {
			t.Fatal("the unit has no Environment")
		}
		return []string{"sh", "-c", "export " + environment[1] + "; exec " + line[1]}
	}
	return []string{"sh", filepath.Join(c.dir, name)}
}

// apacheModules are loaded for every case, unless they are not installed.
var apacheModules = strings.Fields(`mpm_event authz_core authz_host authn_core authn_file authz_user auth_basic alias dir mime env setenvif
	rewrite cgid headers expires deflate filter proxy proxy_http autoindex ssl socache_shmcb perl access_compat negotiation`)

// apacheMain is the configuration around that of the case. Import does not read it.
func (c *movedCase) apacheMain(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, m := range apacheModules {
		file := "/usr/lib/apache2/modules/mod_" + m + ".so"
		if _, err := os.Stat(file); err == nil {
			fmt.Fprintf(&b, "LoadModule %s_module %s\n", m, file)
		}
	}
	fmt.Fprintf(&b, "ServerName www.example.org\nDefaultRuntimeDir %s\nPidFile %s/apache.pid\nErrorLog %s/apache.log\nScriptSock %s/cgid.sock\nTypesConfig /etc/mime.types\n", c.dir, c.dir, c.dir, c.dir)
	b.WriteString("LogLevel warn\n<Directory />\nRequire all denied\nAllowOverride None\n</Directory>\n")
	if os.Geteuid() == 0 {
		b.WriteString("User www-data\nGroup www-data\n")
	}
	fmt.Fprintf(&b, "Include %s/apache.conf\n", c.dir)
	return b.String()
}

// nginxMain is the configuration around that of the case. Import does not read it.
func (c *movedCase) nginxMain() string {
	var b strings.Builder
	if os.Geteuid() == 0 {
		b.WriteString("user root;\n")
	}
	fmt.Fprintf(&b, "daemon off;\nworker_processes 1;\npid %s/nginx.pid;\nevents { worker_connections 64; }\nhttp {\n", c.dir)
	b.WriteString("include /etc/nginx/mime.types;\ndefault_type application/octet-stream;\naccess_log off;\n")
	for _, name := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&b, "%s_temp_path %s/temp_%s;\n", name, c.dir, name)
	}
	fmt.Fprintf(&b, "include %s/site.nginx;\n}\n", c.dir)
	return b.String()
}

// start starts a program in a process group of its own.
func (o *origin) start(dir, name string, args ...string) *process {
	o.t.Helper()
	p := &process{cmd: testkit.Command(dir, args[0], args[1:]...), name: name, ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.WaitDelay = time.Second // its children may keep the pipe
	if err := p.cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	o.processes = append(o.processes, p)
	go func() {
		_ = p.cmd.Wait() // how it ends does not matter
		close(p.ended)
	}()
	return p
}

// waitFor waits until a process listens at an address or a socket.
func (o *origin) waitFor(p *process, address string) {
	o.t.Helper()
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	testkit.Eventually(o.t, p.name+" listens at "+address, func() bool {
		select {
		case <-p.ended:
			o.t.Fatalf("%s has ended: %s", p.name, p.log.String())
		default:
		}
		conn, err := net.Dial(network, address)
		if err == nil {
			_ = conn.Close() // nothing was written
		}
		return err == nil
	})
}

// stop ends all processes, the ones in front first. It may be called twice.
func (o *origin) stop() {
	for _, p := range slices.Backward(o.processes) {
		end := syscall.SIGTERM
		if p.name == "app.ini" {
			end = syscall.SIGINT // uWSGI starts anew at a TERM
		}
		if err := syscall.Kill(p.cmd.Process.Pid, end); err != nil && err != syscall.ESRCH {
			o.t.Errorf("%s: %v", p.name, err)
		}
		select {
		case <-p.ended:
		case <-time.After(5 * time.Second):
		}
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // the group has most often ended
		testkit.Await(o.t, p.ended)
		if o.t.Failed() {
			o.t.Logf("%s said:\n%s", p.name, p.log.String())
		}
	}
	o.processes = nil
}
