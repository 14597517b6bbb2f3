package command

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/server"
	"github.com/pagi-go/pagi-bridge/server/acme"
	"github.com/pagi-go/pagi-bridge/site"
)

// workplace changes to a directory with one of everything in it.
func workplace(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, mode := range map[string]os.FileMode{
		"app.psgi": 0o644, "old.pl": 0o644, "tool": 0o755, "bin/app": 0o755, "bin/env": 0o644, "form.cgi": 0o755, "script.pl": 0o755, "notes.txt": 0o644,
		"cgi-bin/a.cgi": 0o755, "scripts/a.cgi": 0o755, "public/x.txt": 0o644,
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		first := map[string]string{"bin/app": "#!/usr/bin/perl -w\n", "bin/env": "#!/usr/bin/env -S PERL5OPT= plackup -E x\n"}[name]
		if first == "" {
			first = "#!/bin/sh\n"
		}
		if err := os.WriteFile(name, []byte(first), mode); err != nil {
			t.Fatal(err)
		}
	}
	site := "listen: 127.0.0.1:1\nenvironment: staging\nworkers: 2\ntimeout: 9\nmounts:\n  - {path: /, psgi: app.psgi}\n  - {path: /s, file: public}\n"
	scaled := "min_workers: 2\nmax_workers: 4\nmounts: [{psgi: app.psgi}]\n"
	for name, text := range map[string]string{"site.yaml": site, "scaled.yaml": scaled} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// process is a process with the given environment.
func process(interactive bool, pairs ...string) Process {
	vars := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		vars[pairs[i]] = pairs[i+1]
	}
	return Process{
		LookupEnv:   func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
		Setenv:      func(string, string) error { return nil },
		Interactive: interactive,
	}
}

func made(args ...string) (*site.Site, error) {
	o, err := parseFlags(args)
	if err != nil {
		return nil, err
	}
	return o.site(process(false))
}

func TestFormsOfTheCommandLine(t *testing.T) {
	workplace(t)
	for line, want := range map[string][]string{
		"":                    {"/ psgi app.psgi"},
		"app.psgi":            {"/ psgi app.psgi"},
		"-a notes.txt":        {"/ psgi notes.txt"},
		"--app notes.txt":     {"/ psgi notes.txt"},
		"old.pl":              {"/ psgi old.pl"},
		"-e sub{}":            {"/ psgi -e"},
		"-MFoo=bar,baz -e x":  {"/ psgi -e"},
		"public":              {"/ directory public"},
		"public/":             {"/ directory public/"},
		".":                   {"/ directory ."},
		"form.cgi":            {"/ cgi form.cgi"},
		"script.pl":           {"/ psgi script.pl"}, // whatever its mode: it may start a server when it is run
		"bin/app":             {"/ psgi bin/app"},
		"bin/env":             {"/ psgi bin/env"},
		"--cgi script.pl":     {"/ cgi script.pl"},
		"--cgi tool":          {"/ cgi tool"},
		"check public":        {"/ directory public"},
		"--cgi form.cgi":      {"/ cgi form.cgi"},
		"--cgi scripts":       {"/ cgi scripts"},
		"--cgi cgi-bin/":      {"/ cgi cgi-bin/", "/cgi-bin cgi cgi-bin/"},
		"-c site.yaml":        {"/ psgi app.psgi", "/s file public"},
		"--config=site.yaml":  {"/ psgi app.psgi", "/s file public"},
		"-c site.yaml -w 7":   {"/ psgi app.psgi", "/s file public"},
		"-t public -p 0":      {"/ directory public"},
		"-- public":           {"/ directory public"},
		"-p 8080 public -q":   {"/ directory public"},
		"app.psgi -I lib -w1": {"/ psgi app.psgi"},
	} {
		s, err := made(strings.Fields(line)...)
		if err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		var got []string
		for _, m := range s.Mounts {
			got = append(got, m.Name()+" "+m.Kind+" "+m.Source)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", line, diff)
		}
		if _, err := s.Build(); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	}
	if err := os.Remove("app.psgi"); err != nil {
		t.Fatal(err)
	}
	s, err := made()
	if err != nil || s.Mounts[0].Kind != site.KindDirectory || s.Mounts[0].Options.(*apps.Directory).Root != "." {
		t.Errorf("without app.psgi: %v", err)
	}
}

