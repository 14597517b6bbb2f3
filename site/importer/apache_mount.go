package importer

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// mountAt makes the mount for a place. It reports whether something of its own begins there: an alias or a
// proxy.
func (h *apacheHost) mountAt(path, fs string, owner *alias, s *settings, proxies []*directive, balancers map[string][]string) (m *mount, own bool) {
	c := h.conf
	m = &mount{path: path}
	at := h.out.at
	if owner != nil {
		at = owner.at
		own = owner.path == path || slices.ContainsFunc(h.proxies, func(d *directive) bool { return d.is(1, "!") && clean(d.arg(0)) == path })
	}
	var proxy *directive
	for _, d := range proxies {
		if isBelow(path, d.arg(0)) && (proxy == nil || len(clean(d.arg(0))) > len(clean(proxy.arg(0)))) && !h.excluded(path, d) {
			proxy = d
		}
	}
	switch {
	case proxy != nil && (owner == nil || !own || len(clean(proxy.arg(0))) >= len(owner.path)):
		at, own = proxy.at, clean(proxy.arg(0)) == path
		if !h.proxied(m, proxy, path, s, balancers) {
			return nil, false
		}
	case s.perlHandler != "" || s.handler == "perl-script" || s.handler == "modperl":
		for _, l := range h.location(path) {
			if slices.ContainsFunc(l.children, func(d *directive) bool { return d.name == "sethandler" || d.name == "perlresponsehandler" }) {
				at, own = l.at, true
			}
		}
		h.modPerl(m, fs, s, at)
	case owner == nil:
		if strings.HasPrefix(s.handler, "server-") || s.handler == "status" {
			for _, l := range h.location(path) {
				c.leave(l.at, "pagi-bridge status tells what the gateway is doing; set status_socket")
			}
			return nil, false
		}
		return nil, false
	case strings.HasPrefix(s.handler, "server-"):
		if locations := h.location(path); len(locations) > 0 {
			at = locations[0].at
		}
		c.leave(at, "pagi-bridge status tells what the gateway is doing; set status_socket")
		return nil, false
	default:
		h.files(m, fs, owner, s, at)
	}
	if own {
		m.from = append(m.from, at.comment())
	}
	m.layers = h.around(s, at, m)
	return m, own
}

// excluded reports whether ProxyPass PATH ! takes a path out of a proxy.
func (h *apacheHost) excluded(path string, proxy *directive) bool {
	for _, d := range h.proxies {
		if d.is(1, "!") && isBelow(path, d.arg(0)) && len(clean(d.arg(0))) > len(clean(proxy.arg(0))) {
			return true
		}
	}
	return false
}

// proxied makes a proxy mount of ProxyPass. It reports false for a backend that no mount can reach.
func (h *apacheHost) proxied(m *mount, d *directive, path string, s *settings, balancers map[string][]string) bool {
	rest := strings.TrimPrefix(path, strings.TrimSuffix(clean(d.arg(0)), "/"))
	var to []string
	if url := d.arg(1); strings.HasPrefix(url, "balancer://") {
		name, tail, _ := strings.Cut(strings.TrimPrefix(url, "balancer://"), "/")
		for _, member := range balancers["balancer://"+name] {
			address, weight, _ := strings.Cut(member, " ")
			if b, ok := backend(join(address, tail+rest)); ok {
				to = append(to, strings.TrimSpace(b+" "+weight))
			}
		}
	} else if b, ok := backend(join(url, rest)); ok {
		to = []string{b}
	}
	if len(to) == 0 {
		if path != clean(d.arg(0)) {
			return false
		}
		h.conf.unavailable(m, d.arg(1), d.at, "a gateway reaches servers of HTTP and FastCGI: have the application listen for HTTP, or write a mount that starts it", "write psgi: FILE or proxy: ADDRESS in place of not_found")
		return true
	}
	m.kind, m.source = "proxy", to[0]
	if len(to) > 1 {
		m.kind, m.source = "proxy", ""
		m.options.set("to", to)
	}
	if !h.preserve && !strings.HasPrefix(to[0], "fastcgi") && !strings.HasPrefix(to[0], "unix:") {
		m.options.set("send_host", "backend")
	}
	for _, a := range d.after(2) {
		switch key, value, _ := strings.Cut(a, "="); strings.ToLower(key) {
		case "timeout":
			m.options.set("response_timeout", number(value))
		case "connectiontimeout":
			m.options.set("connect_timeout", number(value))
		case "max":
			m.options.set("max_conns", number(value))
		}
	}
	return true
}

