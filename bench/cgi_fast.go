package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
)

// The contestants that keep a Perl script compiled, and pagi-bridge in its modes.
var (
	oursFork       = contestant{name: "pagi-bridge fork", start: startOursFork, ready: cgiReady}
	oursPersistent = contestant{name: "pagi-bridge persistent", start: startOursPersistent, ready: cgiReady}
	registry       = contestant{name: "ModPerl::Registry", needs: []string{"apache2"}, modules: []string{"ModPerl::Registry"}, start: startRegistry, ready: "/cgi-bin/plain.cgi"}
	plackCGI       = contestant{name: "Starman+CGIBin", needs: []string{"starman"}, modules: []string{"Plack::App::CGIBin", "CGI::Compile", "CGI::Emulate::PSGI"}, start: startPlackCGI, ready: "/cgi-bin/plain.cgi"}
)

func startOursFork(b *bench, s setup) ([]*exec.Cmd, error) { return b.cgiSite(s, ", mode: fork") }

func startOursPersistent(b *bench, s setup) ([]*exec.Cmd, error) {
	return b.cgiSite(s, ", mode: persistent")
}

func startRegistry(b *bench, s setup) ([]*exec.Cmd, error) {
	path, err := b.write(fmt.Sprintf("registry-%d.conf", s.port), fmt.Sprintf(`
LoadModule mpm_prefork_module /usr/lib/apache2/modules/mod_mpm_prefork.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
LoadModule perl_module /usr/lib/apache2/modules/mod_perl.so
User www-data
Group www-data
ServerName localhost
DefaultRuntimeDir %[1]s
PidFile %[1]s/registry-%[2]d.pid
ErrorLog %[1]s/registry-%[2]d.log
Listen 127.0.0.1:%[2]d
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 300
StartServers %[4]d
MinSpareServers %[4]d
MaxSpareServers %[4]d
Alias /cgi-bin/ %[3]s/
PerlModule ModPerl::Registry
PerlModule CGI
<Directory %[3]s>
  Require all granted
  SetHandler perl-script
  PerlResponseHandler ModPerl::Registry
  PerlOptions +ParseHeaders
  Options +ExecCGI
</Directory>
`, b.dir, s.port, s.app, cgiConnections))
	if err != nil {
		return nil, err
	}
	return launch(exec.Command("apache2", "-d", b.dir, "-f", path, "-D", "FOREGROUND"))
}

// startPlackCGI starts as many workers as there are connections, because each connection holds a
// worker.
func startPlackCGI(b *bench, s setup) ([]*exec.Cmd, error) {
	app, err := b.write(fmt.Sprintf("cgibin-%d.psgi", s.port), fmt.Sprintf(
		"use Plack::App::CGIBin;\nuse Plack::Builder;\nbuilder { mount '/cgi-bin' => Plack::App::CGIBin->new(root => '%s', exec_cb => sub { 0 })->to_app };\n", s.app))
	if err != nil {
		return nil, err
	}
	return launch(exec.Command("starman", "--workers", fmt.Sprint(cgiConnections), "--preload-app",
		"--listen", s.address(), "--error-log", filepath.Join(b.dir, "starman.log"), "-E", "deployment", app))
}

// cgiFast measures Perl scripts that are compiled once, beside those that are not.
func (b *bench) cgiFast() error {
	dir, err := b.cgiDirectory()
	if err != nil {
		return err
	}
	fmt.Printf("%d rounds of %d s, wrk -t1 -c%d; medians\n\n", b.rounds, b.seconds, cgiConnections)
	starting := []contestant{lighttpd, apacheCGID, fcgiwrap, oursCGI}
	for _, c := range []struct {
		title, script string
		contestants   []contestant
	}{
		{"A plain Perl script, a process per request", "plain.cgi", append([]contestant{oursFork}, starting...)},
		{"A Perl script that uses CGI.pm, a process per request", "module.cgi", append([]contestant{oursFork}, starting...)},
		{"A plain Perl script, in processes that stay", "plain.cgi", []contestant{oursPersistent, registry, plackCGI}},
		{"A Perl script that uses CGI.pm, in processes that stay", "module.cgi", []contestant{oursPersistent, registry, plackCGI}},
	} {
		if err := b.compareCGI(c.title, dir, c.script, c.contestants...); err != nil {
			return err
		}
	}
	return nil
}