func TestFlagsBecomeSettings(t *testing.T) {
	workplace(t)
	for line, want := range map[string]site.Settings{
		"": {Environment: "deployment"},
		"-o 0.0.0.0 -p 8080 -w 4 -I a -Ib --lib c -E test": {Listen: []string{"0.0.0.0:8080"}, Processes: worker.Processes{Workers: 4}, Lib: []string{"a", "b", "c"}, Environment: "test"},
		"-p 0":                                  {Listen: []string{"127.0.0.1:0"}, Environment: "deployment"},
		"-o ::1":                                {Listen: []string{"[::1]:5000"}, Environment: "deployment"},
		"--listen :1 --listen ./x.sock -S y":    {Listen: []string{":1", "./x.sock", "unix:y"}, Environment: "deployment"},
		"-S y --socket-mode 0660":               {Listen: []string{"unix:y"}, SocketMode: "0660", Environment: "deployment"},
		"--ssl-cert c --ssl-key k":              {TLS: site.TLS{Cert: "c", Key: "k"}, Environment: "deployment"},
		"--access-log x --access-log-format %h": {Logs: site.Logs{AccessLog: "x", AccessLogFormat: "%h"}, Environment: "deployment"},
		"--no-access-log --log-level debug":     {Logs: site.Logs{AccessLog: "off", LogLevel: "debug"}, Environment: "deployment"},
		"--max-body-size 0 --max-header-size 9 --max-header-count 8 --max-connections 7 --max-requests 6": {
			Limits: server.Limits{Limits: engine.Limits{MaxBodySize: -1, MaxHeaderCount: 8}, MaxHeaderSize: 9, MaxConnections: 7}, Processes: worker.Processes{MaxRequests: 6}, Environment: "deployment"},
		"--max-body-size 10MB --max-header-size 64KiB --max-rss 1.5GiB --write-low-watermark 1_000": {
			Limits: server.Limits{Limits: engine.Limits{MaxBodySize: 10_000_000, LowWaterMark: 1000}, MaxHeaderSize: 64 << 10}, Processes: worker.Processes{MaxRSS: 3 << 29}, Environment: "deployment"},
		"--timeout 0 --header-timeout 1 --body-timeout 1.5 --write-timeout 1m --request-timeout 0 --shutdown-timeout 2s --lifespan-startup-timeout 3 --lifespan on": {
			Timeouts: server.Timeouts{Timeout: -1, HeaderTimeout: time.Second, Timeouts: engine.Timeouts{BodyTimeout: 1500 * time.Millisecond, WriteTimeout: time.Minute}, ShutdownTimeout: 2 * time.Second, LifespanStartupTimeout: 3 * time.Second}, Lifespan: "on", Environment: "deployment"},
		"--max-request-time 1m":     {Timeouts: server.Timeouts{Timeouts: engine.Timeouts{MaxRequestTime: time.Minute}}, Environment: "deployment"},
		"--preload":                 {Processes: worker.Processes{Preload: true}, Environment: "deployment"},
		"-r -R a,b --reload-dirs c": {Reload: true, ReloadDirs: []string{"a", "b", "c"}, Environment: "deployment"},
		"-l :1":                     {Listen: []string{":1"}, Environment: "deployment"},
		"-b 9 --proxy-protocol-from ::1 --max-connections 0 --max-connections-per-address 4 --max-requests-per-connection 3": {
			ListenerBacklog: 9, ProxyProtocolFrom: []string{"::1"}, Limits: server.Limits{MaxConnections: -1, MaxConnectionsPerAddress: 4, MaxRequestsPerConnection: 3}, Environment: "deployment"},
		"--ssl-cert c --ssl-key k --ssl-ocsp o --ssl-min-version 1.3 --ssl-client-auth required --ssl-client-ca a": {
			TLS: site.TLS{Cert: "c", Key: "k", OCSP: "o", MinVersion: "1.3", ClientAuth: "required", ClientCA: "a"}, Environment: "deployment"},
		"--acme a --acme b --acme-agree --acme-email e --acme-directory d --acme-storage s": {
			TLS: site.TLS{ACME: acme.Options{Domains: []string{"a", "b"}, Agree: true, Email: "e", Directory: "d", Storage: "s"}}, Environment: "deployment"},
		"--pid p --user u --group g --umask 0027 --status-socket s": {PidFile: "p", User: "u", Group: "g", Umask: "0027", StatusSocket: "s", Environment: "deployment"},
		"--access-log-max-size 2000000 --access-log-max-age 48h --access-log-backups 3 --access-log-compress --log-file f --log-format json": {
			Logs:        site.Logs{AccessLogMaxSize: 2_000_000, AccessLogMaxAge: 48 * time.Hour, AccessLogBackups: 3, AccessLogCompress: true, LogFile: "f", LogFormat: "json"},
			Environment: "deployment"},
		"--min-workers 2 --max-workers 8 --max-age 1h --max-rss 200000000 --reload": {
			Processes: worker.Processes{MinWorkers: 2, MaxWorkers: 8, MaxAge: time.Hour, MaxRSS: 200_000_000}, Reload: true, Environment: "deployment"},
		"-c site.yaml --min-workers 2 --max-workers 8": {Listen: []string{"127.0.0.1:1"}, Environment: "staging", Processes: worker.Processes{MinWorkers: 2, MaxWorkers: 8}, Timeouts: server.Timeouts{Timeout: 9 * time.Second}},
		"-c scaled.yaml -w 3":                          {Processes: worker.Processes{Workers: 3}, Environment: "deployment"},
		"-c scaled.yaml --max-workers 9":               {Processes: worker.Processes{MinWorkers: 2, MaxWorkers: 9}, Environment: "deployment"},
		"--perl /usr/bin/perl":                         {Perl: "/usr/bin/perl", Environment: "deployment"},
		"-c site.yaml":                                 {Listen: []string{"127.0.0.1:1"}, Environment: "staging", Processes: worker.Processes{Workers: 2}, Timeouts: server.Timeouts{Timeout: 9 * time.Second}},
		"-c site.yaml -p 2 -E none --timeout=1":        {Listen: []string{"127.0.0.1:2"}, Environment: "none", Processes: worker.Processes{Workers: 2}, Timeouts: server.Timeouts{Timeout: time.Second}},
		"-c site.yaml -S y":                            {Listen: []string{"unix:y"}, Environment: "staging", Processes: worker.Processes{Workers: 2}, Timeouts: server.Timeouts{Timeout: 9 * time.Second}},
	} {
		s, err := made(strings.Fields(line)...)
		if err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		if diff := cmp.Diff(want, s.Settings); diff != "" {
			t.Errorf("%q: %s", line, diff)
		}
	}
}