// backend returns the address of a proxy mount for a URL of ProxyPass.
func backend(url string) (string, bool) {
	if socket, rest, is := strings.Cut(url, "|"); is {
		socket = strings.TrimPrefix(socket, "unix:")
		scheme, tail, _ := strings.Cut(rest, "://")
		_, tail, _ = strings.Cut(tail, "/")
		switch {
		case scheme == "fcgi":
			return "fastcgi+unix:" + socket, true
		case scheme != "http":
			return "", false
		case tail != "":
			return "unix:" + socket + ":/" + tail, true
		}
		return "unix:" + socket, true
	}
	scheme, rest, is := strings.Cut(url, "://")
	if !is {
		return "", false
	}
	rest = strings.TrimSuffix(rest, "/")
	switch scheme {
	case "http", "ws":
		return "http://" + rest, true
	case "https", "wss":
		return "https://" + rest, true
	case "h2c":
		return url, true
	case "fcgi":
		host, _, _ := strings.Cut(rest, "/")
		return "fastcgi://" + host, true
	}
	return "", false
}

// modPerl makes a mount of what mod_perl runs.
func (h *apacheHost) modPerl(m *mount, fs string, s *settings, at place) {
	switch handler := s.perlHandler; {
	case handler == "Plack::Handler::Apache2" || handler == "Plack::Handler::Apache1":
		m.kind, m.source = "psgi", s.perlVars["psgi_app"]
		if m.source == "" {
			h.conf.leave(at, "PerlSetVar psgi_app names no file: write psgi: FILE in place of the mount")
			m.kind, m.source, m.options = "not_found", "Service Unavailable", fields{{"status", 503}}
			return
		}
		h.environment(m, s)
	case strings.HasPrefix(handler, "ModPerl::Registry"), strings.HasPrefix(handler, "ModPerl::PerlRun"), handler == "Apache::Registry", handler == "Apache::PerlRun":
		m.kind, m.source = "cgi", fs
		if fs == "" {
			h.conf.leave(at, "no Alias says where the scripts are: write cgi: DIRECTORY in place of the mount")
			m.kind, m.source, m.options = "not_found", "Service Unavailable", fields{{"status", 503}}
			return
		}
		// Scripts of Registry need no execute bit.
		m.options = fields{{"interpreters", fields{{".pl", "/usr/bin/perl"}, {".cgi", "/usr/bin/perl"}}}}
		h.scriptOptions(m, s)
	default:
		h.conf.leave(at, "handlers of mod_perl have the interface of Apache: write it as a PSGI application, and psgi: FILE in place of the mount")
		m.kind, m.source, m.options = "not_found", "Service Unavailable", fields{{"status", 503}}
	}
}

// files makes a mount of a directory, or of a script.
func (h *apacheHost) files(m *mount, fs string, owner *alias, s *settings, at place) {
	scripts := s.exec && len(s.handlers) > 0
	all := s.script || s.exec && (s.handler == "cgi-script" || s.handler == "fcgid-script")
	ending := filepath.Ext(fs)
	oneScript := ending != "" && slices.Contains([]string{".cgi", ".pl", ".fcgi", ".py", ".sh"}, ending) || isScript(fs)
	if ending == ".fcgi" && (all || scripts) {
		h.conf.leave(at, "a program of FastCGI is started for each request as a script of CGI; for more speed start it on a socket (spawn-fcgi) and write proxy: fastcgi+unix:SOCKET, or psgi: FILE if it is a PSGI application")
	}
	switch {
	case all && oneScript:
		m.kind, m.source, m.single = "cgi", fs, true
		h.scriptOptions(m, s)
		m.options.remove("follow_symlinks")
	case all:
		m.kind, m.source = "cgi", fs
		h.scriptOptions(m, s)
	case scripts && oneScript && slices.Contains(s.handlers, ending):
		m.kind, m.source, m.single = "cgi", fs, true
		h.scriptOptions(m, s)
		m.options.remove("follow_symlinks")
	case scripts && oneScript && owner.path == m.path:
		m.kind, m.source = "file", fs
	case scripts || h.runsPHP(s, fs):
		m.kind, m.source = "cgi", fs
		if h.php(m, fs, s, at) {
			return
		}
		h.scriptOptions(m, s)
		if index := scriptIndexOf(fs, s); index != "" {
			m.options.set("index", index)
		}
		m.options.set("static", "serve")
		h.withFront(m, fs, s)
	default:
		m.kind, m.source = "file", fs
		if s.indexes {
			m.kind = "directory"
		}
		if index := h.staticIndex(m, s, at); len(index) > 0 && strings.Join(index, " ") != "index.html" {
			m.options.set("index", index)
		}
		if s.links != false {
			m.options.set("follow_symlinks", s.links)
		}
		h.fileOptions(m, s)
		h.withFront(m, fs, s)
	}
}

