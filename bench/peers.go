package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
)

// The contestants. Each benchmark takes those that it compares.
var (
	ours         = contestant{name: "pagi-bridge", start: startOurs}
	nginxUWSGI   = contestant{name: "nginx+uwsgi", needs: []string{"nginx", "uwsgi"}, start: startUWSGI}
	nginxStarman = contestant{name: "nginx+starman", needs: []string{"nginx", "starman"}, start: startNginxStarman}
	starman      = contestant{name: "starman", needs: []string{"starman"}, start: startStarman}
	// A keep-alive connection holds a Starman worker. Without keep-alive it serves
	// any number of connections, one request each.
	starmanClosing = contestant{name: "starman, no keep-alive", needs: []string{"starman"}, start: startStarmanClosing}
	modPerl        = contestant{name: "mod_perl", needs: []string{"apache2"}, modules: []string{"Plack::Handler::Apache2"}, start: startModPerl}
	feersum        = contestant{name: "feersum", needs: []string{"feersum"}, start: startFeersum}
	// No Perl at all: the upper limit of this machine and net/http.
	bareGo = contestant{name: "net/http", start: startBareGo}
)

func startOurs(b *bench, s setup) ([]*exec.Cmd, error) { return launch(b.gateway(s)) }

// gateway is the command with its own number of workers, unless the setup has one.
func (b *bench) gateway(s setup) *exec.Cmd {
	args := []string{"-q", "--no-access-log", "-E", "deployment", "-p", fmt.Sprint(s.port)}
	if s.workers > 0 {
		args = append(args, "-w", fmt.Sprint(s.workers))
	}
	if s.preload {
		args = append(args, "--preload")
	}
	return exec.Command(b.binary, append(args, s.app)...)
}

// starmanCommand listens at an address or a socket's path.
func starmanCommand(s setup, listen string, more ...string) *exec.Cmd {
	args := append([]string{"--workers", fmt.Sprint(s.workers), "--listen", listen, "-E", "deployment", "--disable-proctitle"}, more...)
	if s.preload {
		args = append(args, "--preload-app")
	}
	return exec.Command("starman", append(args, s.app)...)
}

func startStarman(_ *bench, s setup) ([]*exec.Cmd, error) {
	return launch(starmanCommand(s, s.address()))
}

func startStarmanClosing(_ *bench, s setup) ([]*exec.Cmd, error) {
	return launch(starmanCommand(s, s.address(), "--disable-keepalive"))
}

// startUWSGI always preloads the application, because uWSGI does so by itself. uWSGI's queue holds 100 connections by
// default. Those of clients that have left stay in it until their turn comes, and nginx answers 502 when it is full.
func startUWSGI(b *bench, s setup) ([]*exec.Cmd, error) {
	socket := filepath.Join(b.dir, fmt.Sprintf("uwsgi-%d.sock", s.port))
	nginx, err := b.nginx(s, fmt.Sprintf(`location / { include /etc/nginx/uwsgi_params; uwsgi_modifier1 5; uwsgi_pass unix:%s; }`, socket), "")
	if err != nil {
		return nil, err
	}
	return launch(exec.Command("uwsgi", "--plugins", "psgi", "--socket", socket, "--psgi", s.app, "--master",
		"--processes", fmt.Sprint(s.workers), "--disable-logging", "--die-on-term", "--need-app", "--listen", "1024"), nginx)
}

func startNginxStarman(b *bench, s setup) ([]*exec.Cmd, error) {
	socket := filepath.Join(b.dir, fmt.Sprintf("starman-%d.sock", s.port))
	nginx, err := b.nginx(s, `location / { proxy_pass http://app; proxy_set_header Host $host; }`,
		fmt.Sprintf("upstream app { server unix:%s; }", socket))
	if err != nil {
		return nil, err
	}
	return launch(starmanCommand(s, socket), nginx)
}

// nginx returns a command that runs nginx with one location. It runs as the user of this process,
// so that it can open sockets in the benchmark's directory.
func (b *bench) nginx(s setup, location, global string) (*exec.Cmd, error) {
	path, err := b.write(fmt.Sprintf("nginx-%d.conf", s.port), fmt.Sprintf(`user root; worker_processes 2; daemon off; pid %[1]s/nginx-%[2]d.pid; error_log %[1]s/nginx.log crit;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 100000000; client_max_body_size 0; client_body_temp_path %[1]s;
  %[4]s
  server { listen 127.0.0.1:%[2]d; %[3]s }
}`, b.dir, s.port, location, global))
	return exec.Command("nginx", "-c", path), err
}

// startModPerl runs Apache with one process per connection, which is how
// mpm_prefork works: workers is the number of both.
func startModPerl(b *bench, s setup) ([]*exec.Cmd, error) {
	path, err := b.write(fmt.Sprintf("apache-%d.conf", s.port), fmt.Sprintf(`
LoadModule mpm_prefork_module /usr/lib/apache2/modules/mod_mpm_prefork.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule perl_module /usr/lib/apache2/modules/mod_perl.so
User www-data
Group www-data
ServerName localhost
DefaultRuntimeDir %[1]s
PidFile %[1]s/apache-%[2]d.pid
ErrorLog %[1]s/apache-%[2]d.log
Listen 127.0.0.1:%[2]d
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 300
StartServers %[3]d
MinSpareServers 1
MaxSpareServers %[3]d
ServerLimit %[3]d
MaxRequestWorkers %[3]d
MaxConnectionsPerChild 0
PerlModule Plack::Handler::Apache2
<Perl>
  Plack::Handler::Apache2->preload('%[4]s');
</Perl>
<Location />
  SetHandler perl-script
  PerlResponseHandler Plack::Handler::Apache2
  PerlSetVar psgi_app %[4]s
</Location>
`, b.dir, s.port, s.workers, s.app))
	if err != nil {
		return nil, err
	}
	return launch(exec.Command("apache2", "-d", b.dir, "-f", path, "-D", "FOREGROUND"))
}

func startFeersum(_ *bench, s setup) ([]*exec.Cmd, error) {
	return launch(exec.Command("feersum", "--listen", s.address(), fmt.Sprintf("--pre-fork=%d", s.workers), "-E", "deployment", s.app))
}

func startBareGo(b *bench, s setup) ([]*exec.Cmd, error) {
	binary := filepath.Join(b.dir, "bare")
	if err := b.build(binary, "./bench/bare"); err != nil {
		return nil, err
	}
	return launch(exec.Command(binary, s.address()))
}