// TestEachFlagHasItsOwnSetting gives a value to each flag with the name of a setting, and checks
// which setting has changed.
func TestEachFlagHasItsOwnSetting(t *testing.T) {
	checked := 0
	for i, f := range reflect.VisibleFields(reflect.TypeFor[site.Settings]()) {
		flag := "--" + flagName(strings.ReplaceAll(f.Tag.Get("yaml"), "_", "-"))
		var arg string
		var want any
		switch {
		case f.Type == reflect.TypeFor[time.Duration]():
			arg, want = fmt.Sprint(1000+i), time.Duration(1000+i)*time.Second
		case f.Type.Kind() == reflect.Int:
			arg, want = fmt.Sprint(1000+i), 1000+i
		case f.Type.Kind() == reflect.Int64:
			arg, want = fmt.Sprint(1000+i), int64(1000+i)
		case f.Type.Kind() == reflect.Bool:
			arg, want = "true", true
		case f.Type.Kind() == reflect.String:
			arg, want = f.Name, f.Name
		case f.Type == reflect.TypeFor[[]string]():
			arg, want = f.Name, []string{f.Name}
		default:
			continue // tls and the like have several
		}
		o, err := parseFlags([]string{flag + "=" + arg})
		if err != nil {
			t.Errorf("%s: %v", flag, err)
			continue
		}
		var alone site.Settings
		reflect.ValueOf(&alone).Elem().FieldByIndex(f.Index).Set(reflect.ValueOf(want))
		if diff := cmp.Diff(alone, o.settings); diff != "" {
			t.Errorf("%s: %s", flag, diff)
		}
		checked++
	}
	if checked < 50 {
		t.Errorf("only %d flags were looked at", checked)
	}
}