// scriptIndexOf returns the script that answers for a directory, "" if a file does or none is there. On
// another machine the first script that DirectoryIndex names is taken to be there.
func scriptIndexOf(dir string, s *settings) string {
	index := s.index
	if len(index) == 0 { // Debian has these among the index files
		index = []string{"index.html", "index.cgi", "index.pl", "index.php"}
	}
	_, missing := os.Stat(dir)
	for _, name := range index {
		ending := filepath.Ext(name)
		runs := slices.Contains(s.handlers, ending) || ending == ".php" && s.php || ending == ".php" && len(s.index) > 0
		if missing != nil {
			if runs && len(s.index) > 0 {
				return name
			}
			continue
		}
		if _, err := os.Stat(join(dir, name)); err == nil {
			if !runs {
				return ""
			}
			return name
		}
	}
	return ""
}

// scriptEndings are those of files whose source no client should see.
var scriptEndings = []string{".cgi", ".fcgi", ".pl", ".php", ".py", ".rb", ".sh"}

// staticIndex returns the names of an index that are no scripts. If one is a script that another alias runs,
// the path of the directory is rewritten to it.
func (h *apacheHost) staticIndex(m *mount, s *settings, at place) (static []string) {
	for _, name := range s.index {
		if !slices.Contains(scriptEndings, filepath.Ext(name)) {
			static = append(static, name)
			continue
		}
		path := strings.TrimSuffix(m.path, "/") + "/" + name
		if slices.ContainsFunc(h.aliases, func(a alias) bool { return a.script && a.path == path }) {
			if len(s.limits(h.conf, at)) > 0 { // a rewrite would pass them by
				h.conf.leave(at, "its index "+path+" is a script of another mount: ask for that path")
				continue
			}
			h.rule(fields{{"match", "^" + regexp.QuoteMeta(strings.TrimSuffix(m.path, "/")) + "/$"}, {"to", path}}, nil)
		}
	}
	return static
}

