package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
)

// The contestants that serve a directory of CGI scripts at /cgi-bin/. The directory is the app of
// the setup.
var (
	oursCGI     = contestant{name: "pagi-bridge", start: startOursCGI, ready: cgiReady}
	lighttpd    = contestant{name: "lighttpd", needs: []string{"lighttpd"}, start: startLighttpd, ready: cgiReady}
	lighttpdRaw = contestant{name: "lighttpd, streaming", needs: []string{"lighttpd"}, start: startLighttpdStreaming, ready: cgiReady}
	apacheCGID  = contestant{name: "apache mod_cgid", needs: []string{"apache2"}, start: startApacheCGID, ready: cgiReady}
	fcgiwrap    = contestant{name: "nginx+fcgiwrap", needs: []string{"nginx", "fcgiwrap"}, start: startFcgiwrap, ready: cgiReady}
	goCGI       = contestant{name: "net/http/cgi", start: startGoCGI, ready: cgiReady}
)

// cgiReady is a script that every directory has.
const cgiReady = "/cgi-bin/hello.sh"

func startOursCGI(b *bench, s setup) ([]*exec.Cmd, error) { return b.cgiSite(s, ", mode: exec") }

// cgiSite starts the gateway with a mount of scripts, with these options, and one like
// it at /other.
func (b *bench) cgiSite(s setup, options string) ([]*exec.Cmd, error) {
	site, err := b.write(fmt.Sprintf("site-%d.yaml", s.port), fmt.Sprintf(`
listen: %[1]s
access_log: "off"
max_body_size: 0
mounts:
  - {path: /cgi-bin, cgi: %[2]s%[3]s}
  - {path: /other, cgi: %[2]s}
`, s.address(), s.app, options))
	if err != nil {
		return nil, err
	}
	return launch(exec.Command(b.binary, "-q", "-E", "deployment", "-c", site))
}

func startLighttpd(b *bench, s setup) ([]*exec.Cmd, error) { return b.lighttpd(s, 0) }

func startLighttpdStreaming(b *bench, s setup) ([]*exec.Cmd, error) { return b.lighttpd(s, 2) }

func (b *bench) lighttpd(s setup, stream int) ([]*exec.Cmd, error) {
	path, err := b.write(fmt.Sprintf("lighttpd-%d.conf", s.port), fmt.Sprintf(`
server.modules = ("mod_cgi")
server.bind = "127.0.0.1"
server.port = %[2]d
server.document-root = "%[3]s"
server.errorlog = "%[1]s/lighttpd-%[2]d.log"
server.upload-dirs = ("%[1]s")
server.max-keep-alive-requests = 60000
server.stream-request-body = %[4]d
server.stream-response-body = %[4]d
cgi.assign = (".sh" => "", ".cgi" => "")
`, b.dir, s.port, filepath.Dir(s.app), stream))
	if err != nil {
		return nil, err
	}
	return launch(exec.Command("lighttpd", "-D", "-f", path))
}

func startApacheCGID(b *bench, s setup) ([]*exec.Cmd, error) {
	path, err := b.write(fmt.Sprintf("apache-%d.conf", s.port), fmt.Sprintf(`
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
LoadModule cgid_module /usr/lib/apache2/modules/mod_cgid.so
User www-data
Group www-data
ServerName localhost
DefaultRuntimeDir %[1]s
PidFile %[1]s/apache-%[2]d.pid
ScriptSock %[1]s/cgid-%[2]d.sock
ErrorLog %[1]s/apache-%[2]d.log
Listen 127.0.0.1:%[2]d
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 300
ScriptAlias /cgi-bin/ %[3]s/
<Directory %[3]s>
  Require all granted
</Directory>
`, b.dir, s.port, s.app))
	if err != nil {
		return nil, err
	}
	return launch(exec.Command("apache2", "-d", b.dir, "-f", path, "-D", "FOREGROUND"))
}

// startFcgiwrap starts as many processes of fcgiwrap as there are connections, because each serves
// one request at a time.
func startFcgiwrap(b *bench, s setup) ([]*exec.Cmd, error) {
	socket := filepath.Join(b.dir, fmt.Sprintf("fcgiwrap-%d.sock", s.port))
	nginx, err := b.nginx(s, fmt.Sprintf(`location /cgi-bin/ {
    root %s; include /etc/nginx/fastcgi_params; fastcgi_pass unix:%s;
    fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name; }`, filepath.Dir(s.app), socket), "")
	if err != nil {
		return nil, err
	}
	return launch(exec.Command("fcgiwrap", "-c", fmt.Sprint(cgiConnections), "-s", "unix:"+socket), nginx)
}

func startGoCGI(b *bench, s setup) ([]*exec.Cmd, error) {
	binary := filepath.Join(b.dir, "gocgi")
	if err := b.build(binary, "./bench/gocgi"); err != nil {
		return nil, err
	}
	return launch(exec.Command(binary, s.address(), s.app))
}