func TestFlagsReachThePSGIApplication(t *testing.T) {
	workplace(t)
	s, err := made("-w", "3", "-I", "lib", "-MA", "-M", "B=c", "-E", "test", "--max-requests", "9", "--preload", "app.psgi")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Build(); err != nil {
		t.Fatal(err)
	}
	o := s.Mounts[0].Options.(*psgi.PSGI)
	if o.Workers != 3 || !strings.HasSuffix(o.Lib[0], "/lib") || !cmp.Equal(o.Modules, []string{"A", "B=c"}) || o.Environment != "test" || o.MaxRequests != 9 || !o.Preload || s.Mounts[0].Workers != 3 {
		t.Errorf("%+v", o)
	}
	if s, err = made("--min-workers", "2", "--max-workers", "4", "--max-age", "90", "--max-rss", "1000000", "--reload", "app.psgi"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Build(); err != nil {
		t.Fatal(err)
	}
	if o := s.Mounts[0].Options.(*psgi.PSGI); o.Workers != 0 || o.MinWorkers != 2 || o.MaxWorkers != 4 || o.MaxAge != 90*time.Second || o.MaxRSS != 1_000_000 || o.Loaded == nil {
		t.Errorf("%+v", o)
	}
	if s, err = made("-e", "sub { }"); err != nil || s.Mounts[0].Options.(*psgi.PSGI).Code != "sub { }" {
		t.Errorf("-e: %v", err)
	}
}

func TestTheEnvironment(t *testing.T) {
	workplace(t)
	for _, c := range []struct {
		args    string
		process Process
		want    string
	}{
		{"-E test", process(true, "PAGI_ENV", "a", "PLACK_ENV", "b"), "test"},
		{"", process(true, "PAGI_ENV", "a", "PLACK_ENV", "b"), "a"},
		{"", process(true, "PAGI_ENV", "", "PLACK_ENV", "b"), "b"},
		{"", process(true), "development"},
		{"", process(false), "deployment"},
		{"-c site.yaml", process(true, "PAGI_ENV", "a"), "staging"},
		{"-c site.yaml -E test", process(true, "PAGI_ENV", "a"), "test"},
	} {
		o, err := parseFlags(strings.Fields(c.args))
		if err != nil {
			t.Fatal(err)
		}
		if s, err := o.site(c.process); err != nil || s.Settings.Environment != c.want {
			t.Errorf("%q: %v %v, want %s", c.args, s.Settings.Environment, err, c.want)
		}
	}
}

func TestWrongCommandLines(t *testing.T) {
	workplace(t)
	for line, want := range map[string]string{
		"--prot 80":                      `unknown flag: --prot; did you mean "--port"?`,
		"--acess-log x":                  `unknown flag: --acess-log; did you mean "--access-log"?`,
		"--wrokers=3":                    `unknown flag: --wrokers; did you mean "--workers"?`,
		"--gibberish":                    `unknown flag: --gibberish`,
		"--http2":                        `unknown flag: --http2: HTTP/2 is always offered with TLS; --h2c serves it without TLS, too`,
		"--heartbeat-timeout 3":          `unknown flag: --heartbeat-timeout: request_timeout of a psgi mount says after how long a worker that hangs is killed`,
		"-X":                             `unknown shorthand flag: 'X' in -X`,
		"-p":                             `flag needs an argument: 'p' in -p`,
		"-p x":                           `--port must be a whole number, is "x"`,
		"--max-body-size 10M":            `--max-body-size must be a size, as 10MB, 64KiB or a number of bytes, is "10M"`,
		"--timeout soon":                 `--timeout must be a duration, as 30s or a number of seconds, is "soon"`,
		"tool":                           `tool: only a name that ends in .cgi is taken for a CGI script; use --cgi tool to run this program for each request`,
		"-s Starman":                     `unknown shorthand flag: 's' in -s: leave it out: pagi-bridge is the server`,
		"-L Shotgun":                     `unknown shorthand flag: 'L' in -L: use --reload to load the application anew when a file changes, --preload to load it once for all workers`,
		"--loader Shotgun":               `unknown flag: --loader: use --reload to load the application anew when a file changes, --preload to load it once for all workers`,
		"-a gone.psgi":                   `gone.psgi: no such file or directory`,
		"-R templates public":            `-R is for a PSGI application, or a PAGI application in Perl`,
		"-p 70000":                       `--port must be 0 to 65535, is 70000`,
		"--timeout=-1":                   `timeout: must not be negative, is -1s`,
		"-c site.yaml app.psgi":          `unexpected argument "app.psgi": --config already names what to serve`,
		"app.psgi public":                `unexpected argument "public": only one application can be given; a site file (-c) can mount several`,
		"-e x -a app.psgi":               `--config, --app, -e and --cgi exclude one another: each names what to serve`,
		"--listen :1 -p 2":               `--listen and --host/--port exclude one another`,
		"-S x -o y":                      `--socket and --host/--port exclude one another`,
		"--access-log x --no-access-log": `--access-log and --no-access-log exclude one another`,
		"-c site.yaml -M Foo":            `-M belongs to an application; in a site file write it as "modules" of the mount`,
		"-M Foo public":                  `-M is for a PSGI application, or a PAGI application in Perl`,
		"-M Foo --cgi scripts":           `-M is for a PSGI application, or a PAGI application in Perl`,
		"--reload public":                `-r is for a PSGI application, or a PAGI application in Perl`,
		"--max-rss 1 form.cgi":           `--max-rss is for a PSGI application, or a PAGI application in Perl`,
		"--min-workers 0 app.psgi":       `--min-workers must be at least 1`,
		"-w 3 public":                    `-w is for a PSGI application, or a PAGI application in Perl`,
		"-w 3 --cgi scripts":             `-w is for a PSGI application, or a PAGI application in Perl`,
		"-w 3 form.cgi":                  `-w is for a PSGI application, or a PAGI application in Perl`,
		"-I lib public":                  `-I is for a PSGI application, or a PAGI application in Perl`,
		"--lib lib form.cgi":             `-I is for a PSGI application, or a PAGI application in Perl`,
		"--perl perl public":             `--perl is for a PSGI application, or a PAGI application in Perl`,
		"--max-requests 3 public":        `--max-requests is for a PSGI application, or a PAGI application in Perl`,
		"--preload public":               `--preload is for a PSGI application, or a PAGI application in Perl`,
		"--h2-rst-rate 0 app.psgi":       `h2_rst_rate: must be 1 or more; h2_rst_burst: 0 turns the limit off`,
		"-w 0 app.psgi":                  `--workers must be at least 1`,
		"absent":                         `absent: no such file or directory`,
		"absent.psgi":                    `absent.psgi: no such file or directory`,
		"notes.txt":                      `notes.txt: cannot tell what this is; use --app notes.txt for a PSGI or PAGI application, or --cgi notes.txt for a script`,
		"site.yaml":                      `site.yaml: a site file is given with -c`,
		"-c absent.yaml":                 `absent.yaml: no such file or directory`,
	} {
		if _, err := made(strings.Fields(line)...); err == nil || err.Error() != want {
			t.Errorf("%q: %v\nwant: %s", line, err, want)
		}
	}
	for _, name := range []string{
		"eval", "app", "cgi", "config", "module", "include", "perl", "env", "host", "listen", "socket", "socket-mode", "ssl-cert", "ssl-key", "access-log", "access-log-format", "log-level", "lifespan",
	} {
		if _, err := made("--"+name, ""); err == nil || err.Error() != "--"+name+" must not be empty" {
			t.Errorf("an empty --%s: %v", name, err)
		}
	}
	for flag, name := range map[string]string{"-e": "eval", "-a": "app", "-c": "config", "-S": "socket"} {
		if _, err := made(flag, ""); err == nil || err.Error() != "--"+name+" must not be empty" {
			t.Errorf("an empty %s: %v", flag, err)
		}
	}
	if _, err := made(""); err == nil || err.Error() != "an argument must not be empty" {
		t.Errorf("an empty argument: %v", err)
	}
	for line, want := range map[string]string{
		"--listen unix: public":             `listen: "unix:" lacks the path of the Unix socket`,
		"-a absent.psgi":                    "absent.psgi: no such file or directory",
		"--cgi absent":                      "cgi: root: ",
		"--listen nowhere public":           `listen: "nowhere" must be host:port`,
		"--socket-mode 9 public":            `socket_mode: must be an octal mode`,
		"--ssl-cert x public":               `tls: a certificate and a key must be given together`,
		"--ssl-cert x --ssl-key y public":   `tls.cert: open x: no such file`,
		"--acme site.example public":        `tls.acme.agree: must be true`,
		"--acme-agree public":               `tls.acme.domains: is missing`,
		"--ssl-min-version 1 public":        `tls.min_version: must be 1.2 or 1.3, is "1"`,
		"--ssl-client-auth maybe public":    `tls.client_auth: must be off, optional or required, is "maybe"`,
		"--ssl-client-auth required public": `tls.client_auth: needs tls.client_ca`,
		"--ssl-client-ca x public":          `tls.client_ca: needs tls.client_auth`,
		"--ssl-client-auth required --ssl-client-ca notes.txt public": `tls.client_ca: notes.txt contains no certificate`,
		"--ssl-ocsp x public":               `tls.ocsp: needs tls.cert and tls.key`,
		"--access-log-backups 3 public":     `access_log: must name a file, which is what access_log_max_size, access_log_max_age and access_log_backups are about`,
		"--user 54321 public":               `user: user 54321 has no entry in the user database, and so no group; set group, too`,
		"--user no-such-user public":        `user: there is no user "no-such-user"`,
		"--group no-such-group public":      `group: there is no group "no-such-group"`,
		"--listen :80,tls public":           `listen: ":80,tls" needs a certificate for TLS`,
		"--listen :80,proxy public":         `listen: ":80,proxy" is for proxies`,
		"--proxy-protocol-from here public": `proxy_protocol_from: "here" is neither`,
		"--umask 999 public":                `umask: must be an octal mode`,
		"--access-log-max-size 5 public":    `access_log_max_size: must be at least 1048576`,
		"--access-log-max-age 5 public":     `access_log_max_age: must be at least 24h`,
		"--access-log-compress public":      `access_log_compress: needs one of`,
		"--log-format xml public":           `log_format: must be text or json, is "xml"`,
		"--lifespan never public":           `lifespan: must be auto, on or off, is "never"`,
		"-w -1 app.psgi":                    `workers: must not be negative, is -1`,
		"--max-body-size -1 public":         `max_body_size: must not be negative, is -1`,
		"--log-level loud public":           `log_level: must be`,
		"--perl /no/perl app.psgi":          `psgi: perl: `,
	} {
		s, err := made(strings.Fields(line)...)
		if err == nil {
			_, err = s.Build()
		}
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v\nwant: %s", line, err, want)
		}
	}
}

