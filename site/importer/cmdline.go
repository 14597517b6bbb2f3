package importer

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// commands reads lines with a command of a PSGI server: a shell script, or a unit of systemd.
func (c *conf) commands(file, text string) error {
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return err
	}
	isUnit := strings.Contains(text, "ExecStart=")
	sh := &shell{dir: dir}
	for _, l := range logicalLines(text) {
		line := l.text
		at := place{file, l.number, line}
		if isUnit {
			name, value, _ := strings.Cut(line, "=")
			switch name {
			case "WorkingDirectory":
				sh.dir = strings.TrimPrefix(value, "-")
			case "Environment":
				for _, w := range words(value) {
					n, v, _ := strings.Cut(w, "=")
					sh.env.set(n, v)
				}
			case "EnvironmentFile":
				c.leave(at, "keep it in the unit of the gateway: its workers have its environment")
			case "User", "Group":
				c.leave(at, "keep it in the unit of the gateway, or write "+strings.ToLower(name)+": "+value)
			case "ExecStart":
				if !c.command(strings.TrimLeft(value, "-+@!:"), sh.dir, at, sh.env) {
					c.leave(at, "this is no command of a PSGI server that is known")
				}
			}
			continue
		}
		if !sh.line(c, line, at) && commandForm.MatchString(line) {
			c.leave(at, "this is no command of a PSGI server that is known")
		}
	}
	return nil
}

// servers are the programs whose options are known. All of them have those of plackup.
var servers = []string{"plackup", "starman", "starlet", "twiggy", "feersum", "gazelle", "corona", "uwsgi"}

// wrappers are programs that run another one, with how many words of their own follow.
var wrappers = map[string]int{"exec": 0, "env": 0, "carton": 1, "start_server": -1, "nohup": 0, "sudo": 0, "perl": 0, "bundle": 1, "nice": 0}

var assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)

// command takes one command line. It reports false if it is none of a PSGI server.
func (c *conf) command(line, dir string, at place, env fields) bool {
	w := words(line)
	env = slices.Clone(env)
	var addresses []string
	for len(w) > 0 {
		program := filepath.Base(w[0])
		if assignment.MatchString(w[0]) {
			name, value, _ := strings.Cut(w[0], "=")
			env.set(name, value)
			w = w[1:]
			continue
		}
		if slices.Contains(servers, strings.ToLower(program)) {
			if strings.EqualFold(program, "uwsgi") {
				c.uwsgiCommand(w[1:], dir, at, env)
			} else {
				c.plackup(strings.ToLower(program), w[1:], dir, at, env, addresses)
			}
			return true
		}
		skip, is := wrappers[program]
		if !is {
			return false
		}
		w = w[1:]
		for ; skip > 0 && len(w) > 0; skip-- {
			w = w[1:]
		}
		if program == "start_server" {
			for len(w) > 0 && w[0] != "--" && !slices.Contains(servers, filepath.Base(w[0])) {
				name, value, joined := strings.Cut(w[0], "=")
				if !joined && len(w) > 1 {
					value, w = w[1], w[1:]
				}
				if name == "--port" || name == "--path" {
					addresses = append(addresses, value)
				}
				w = w[1:]
			}
		}
		for len(w) > 0 && strings.HasPrefix(w[0], "-") {
			w = w[1:]
		}
	}
	return false
}

func (c *conf) uwsgiCommand(args []string, dir string, at place, env fields) {
	var list []setting
	for i := 0; i < len(args); i++ {
		name, value, joined := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		if !joined {
			value = "true"
			if i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
				i++
				value = args[i]
			}
		}
		if name == "ini" {
			c.leave(at, "import the file "+value+", too")
			return
		}
		list = append(list, setting{name, value, at})
	}
	for _, e := range env {
		if v, is := e.value.(string); is {
			list = append(list, setting{"env", e.name + "=" + v, at})
		}
	}
	c.uwsgiOptions(list, dir, strings.NewReplacer())
}

// longNames are the options of the servers by their letters.
var longNames = map[string]string{"p": "port", "o": "host", "l": "listen", "s": "server", "E": "env", "I": "lib", "M": "module", "a": "app", "r": "reload", "R": "reload-dirs", "D": "daemonize", "S": "socket", "e": "eval", "L": "loader"}

// flags are the options without a value.
var flags = []string{"reload", "daemonize", "preload-app", "disable-keepalive", "no-default-middleware", "default-middleware", "access-log-off", "disable-proctitle", "version", "help", "d", "q", "quiet"}