// isScript reports whether a file without an ending is a script on this machine.
func isScript(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

func (h *apacheHost) fileOptions(m *mount, s *settings) {
	if len(s.types) > 0 {
		m.options.set("types", s.types)
	}
	if s.defType != "" {
		m.options.set("default_type", s.defType)
	}
	if s.charset != "" {
		m.options.set("charset", s.charset)
	}
	if s.cache != "" {
		m.options.set("cache_control", s.cache)
	}
}

// scriptOptions sets the options of a cgi mount.
func (h *apacheHost) scriptOptions(m *mount, s *settings) {
	if s.registry && !m.single {
		for _, e := range s.handlers {
			m.options.under("interpreters", e, "/usr/bin/perl")
		}
	}
	if s.links != false && s.links != nil {
		m.options.set("follow_symlinks", s.links)
	}
	h.environment(m, s)
	if len(s.passEnv) > 0 {
		m.options.set("pass_env", s.passEnv)
	}
	if s.authorization {
		m.options.set("authorization", true)
	}
	if s.admin != "" {
		m.options.set("server_admin", s.admin)
	}
	if h.root != "" {
		m.options.set("document_root", h.root)
	}
	if s.maxBody > 0 {
		m.options.set("max_body_size", s.maxBody)
	}
}

// environment sets the variables and the time limit of a mount that runs programs.
func (h *apacheHost) environment(m *mount, s *settings) {
	if len(s.env) > 0 {
		m.options.set("env", s.env)
	}
	if s.timeout > 0 {
		m.options.set("request_timeout", s.timeout)
	}
}

// php makes a mount for a directory with scripts in PHP. Without one their source would be sent.
func (h *apacheHost) php(m *mount, fs string, s *settings, at place) bool {
	if !h.runsPHP(s, fs) {
		return false
	}
	if strings.HasPrefix(s.handler, "proxy:") {
		to, ok := backend(strings.TrimPrefix(s.handler, "proxy:"))
		if !ok {
			return false
		}
		m.kind, m.source = "cascade", ""
		m.parts = phpParts(fs, to, s.links)
		return true
	}
	if _, err := os.Stat(phpCGI); err != nil {
		h.conf.leave(at, "scripts in PHP need "+phpCGI+": install php-cgi and import again; until then no file of the directory is served that is no program")
		return true
	}
	m.options.under("interpreters", ".php", phpCGI)
	s.env = slices.Clone(s.env)
	s.env.set("REDIRECT_STATUS", "200") // php-cgi wants it
	return false
}

// phpCGI is the program that runs scripts in PHP.
var phpCGI = "/usr/bin/php-cgi"

// runsPHP reports whether Apache runs scripts in PHP in a directory, and there may be some.
func (h *apacheHost) runsPHP(s *settings, dir string) bool {
	return (s.php || slices.Contains(s.index, "index.php")) && hasPHP(dir)
}

// walked is how many files hasPHP looks at.
const walked = 5000

// hasPHP reports whether there may be scripts in PHP below a directory: whether it has some, is on another
// machine, or is too large to tell.
func hasPHP(dir string) bool {
	found, seen := false, 0
	err := filepath.WalkDir(dir, func(file string, _ fs.DirEntry, err error) error {
		seen++
		ending := filepath.Ext(file)
		if found = ending == ".php" || ending == ".phtml" || ending == ".phar" || seen > walked; found {
			return fs.SkipAll
		}
		return err
	})
	return found || err != nil
}

// phpParts serves the scripts below a directory by a FastCGI server, and the other files itself. The scripts
// go first, so that their source is never sent.
func phpParts(dir, to string, links any) []*mount {
	files := &mount{kind: "file", source: dir, options: fields{{"index", []string{}}}}
	if links == true || links == "owner" {
		files.options.set("follow_symlinks", links)
	}
	files.layers = []layer{{"access", fields{{"status", 404}, {"deny", []string{"0.0.0.0/0", "::/0", "unix"}}, {"when", fields{{"path", []string{"*.php"}}}}}}}
	return []*mount{files, {kind: "proxy", source: to, options: fields{{"root", dir}, {"split_path", ".php"}, {"index", "index.php"}}}}
}

// withFront puts a front controller, which gets the paths that are no files, behind the files of a mount.
func (h *apacheHost) withFront(m *mount, fs string, s *settings) {
	target := s.fallback
	at := s.fallbackAt
	if h.front != nil && h.front.base == m.path {
		target, at = h.front.target, h.front.at
	}
	if target == "" {
		return
	}
	file := join(fs, strings.TrimPrefix(clean(target), strings.TrimSuffix(m.path, "/")))
	m.from = append(m.from, at.comment())
	switch ending := filepath.Ext(file); ending {
	case ".html", ".htm":
		if m.kind == "cgi" {
			h.conf.leave(at, "write a cascade mount of the scripts and of file: "+fs+" with try_files")
			return
		}
		m.options.set("try_files", []string{strings.TrimPrefix(file, fs)})
	case ".php":
		h.conf.leave(at, "a front controller in PHP: write a cascade mount with files, then proxy: {to: fastcgi+unix:SOCKET, root: "+fs+", split_path: .php}")
	default:
		if m.kind == "cascade" {
			h.conf.leave(at, "write a cascade mount of the files, then cgi: "+file)
			return
		}
		files := &mount{kind: m.kind, source: m.source, options: m.options}
		if m.kind == "cgi" {
			files.options.set("static", "serve")
		} else {
			files.options.set("index", []string{})
		}
		script := &mount{kind: "cgi", source: file}
		h.scriptOptions(script, s)
		script.options.remove("follow_symlinks")
		m.kind, m.source, m.options, m.parts = "cascade", "", nil, []*mount{files, script}
	}
}

// around returns the middleware of a place, in the order that docs/middleware.md advises.
func (h *apacheHost) around(s *settings, at place, m *mount) []layer {
	var layers []layer
	if len(s.request)+len(s.response) > 0 {
		var f fields
		if len(s.request) > 0 {
			f = append(f, field{"request", s.request})
		}
		if len(s.response) > 0 {
			f = append(f, field{"response", s.response})
		}
		layers = append(layers, layer{"headers", f})
	}
	var limits []layer
	for _, l := range s.denied {
		if l.name == "gzip" {
			layers = append(layers, l)
		} else {
			limits = append(limits, l)
		}
	}
	if len(s.errors) > 0 {
		var pages fields
		for _, e := range s.errors {
			page := e.value.(string)
			if fs, owner := h.target(clean(page)); owner != nil && !owner.script {
				pages.set(e.name, fs)
			}
		}
		if len(pages) > 0 {
			layers = append(layers, layer{"error_handler", fields{{"pages", pages}}})
		}
	}
	return append(append(layers, limits...), s.limits(h.conf, at)...)
}