func TestEveryFlagIsExplained(t *testing.T) {
	var out, errs strings.Builder
	p := process(false)
	p.Stdout, p.Stderr = &out, &errs
	if code := Run(context.Background(), []string{"--help"}, p); code != ExitOK || errs.Len() > 0 {
		t.Fatalf("code %d, %s", code, errs.String())
	}
	for _, flag := range strings.Fields(`-o, --host -p, --port --listen -S, --socket --socket-mode -w, --workers -I, --include --lib -M, --module -e, --eval -E, --env -a, --app
		--access-log --no-access-log --access-log-format -q, --quiet -v, --version -h, --help --ssl-cert --ssl-key --max-body-size --max-header-size --max-header-count
		--timeout --shutdown-timeout --request-timeout --lifespan --lifespan-startup-timeout --log-level --cgi -c, --config -t, --test --max-requests --preload --perl`) {
		if !strings.Contains(out.String(), flag) {
			t.Errorf("the help lacks %s", flag)
		}
	}
	if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), "at a graceful stop (0: no time at all; default 30s)") {
		t.Error("the help does not say what a shutdown timeout of 0 means")
	}
	if strings.Contains(out.String(), "(default 0s)") || strings.Contains(out.String(), "(default )") {
		t.Error("a flag's help shows a default that is none")
	}
}

func TestEveryLineOfHelpStandsAlone(t *testing.T) {
	o, err := parseFlags(nil)
	if err != nil {
		t.Fatal(err)
	}
	continues := regexp.MustCompile(`^(and|or|but|until|the same)\b`)
	o.set.VisitAll(func(f *pflag.Flag) {
		value, usage := pflag.UnquoteUsage(f)
		if continues.MatchString(usage) {
			t.Errorf("--%s goes on from the line above it: %q", f.Name, usage)
		}
		if value != "" && strings.HasSuffix(usage, ": "+value) && f.Name != "cgi" {
			t.Errorf("--%s has %s at its end only: %q", f.Name, value, usage)
		}
	})
}
