package importer

import (
	"path/filepath"
	"slices"
	"strings"
)

// setting is an option of uWSGI, in an ini file or on the command line.
type setting struct {
	name, value string
	at          place
}

// uwsgi reads an ini file of uWSGI, of which the section [uwsgi] counts.
func (c *conf) uwsgi(file, text string) error {
	var list []setting
	inside := false
	for _, l := range logicalLines(text) {
		at := place{file, l.number, l.text}
		switch {
		case strings.HasPrefix(l.text, ";"):
		case strings.HasPrefix(l.text, "["):
			inside = l.text == "[uwsgi]"
		case inside:
			name, value, is := strings.Cut(l.text, "=")
			if !is {
				value = "true"
			}
			list = append(list, setting{strings.ReplaceAll(strings.TrimSpace(name), "_", "-"), strings.TrimSpace(value), at})
		}
	}
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return err
	}
	base := filepath.Base(file)
	c.uwsgiOptions(list, dir, strings.NewReplacer("%d", dir+"/", "%n", strings.TrimSuffix(base, filepath.Ext(base)), "%s", base, "%p", filepath.Join(dir, base)))
	return nil
}

// uwsgiIgnored are options that a site needs no counterpart of.
var uwsgiIgnored = strings.Fields(`master plugin plugins plugins-dir vacuum die-on-term single-interpreter need-app no-orphans
	lazy-apps procname procname-prefix procname-prefix-spaced auto-procname thunder-lock enable-threads threads memory-report
	so-keepalive socket-timeout post-buffering buffer-size listen harakiri-verbose cheaper-algo cheaper-step cheaper-overload
	disable-logging log-4xx log-5xx log-slow log-date logdate strict perl-no-die-catch perl-no-plack offload-threads
	http-modifier1 http-socket-modifier1 http-keepalive http-auto-chunked http-raw-body stats ignore-sigpipe ignore-write-errors
	disable-write-exception gid-pass exit-on-reload reload-mercy worker-reload-mercy max-fd safe-pidfile autoload protocol
	cgi-allowed-ext emperor cgi-timeout cgi-buffer-size`)

