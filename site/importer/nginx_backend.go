package importer

import (
	"path/filepath"
	"slices"
	"strings"
)

// backend makes the mount for a server behind nginx.
func (l *location) backend(m *mount, pass *directive) bool {
	s := l.server
	if strings.Contains(pass.arg(0), "$") {
		s.conf.leave(pass.at, "a backend that a variable names is not carried over: write a proxy mount")
		return false
	}
	switch pass.name {
	case "proxy_pass":
		return l.proxy(m, pass)
	case "fastcgi_pass":
		if strings.Contains(s.first(pass.arg(0)), "fcgiwrap") {
			l.wrapped(m, pass)
			return true
		}
		to, ok := s.fastcgi(pass.arg(0))
		if !ok {
			s.conf.leave(pass.at, "write proxy: fastcgi://HOST:PORT")
			return false
		}
		m.kind, m.source = "proxy", to
		if file := l.param("SCRIPT_FILENAME"); strings.Contains(file, "$") && l.ownDirective("fastcgi_split_path_info") == nil && strings.Contains(to, "php") {
			m.options.set("root", l.directory())
			m.options.set("split_path", ".php")
		}
		var params fields
		for _, d := range l.all("fastcgi_param") {
			if !strings.Contains(d.arg(1), "$") && !slices.Contains([]string{"SCRIPT_FILENAME", "SCRIPT_NAME", "PATH_INFO", "HTTPS", "GATEWAY_INTERFACE", "SERVER_SOFTWARE", "REDIRECT_STATUS", "DOCUMENT_ROOT"}, d.arg(0)) {
				params.set(d.arg(0), d.arg(1))
			}
		}
		if len(params) > 0 {
			m.options.set("params", params)
		}
		if n, ok := nginxTime(l.value("fastcgi_read_timeout")); ok {
			m.options.set("response_timeout", n)
		}
		return true
	}
	// uwsgi_pass, scgi_pass: link puts the application here if its own configuration is imported, too.
	s.conf.unavailable(m, s.first(pass.arg(0)), pass.at, nginxAdvice[pass.name], "write psgi: FILE in place of not_found")
	return true
}

// first returns the first address of an upstream, or the address itself.
func (s *nginxServer) first(name string) string {
	if servers := s.upstreams[name]; len(servers) > 0 {
		address, _, _ := strings.Cut(servers[0], " ")
		return address
	}
	return name
}

func (s *nginxServer) fastcgi(address string) (string, bool) {
	address = s.first(address)
	if socket, is := strings.CutPrefix(address, "unix:"); is {
		return "fastcgi+unix:" + strings.TrimSuffix(socket, ":"), true
	}
	return "fastcgi://" + address, strings.Contains(address, ":")
}

// wrapped makes a cgi mount of scripts that fcgiwrap runs.
func (l *location) wrapped(m *mount, pass *directive) {
	m.kind = "cgi"
	file := l.param("SCRIPT_FILENAME")
	root := strings.TrimSuffix(l.value("root"), "/")
	for _, v := range []string{"$document_root", "${document_root}"} {
		file = strings.ReplaceAll(file, v, root)
	}
	name := "$fastcgi_script_name"
	file = strings.ReplaceAll(file, "${fastcgi_script_name}", name)
	file = strings.ReplaceAll(file, "$uri", name)
	base, byPath := strings.CutSuffix(file, name)
	switch {
	case byPath && !strings.Contains(base, "$"):
		m.source = join(strings.TrimSuffix(base, "/"), l.path)
		if alias := l.ownDirective("alias"); alias != nil {
			m.source = strings.TrimSuffix(alias.arg(0), "/")
		}
	case file != "" && !strings.Contains(file, "$"):
		m.source = file
	default:
		m.source = l.directory()
	}
	if m.source == "" {
		l.server.conf.leave(pass.at, "neither root nor SCRIPT_FILENAME says where the scripts are: write cgi: DIRECTORY in place of the mount")
		m.kind, m.source, m.options = "not_found", "Service Unavailable", fields{{"status", 503}}
		return
	}
	if filepath.Ext(m.source) == "" {
		m.options.set("follow_symlinks", true)
		if d := l.find("fastcgi_index"); d != nil {
			m.options.set("index", d.arg(0))
		}
	}
	m.options = append(m.options, l.environment()...)
}