// plackup takes the options of plackup, and of the servers that it can start.
func (c *conf) plackup(program string, args []string, dir string, at place, env fields, addresses []string) {
	m := &mount{path: "/", kind: "psgi", from: []string{at.comment()}}
	var libs, modules, rest []string
	host, portText, server, code := "", "", program, ""
	listens := false
	dirs := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(dir, name)
	}
	for i := 0; i < len(args); i++ {
		a := args[i]
		if a == "--" || a == "&" || a == "&&" || strings.HasPrefix(a, ">") || strings.HasPrefix(a, "2>") {
			if a == "--" {
				continue
			}
			break
		}
		if !strings.HasPrefix(a, "-") || a == "-" {
			rest = append(rest, a)
			continue
		}
		name, value, joined := strings.Cut(strings.TrimLeft(a, "-"), "=")
		if !strings.HasPrefix(a, "--") {
			letter := a[1:2]
			name, value, joined = letter, a[2:], len(a) > 2
			if long, is := longNames[letter]; is {
				name = long
			}
		}
		if !joined && !slices.Contains(flags, name) && i+1 < len(args) {
			i++
			value = args[i]
		}
		switch name {
		case "port":
			portText, listens = value, true
		case "host":
			host, listens = value, true
		case "listen", "socket":
			address := value
			if !strings.Contains(address, ":") && !strings.Contains(address, "/") {
				address = ":" + address
			}
			addresses, listens = append(addresses, address), true
		case "server":
			server = strings.ToLower(value)
		case "env":
			m.options.set("environment", value)
		case "lib":
			libs = append(libs, dirs(value))
		case "module":
			modules = append(modules, value)
		case "app":
			rest = append([]string{value}, rest...)
		case "eval":
			code = value
		case "workers", "max-workers":
			workersOf(m, number(value), 0)
		case "max-requests", "max-reqs-per-child":
			m.options.set("max_requests", number(value))
		case "preload-app":
			m.options.set("preload", true)
		case "reload":
			m.options.set("reload", true)
		case "reload-dirs":
			var list []string
			for _, d := range strings.Split(value, ",") {
				list = append(list, dirs(d))
			}
			m.options.set("reload_dirs", list)
		case "backlog":
			c.top.set("listener_backlog", number(value))
		case "pid":
			c.top.set("pid_file", dirs(value))
		case "access-log":
			c.top.set("access_log", dirs(value))
			c.top.set("access_log_format", "combined")
		case "error-log":
			c.top.set("log_file", dirs(value))
		case "keepalive-timeout":
			c.top.set("timeout", number(value))
		case "timeout", "read-timeout":
			m.options.set("request_timeout", number(value))
		case "user", "group":
			c.leave(at, "put "+name+": "+value+" at the top of the site file where the gateway is started as root")
		case "daemonize":
			c.leave(at, "start the gateway with -D, or by systemd in the foreground")
		case "enable-ssl", "ssl":
			// ssl-cert says it
		case "ssl-cert", "ssl-cert-file":
			cert := certificate{cert: dirs(value)}
			c.certificates = append(c.certificates, cert)
		case "ssl-key", "ssl-key-file":
			if n := len(c.certificates); n > 0 {
				c.certificates[n-1].key = dirs(value)
			}
		case "disable-keepalive", "no-default-middleware", "default-middleware", "disable-proctitle", "d", "q", "quiet", "min-reqs-per-child", "spawn-interval", "max-keepalive-reqs", "loader":
			if name == "loader" && value != "Plack::Loader" && value != "Delayed" {
				c.leave(at, "the loader "+value+" is not needed: see preload and reload of the mount")
			}
		default:
			c.leave(at, "the option "+name+" is not known here")
		}
	}
	switch {
	case code != "":
		// plackup runs it in the block of Plack::Builder.
		m.options = append(fields{{"code", "use Plack::Builder; builder { " + code + " }"}}, m.options...)
	case len(rest) > 0:
		m.source = dirs(rest[0])
	default:
		m.source = filepath.Join(dir, "app.psgi")
	}
	for _, extra := range rest[min(1, len(rest)):] {
		c.leave(at, "the argument "+extra+" does not reach the application: write it as env")
	}
	if len(libs) > 0 {
		m.options.set("lib", libs)
	}
	if len(modules) > 0 {
		m.options.set("modules", modules)
	}
	m.options.set("dir", dir)
	if len(env) > 0 {
		environment := m.options.get("environment")
		if v := env.get("PLACK_ENV"); v != nil && environment == nil {
			m.options.set("environment", v)
		}
		env.remove("PLACK_ENV")
		if len(env) > 0 {
			m.options.set("env", env)
		}
	}
	if slices.Contains([]string{"twiggy", "feersum", "anyevent", "corona", "twiggy::prefork"}, server) {
		m.options.set("loop", true)
	}
	if portText != "" || host != "" {
		if portText == "" {
			portText = "5000"
		}
		addresses = append(addresses, host+":"+portText)
	}
	if !listens && len(addresses) == 0 {
		addresses = []string{":5000"}
	}
	c.serve(m, addresses...)
	for _, a := range addresses {
		c.own = append(c.own, ownAddress{app: m, address: shellDefault(a)})
	}
}

var shellVariable = regexp.MustCompile(`\$\{?(\w+)\}?`)

// shellDefault writes a variable of the shell as a site file has it. PORT has a default.
func shellDefault(a string) string {
	return shellVariable.ReplaceAllStringFunc(a, func(v string) string {
		name := strings.Trim(v, "${}")
		if name == "PORT" {
			return "${PORT:-5000}"
		}
		return "${" + name + "}"
	})
}