func (c *conf) uwsgiOptions(list []setting, dir string, variables *strings.Replacer) {
	placeholders := map[string]string{}
	for i, s := range list {
		value := variables.Replace(s.value)
		for name, v := range placeholders {
			value = strings.ReplaceAll(strings.ReplaceAll(value, "%("+name+")", v), "$("+name+")", v)
		}
		list[i].value = value
		placeholders[s.name] = value
	}
	on := func(s setting) bool { return s.value != "false" && s.value != "0" }
	m := &mount{path: "/", kind: "psgi"}
	var addresses, listens, roots []string
	var sockets []setting
	var extra []*mount
	var env fields
	processes, cheaper := 0, 0
	working := dir
	for _, s := range list {
		if s.name == "chdir" || s.name == "chdir2" {
			working = s.value
		}
	}
	absolute := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(working, name)
	}
	for _, s := range list {
		switch s.name {
		case "psgi":
			m.source = absolute(s.value)
			m.from = append(m.from, s.at.comment())
		case "chdir", "chdir2":
			m.options.set("dir", s.value)
		case "processes", "workers", "p":
			processes = number(s.value)
		case "cheaper":
			cheaper = number(s.value)
		case "cheaper-initial", "idle":
		case "max-requests":
			m.options.set("max_requests", number(s.value))
		case "max-worker-lifetime":
			m.options.set("max_age", number(s.value))
		case "harakiri":
			m.options.set("request_timeout", number(s.value))
		case "reload-on-rss", "evil-reload-on-rss":
			m.options.set("max_rss", s.value+"MiB")
		case "lazy":
		case "env":
			name, value, _ := strings.Cut(s.value, "=")
			env.set(name, value)
		case "perl-local-lib":
			m.options.set("local_lib", []string{absolute(s.value)})
		case "plack-env":
			m.options.set("environment", s.value)
		case "perl-arg", "perl-args":
			c.leave(s.at, "arguments of the application are not carried over: write them as env, or in the application's file")
		case "umask":
			m.options.set("umask", raw0(s.value))
		case "http", "http-socket":
			addresses = append(addresses, s.value)
			listens = append(listens, s.value)
		case "https":
			parts := strings.Split(s.value, ",")
			if len(parts) >= 3 {
				c.listenAt(listener{address: parts[0], tls: true})
				c.addCertificate(certificate{absolute(parts[1]), absolute(parts[2])})
			}
		case "socket", "uwsgi-socket", "s":
			addresses = append(addresses, s.value)
			sockets = append(sockets, s)
		case "chmod-socket":
		case "static-map", "static-map2":
			path, target, _ := strings.Cut(s.value, "=")
			source := absolute(target)
			if s.name == "static-map2" {
				source = join(source, path)
			}
			extra = append(extra, &mount{path: clean(path), kind: "file", source: source, from: []string{s.at.comment()}})
		case "check-static":
			roots = append(roots, absolute(s.value))
		case "static-index":
		case "cgi":
			path, target, is := strings.Cut(s.value, "=")
			if !is {
				path, target = "/", s.value
			}
			extra = append(extra, &mount{path: clean(path), kind: "cgi", source: absolute(target), from: []string{s.at.comment()}})
		case "cgi-helper":
			c.leave(s.at, "name the program in interpreters of the cgi mount: interpreters: {.pl: /usr/bin/perl}")
		case "pidfile", "pidfile2":
			c.top.set("pid_file", absolute(s.value))
		case "logto", "logto2", "daemonize", "daemonize2", "logger":
			if strings.Contains(s.value, "/") && !strings.Contains(s.value, ":") {
				c.top.set("log_file", absolute(s.value))
			} else {
				c.leave(s.at, "write log_file")
			}
		case "uid", "gid":
			c.leave(s.at, "put "+map[string]string{"uid": "user", "gid": "group"}[s.name]+": "+s.value+" at the top of the site file where the gateway is started as root")
		case "touch-reload", "touch-workers-reload", "py-autoreload":
			c.leave(s.at, "send HUP to reload (systemctl reload), or set reload: true for development")
		case "wsgi-file", "module", "wsgi", "pythonpath", "virtualenv", "home", "callable", "rack", "php-docroot":
			c.leave(s.at, "only applications in Perl are started: keep uWSGI for it, let it listen with http-socket, and write a proxy mount")
		case "mount":
			c.leave(s.at, "write a psgi mount for each path")
		case "mule", "mules", "spooler", "cron", "attach-daemon", "attach-daemon2", "smart-attach-daemon", "worker-exec":
			c.leave(s.at, "processes beside the application are not started: write a unit of systemd for it")
		default:
			if !slices.Contains(uwsgiIgnored, s.name) && !isPlaceholder(list, s) && on(s) {
				c.leave(s.at, "there is nothing like it in a site file")
			}
		}
	}
	workersOf(m, processes, cheaper)
	if len(env) > 0 {
		m.options.set("env", env)
	}
	for _, x := range extra {
		c.serve(x)
	}
	if m.source == "" {
		return
	}
	if len(roots) > 0 {
		app := *m
		app.path = ""
		app.from = nil
		m = &mount{path: "/", kind: "cascade", from: m.from}
		for _, r := range roots {
			m.parts = append(m.parts, &mount{kind: "file", source: r, options: fields{{"index", []string{}}}})
		}
		m.parts = append(m.parts, &app)
	}
	c.serve(m, addresses...)
	for _, a := range listens {
		c.own = append(c.own, ownAddress{app: m, address: a})
	}
	for _, s := range sockets {
		c.own = append(c.own, ownAddress{app: m, uwsgi: s.at})
	}
}

// isPlaceholder reports whether another option takes the value of this one.
func isPlaceholder(list []setting, s setting) bool {
	return slices.ContainsFunc(list, func(o setting) bool {
		return strings.Contains(o.at.text, "%("+s.name+")") || strings.Contains(o.at.text, "$("+s.name+")")
	})
}

// raw0 is an octal number as a site file has it.
func raw0(text string) string { return "0" + strings.TrimLeft(text, "0") }

// workersOf sets the number of workers.
func workersOf(m *mount, processes, fewest int) {
	switch {
	case fewest > 0 && processes > fewest:
		m.options.set("min_workers", fewest)
		m.options.set("max_workers", processes)
	case processes > 0:
		m.options.set("workers", processes)
	}
}