// proxy makes a proxy mount. nginx passes the whole path where the address has none.
func (l *location) proxy(m *mount, pass *directive) bool {
	s := l.server
	url := pass.arg(0)
	scheme, rest, is := strings.Cut(url, "://")
	if !is {
		s.conf.leave(pass.at, "write a proxy mount")
		return false
	}
	var hosts []string
	path, hasPath := "", false
	if socket, unix := strings.CutPrefix(rest, "unix:"); unix {
		socket, path, hasPath = strings.Cut(socket, ":")
		hosts = []string{"unix:" + socket}
	} else {
		host, tail, slash := strings.Cut(rest, "/")
		hosts, path, hasPath = []string{host}, "/"+tail, slash
		if servers := s.upstreams[host]; len(servers) > 0 {
			hosts = servers
		}
	}
	if !hasPath {
		path = l.path
	}
	path = strings.TrimSuffix(path, "/")
	var to []string
	for _, h := range hosts {
		address, weight, _ := strings.Cut(h, " ")
		switch socket, unix := strings.CutPrefix(address, "unix:"); {
		case unix && path != "":
			address = "unix:" + strings.TrimSuffix(socket, ":") + ":" + path
		case unix:
			address = "unix:" + strings.TrimSuffix(socket, ":")
		default:
			address = scheme + "://" + address + path
		}
		to = append(to, strings.TrimSpace(address+" "+weight))
	}
	m.kind, m.source = "proxy", to[0]
	if len(to) > 1 {
		m.source = ""
		m.options.set("to", to)
	}
	l.proxyOptions(m)
	return true
}

// ownHeaders are those that a proxy mount sets itself.
var ownHeaders = []string{"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-server", "upgrade", "connection", "x-forwarded-prefix", "accept-encoding"}

func (l *location) proxyOptions(m *mount) {
	host := "backend"
	for _, d := range l.all("proxy_set_header") {
		name, value := strings.ToLower(d.arg(0)), d.arg(1)
		text, known := placeholders(value)
		switch {
		case name == "host" && (value == "$host" || value == "$http_host" || value == "$host:$server_port" || value == "$server_name"):
			host = ""
		case name == "host" && value == "$proxy_host":
		case name == "host" && !strings.Contains(value, "$"):
			host = value
		case slices.Contains(ownHeaders, name):
		case name == "x-forwarded-port" || name == "x-forwarded-ssl":
		case value == "":
			headers, _ := m.options.get("request_headers").(fields)
			unset, _ := headers.get("unset").([]string)
			m.options.under("request_headers", "unset", addTo(unset, d.arg(0)))
		case known:
			headers, _ := m.options.get("request_headers").(fields)
			set, _ := headers.get("set").(fields)
			set = slices.Clone(set)
			set.set(d.arg(0), text)
			m.options.under("request_headers", "set", set)
		default:
			l.server.conf.leave(d.at, "headers of a backend may have the placeholders {client}, {host}, {scheme}, {method}, {path}, {query} and {header:NAME}: write it in request_headers")
		}
	}
	included := slices.ContainsFunc(append(slices.Clone(l.own), l.server.outer...), func(d *directive) bool {
		return d.name == "included" && d.arg(0) == "proxy_params"
	})
	if host != "" && !included && !strings.HasPrefix(m.source, "unix:") {
		m.options.set("send_host", host)
	}
	for name, option := range map[string]string{"proxy_read_timeout": "response_timeout", "proxy_connect_timeout": "connect_timeout"} {
		if n, ok := nginxTime(l.value(name)); ok {
			m.options.set(option, n)
		}
	}
	slices.SortStableFunc(m.options, func(a, b field) int {
		isTime := func(f field) int {
			if strings.HasSuffix(f.name, "_timeout") {
				return 1
			}
			return 0
		}
		if d := isTime(a) - isTime(b); d != 0 || isTime(a) == 0 {
			return d
		}
		return strings.Compare(a.name, b.name)
	})
}

// placeholders writes variables of nginx as a proxy mount has them.
func placeholders(value string) (string, bool) {
	text := strings.NewReplacer("$remote_addr", "{client}", "$scheme", "{scheme}", "$request_method", "{method}",
		"$request_uri", "{path}?{query}", "$query_string", "{query}", "$args", "{query}", "$http_host", "{host}", "$host", "{host}").Replace(value)
	return text, !strings.Contains(text, "$")
}
