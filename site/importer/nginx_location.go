package importer

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// location is what holds at a path: the server's directives, then those of the location. In nginx an array
// (add_header, allow, fastcgi_param) of a location replaces the outer one.
type location struct {
	server *nginxServer
	path   string
	regex  string // the pattern of a location by one
	own    []*directive
	at     place
}

// harmless are directives that need no counterpart.
var harmless = strings.Fields(`listen server_name location ssl_certificate ssl_certificate_key ssl ssl_protocols ssl_verify_client
	ssl_client_certificate ssl_ciphers ssl_prefer_server_ciphers ssl_session_cache ssl_session_timeout ssl_session_tickets
	ssl_dhparam ssl_ecdh_curve ssl_stapling ssl_stapling_verify ssl_trusted_certificate ssl_buffer_size http2 http3
	access_log error_log keepalive_timeout client_max_body_size gzip gzip_types gzip_vary gzip_proxied gzip_comp_level
	gzip_min_length gzip_buffers gzip_http_version gzip_disable gzip_static sendfile tcp_nopush tcp_nodelay server_tokens types_hash_max_size
	log_not_found root alias index try_files return rewrite if autoindex autoindex_exact_size autoindex_localtime expires add_header
	auth_basic auth_basic_user_file allow deny satisfy charset types included fastcgi_pass fastcgi_param fastcgi_index
	fastcgi_split_path_info fastcgi_buffers fastcgi_buffer_size fastcgi_read_timeout fastcgi_send_timeout fastcgi_connect_timeout fastcgi_intercept_errors
	fastcgi_buffering fastcgi_request_buffering fastcgi_busy_buffers_size fastcgi_keep_conn fastcgi_hide_header proxy_pass proxy_set_header
	proxy_http_version proxy_buffering proxy_buffers proxy_buffer_size proxy_busy_buffers_size proxy_request_buffering
	proxy_read_timeout proxy_send_timeout proxy_connect_timeout proxy_redirect proxy_hide_header proxy_pass_header proxy_next_upstream
	proxy_max_temp_file_size proxy_temp_path proxy_headers_hash_max_size proxy_headers_hash_bucket_size proxy_ignore_client_abort proxy_intercept_errors
	client_body_buffer_size client_header_timeout client_body_timeout client_header_buffer_size large_client_header_buffers
	send_timeout reset_timedout_connection server_names_hash_bucket_size server_names_hash_max_size port_in_redirect
	absolute_redirect server_name_in_redirect merge_slashes uwsgi_pass uwsgi_param uwsgi_read_timeout uwsgi_modifier1 uwsgi_buffers uwsgi_buffer_size set
	break open_file_cache open_file_cache_valid open_file_cache_min_uses open_file_cache_errors aio directio output_buffers
	etag if_modified_since disable_symlinks worker_connections multi_accept error_page default_type recursive_error_pages`)

// build makes the mounts of a server.
func (s *nginxServer) build() {
	for _, d := range s.outer {
		if !slices.Contains(harmless, d.name) {
			s.conf.nginxUnknown(d)
		}
		if d.name == "error_page" {
			s.conf.nginxUnknown(d)
		}
	}
	base := &location{server: s, path: "/", at: s.out.at}
	var patterns []*directive
	for _, d := range s.locations {
		modifier, path := "", d.arg(0)
		if len(d.args) > 1 {
			modifier, path = d.arg(0), d.arg(1)
		}
		if strings.HasPrefix(modifier, "~") {
			patterns = append(patterns, d)
			continue
		}
		l := &location{server: s, path: clean(path), own: d.children, at: d.at}
		l.check()
		if modifier == "=" && l.onlyLogs() {
			continue
		}
		if m := l.mount(); m != nil {
			if modifier == "=" && m.remark == "" {
				m.remark = "nginx serves this path alone, the mount also what is below it"
			}
			s.add(m)
		}
	}
	if !slices.ContainsFunc(s.out.mounts, func(m *mount) bool { return m.path == "/" }) && (base.value("root") != "" || base.value("try_files") != "") && !s.out.toHTTPS {
		if m := base.mount(); m != nil {
			s.add(m)
		}
	}
	for _, d := range patterns {
		s.patterns = append(s.patterns, nestedPattern(d, "/"))
	}
	for _, n := range slices.Clone(s.patterns) {
		before := len(s.conf.notes)
		s.pattern(n.d, n.path)
		if len(s.conf.notes) > before {
			s.hide(n.d)
		}
	}
	for _, m := range s.out.mounts {
		dropScripts(m)
	}
	if s.out.toHTTPS && len(s.out.mounts) > 0 {
		s.out.toHTTPS = false
		s.out.layers = append([]layer{{name: "https_redirect"}}, s.out.layers...)
	}
	sort := func(a, b *mount) int { return len(b.path) - len(a.path) }
	slices.SortStableFunc(s.out.mounts, sort)
}

// dropScripts removes scripts from the index of mounts of files.
func dropScripts(m *mount) {
	for _, p := range m.parts {
		dropScripts(p)
	}
	index, is := m.options.get("index").([]string)
	if !is || m.kind != "file" && m.kind != "directory" {
		return
	}
	static := slices.DeleteFunc(slices.Clone(index), func(n string) bool { return slices.Contains(scriptEndings, filepath.Ext(n)) })
	switch {
	case len(static) == len(index):
	case len(static) == 0:
		m.options.remove("index")
	default:
		m.options.set("index", static)
	}
}

// check notes what is in a location and becomes nothing.
func (l *location) check() {
	for _, d := range l.own {
		switch {
		case d.name == "if":
			l.server.condition(d)
		case d.name == "location":
			nested := d
			if !strings.HasPrefix(nested.arg(0), "~") {
				copied := *nested
				copied.children = append(slices.Clone(l.inherited()), nested.children...)
				l.server.locations = append(l.server.locations, &copied)
				inner := &location{server: l.server, path: clean(nested.arg(len(nested.args) - 1)), own: copied.children, at: nested.at}
				inner.check()
				if m := inner.mount(); m != nil {
					l.server.add(m)
				}
				continue
			}
			l.server.patterns = append(l.server.patterns, nestedPattern(nested, l.path))
		case d.name == "error_page", !slices.Contains(harmless, d.name):
			l.server.conf.nginxUnknown(d)
		}
	}
}

// inherited are the directives that a location in this one has, too.
func (l *location) inherited() (list []*directive) {
	for _, d := range l.own {
		if !d.section && !strings.HasSuffix(d.name, "_pass") && d.name != "try_files" && d.name != "return" && d.name != "rewrite" {
			list = append(list, d)
		}
	}
	return list
}

// onlyRewrites reports whether a location does nothing but rewrite, and there are no files for it.
func (l *location) onlyRewrites() bool {
	if _, err := os.Stat(l.directory()); err == nil || l.ownDirective("rewrite") == nil {
		return false
	}
	return !slices.ContainsFunc(l.own, func(d *directive) bool { return d.name != "rewrite" })
}

func (l *location) onlyLogs() bool {
	return !slices.ContainsFunc(l.own, func(d *directive) bool {
		return d.name != "log_not_found" && d.name != "access_log" && d.name != "allow"
	})
}

// find returns the directive of the location, or that of the server.
func (l *location) find(name string) *directive {
	for _, list := range [][]*directive{l.own, l.server.outer} {
		for i := len(list) - 1; i >= 0; i-- {
			if list[i].name == name {
				return list[i]
			}
		}
	}
	return nil
}

func (l *location) value(name string) string {
	if d := l.find(name); d != nil {
		return d.arg(0)
	}
	return ""
}

// all returns the directives of a name, those of the server where the location has none.
func (l *location) all(name string) []*directive {
	only := func(list []*directive) (found []*directive) {
		for _, d := range list {
			if d.name == name {
				found = append(found, d)
			}
		}
		return found
	}
	if own := only(l.own); len(own) > 0 {
		return own
	}
	return only(l.server.outer)
}

// ownValue is like value, for directives that are not inherited.
func (l *location) ownDirective(name string) *directive {
	for _, d := range l.own {
		if d.name == name {
			return d
		}
	}
	return nil
}

// mount makes the mount of a location.
func (l *location) mount() *mount {
	m := &mount{path: l.path, from: []string{l.at.comment()}}
	c := l.server.conf
	for _, d := range l.own {
		if d.name == "rewrite" {
			l.server.rewrite(d, l.path)
		}
	}
	switch pass := l.pass(); {
	case l.onlyRewrites():
		return nil // the mount around it has what no rule sends elsewhere
	case l.ownDirective("return") != nil:
		returned := l.server.returned(l.ownDirective("return"), l.path)
		if returned == nil {
			return nil
		}
		returned.from = append(m.from, returned.from...)
		return returned
	case l.ownDirective("internal") != nil:
		return nil // a file of it is sent when an application names it
	case pass != nil:
		if !l.backend(m, pass) {
			return nil
		}
	default:
		l.files(m)
		if m.source == "" && m.kind != "cascade" {
			layers := l.layers()
			if len(layers) == 0 || !slices.ContainsFunc(layers, func(x layer) bool { return x.name == "access" && x.options.get("allow") == nil }) {
				c.leave(l.at, "there is neither root nor a server behind it: write a mount")
				return nil
			}
			m.kind, m.source, m.options = "not_found", "Forbidden", fields{{"status", 403}}
			return m
		}
	}
	m.layers = l.layers()
	return m
}

func (l *location) pass() *directive {
	for _, name := range []string{"proxy_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass"} {
		if d := l.ownDirective(name); d != nil {
			return d
		}
	}
	return nil
}

// directory returns the directory of the location's files.
func (l *location) directory() string {
	if d := l.ownDirective("alias"); d != nil {
		return strings.TrimSuffix(d.arg(0), "/")
	}
	root := strings.TrimSuffix(l.value("root"), "/")
	if root == "" {
		return ""
	}
	return join(root, l.path)
}

// files makes a mount of files, with try_files.
func (l *location) files(m *mount) {
	m.kind, m.source = "file", l.directory()
	if l.value("autoindex") == "on" {
		m.kind = "directory"
	}
	if d := l.find("index"); d != nil && strings.Join(d.args, " ") != "index.html" {
		m.options.set("index", d.args) // dropScripts removes those that stay files
	}
	if m.source != "" {
		m.options.set("follow_symlinks", true)
	}
	if cs := l.value("charset"); cs != "" && cs != "off" {
		m.options.set("charset", cs)
	}
	if cache, ok := cacheControl(l.value("expires")); ok {
		for _, d := range l.all("add_header") {
			if strings.EqualFold(d.arg(0), "cache-control") {
				cache += ", " + d.arg(1)
			}
		}
		m.options.set("cache_control", cache)
	}
	if d := l.find("default_type"); d != nil && d.arg(0) != "application/octet-stream" {
		m.options.set("default_type", d.arg(0))
	}
	if l.value("gzip_static") == "on" {
		m.options.set("precompressed", true)
	}
	if d := l.find("try_files"); d != nil {
		l.tryFiles(m, d)
	}
}

// tryFiles takes try_files. Its last part says what becomes of a path that is no file.
func (l *location) tryFiles(m *mount, d *directive) {
	c := l.server.conf
	if len(d.args) == 0 {
		c.leave(d.at, "it names nothing to try")
		return
	}
	last := d.arg(len(d.args) - 1)
	var tries []string
	for _, a := range d.args[:len(d.args)-1] {
		switch {
		case a == "$uri" || a == "$uri/":
		case strings.HasPrefix(a, "$uri") && !strings.Contains(a[1:], "$"):
			tries = append(tries, "{path}"+strings.TrimPrefix(a, "$uri"))
		case !strings.Contains(a, "$"):
			tries = append(tries, a)
		default:
			c.leave(d.at, "variables in try_files are not carried over: write try_files of the file mount, in which {path} is the path")
		}
	}
	if len(tries) > 0 {
		m.options.set("try_files", tries)
	}
	target, _, _ := strings.Cut(last, "?")
	target = strings.TrimSuffix(strings.TrimSuffix(target, "$uri"), "$request_uri")
	switch {
	case strings.HasPrefix(last, "="):
	case strings.HasPrefix(last, "@"):
		named := l.server.named[last]
		if named == nil {
			c.leave(d.at, "there is no location "+last+": write a cascade mount")
			return
		}
		inner := &location{server: l.server, path: l.path, own: named.children, at: named.at}
		inner.check()
		if part := inner.mount(); part != nil {
			l.cascade(m, part)
		}
	case strings.HasSuffix(target, ".html") || strings.HasSuffix(target, ".htm"):
		m.options.set("try_files", append(tries, target))
	case strings.HasSuffix(target, ".php"):
		l.server.phpFront = target // the pattern for PHP makes a cascade of it
	default:
		if script := l.server.scriptAt(target); script != nil {
			l.cascade(m, script)
			return
		}
		c.leave(d.at, "write a cascade mount: the files, then what answers for "+last)
	}
}

// cascade puts an application behind the files of a mount.
func (l *location) cascade(m *mount, app *mount) {
	app.path, app.host = "", ""
	m.from = append(m.from, app.from...)
	app.from = nil
	if m.source == "" {
		app.path, app.from = m.path, m.from
		*m = *app
		return
	}
	files := &mount{kind: m.kind, source: m.source, options: m.options}
	if !slices.Contains(l.find("try_files").args, "$uri/") {
		files.options.set("index", []string{})
	}
	m.kind, m.source, m.options, m.parts = "cascade", "", nil, []*mount{files, app}
}

// scriptAt returns the script that another location runs for a path.
func (s *nginxServer) scriptAt(path string) *mount {
	for _, d := range s.locations {
		if !strings.HasPrefix(d.arg(0), "~") {
			continue
		}
		re, err := regexp.Compile(d.arg(1))
		if err != nil || !re.MatchString(path) {
			continue
		}
		l := &location{server: s, path: "/", own: d.children, at: d.at}
		if pass := l.pass(); pass != nil && strings.Contains(pass.arg(0), "fcgiwrap") {
			return &mount{kind: "cgi", source: join(strings.TrimSuffix(l.value("root"), "/"), path), options: l.environment(), from: []string{d.at.comment()}}
		}
	}
	return nil
}

func nestedPattern(d *directive, path string) nested { return nested{d, path} }

var scriptWord = regexp.MustCompile(`\b(php\d?|phtml|pl|cgi|fcgi|py|rb)\b`)

// hide answers 404 for scripts whose location is not carried over. Otherwise a mount of files would send
// their source.
func (s *nginxServer) hide(d *directive) {
	l := &location{server: s, own: d.children}
	if l.pass() == nil {
		return
	}
	var paths []string
	for _, e := range scriptWord.FindAllString(d.arg(1), -1) {
		if !slices.Contains(paths, "*."+e) {
			paths = append(paths, "*."+e)
		}
	}
	if len(paths) == 0 {
		return
	}
	hidden := deniedAll()
	hidden.options.set("status", 404)
	hidden.options.under("when", "path", paths)
	s.out.layers = append(s.out.layers, hidden)
}

// pattern takes a location by regular expression, where it is about endings.
func (s *nginxServer) pattern(d *directive, path string) {
	l := &location{server: s, path: path, regex: d.arg(1), own: d.children, at: d.at}
	if strings.Contains(l.regex, `/\.`) && slices.ContainsFunc(l.own, func(x *directive) bool { return x.name == "deny" }) {
		return // files whose names begin with a dot: the mounts refuse them then
	}
	l.check()
	expression := strings.TrimSuffix(strings.NewReplacer("(?:", "(", "^(.+", "", "(/|$)", "$", "(/.*)?$", "$", "(/.+)?$", "$", "[^/]", "").Replace(l.regex), "$") + "$"
	m := extensionPattern.FindStringSubmatch(expression)
	pass := l.pass()
	if m == nil {
		s.conf.leave(d.at, "patterns of paths are not carried over, except for endings of files: write a mount for a prefix, or a router mount with parameters")
		return
	}
	var endings []string
	for _, e := range strings.Split(m[1], "|") {
		endings = append(endings, "*."+e)
	}
	root := s.rootMount(l)
	switch {
	case root == nil:
		s.conf.leave(d.at, "there is no mount at "+path+" with files: write a mount")
	case pass != nil && pass.name == "fastcgi_pass" && strings.Contains(pass.arg(0), "fcgiwrap"):
		files := root
		if root.kind == "cascade" && len(root.parts) > 0 {
			files = root.parts[0]
		}
		files.kind = "cgi"
		var kept fields
		for _, f := range files.options {
			if f.name == "follow_symlinks" {
				kept = append(kept, f)
			}
		}
		if index := scriptIndex(files.options, endings); index != "" {
			kept = append(kept, field{"index", index})
		}
		files.options = append(append(kept, field{"static", "serve"}), l.environment()...)
		root.from = append(root.from, d.at.comment())
	case pass != nil && pass.name == "fastcgi_pass" && slices.Contains(endings, "*.php"):
		to, ok := s.fastcgi(pass.arg(0))
		if root.kind == "cascade" || !ok || root.source == "" {
			s.conf.leave(d.at, "write a cascade mount of files and proxy: {to: fastcgi+unix:SOCKET, root: DIRECTORY, split_path: .php}")
			return
		}
		dir := root.source
		if root.kind != "file" && root.kind != "directory" {
			s.conf.leave(d.at, "write a cascade mount of what is at /, and proxy: {to: fastcgi+unix:SOCKET, root: DIRECTORY, split_path: .php}")
			return
		}
		root.kind, root.source, root.options, root.parts = "cascade", "", nil, phpParts(dir, to, true)
		if s.phpFront != "" {
			last := *root.parts[1]
			last.layers = []layer{{"rewrite", fields{{"rules", []fields{{{"match", "^.*$"}, {"to", s.phpFront}}}}}}}
			root.parts = append(root.parts, &last)
		}
		root.from = append(root.from, d.at.comment())
	case pass != nil:
		s.conf.leave(d.at, "only scripts for fcgiwrap and php-fpm are carried over by their endings: write a proxy mount for a prefix")
	default:
		l.rules(root, endings)
	}
}

func scriptIndex(options fields, endings []string) string {
	index, _ := options.get("index").([]string)
	for _, i := range index {
		if slices.Contains(endings, "*"+filepath.Ext(i)) {
			return i
		}
	}
	return ""
}

// rules takes what a location says about files with some endings: how long they are kept, and for whom they are.
func (l *location) rules(root *mount, endings []string) {
	files := root
	if root.kind == "cascade" {
		files = root.parts[0]
	}
	if cache, ok := cacheControl(l.value("expires")); ok {
		if files.kind != "file" && files.kind != "directory" {
			l.server.conf.leave(l.at, "the mount around it has no files: let the application send Cache-Control")
		} else {
			for _, e := range endings {
				files.options.under("cache_rules", e, cache)
			}
		}
	}
	for _, layer := range (&location{server: &nginxServer{conf: l.server.conf}, path: l.path, own: l.own, at: l.at}).layers() {
		layer.options.under("when", "path", endings)
		root.layers = append(root.layers, layer)
	}
}

// rootMount returns the mount at the path around a location, and makes one of files where there is none.
func (s *nginxServer) rootMount(l *location) *mount {
	for _, m := range s.out.mounts {
		if m.path == l.path {
			return m
		}
	}
	if l.value("root") == "" {
		return nil
	}
	m := &mount{path: l.path}
	(&location{server: s, path: l.path, own: l.own, at: l.at}).files(m)
	s.add(m)
	return m
}

// cacheControl is what expires sends as Cache-Control.
func cacheControl(text string) (string, bool) {
	switch text {
	case "", "off":
		return "", false
	case "max":
		return "max-age=315360000", true
	case "epoch", "-1":
		return "no-cache", true
	}
	seconds, ok := nginxTime(text)
	return "max-age=" + scalar(seconds), ok
}

// layers returns the middleware of a location.
func (l *location) layers() (layers []layer) {
	var set fields
	for _, d := range l.all("add_header") {
		_, expires := cacheControl(l.value("expires"))
		switch name := strings.ToLower(d.arg(0)); {
		case name == "cache-control" && expires && l.pass() == nil:
			// files says it
		case strings.Contains(d.arg(1), "$"):
			l.server.conf.leave(d.at, "headers with variables are not carried over; see the middleware headers")
		default:
			set.set(name, d.arg(1))
		}
	}
	hidden := append(l.all("proxy_hide_header"), l.all("fastcgi_hide_header")...)
	var response fields
	var unset []string
	for _, d := range hidden {
		unset = append(unset, strings.ToLower(d.arg(0)))
	}
	if len(unset) > 0 {
		response.set("unset", unset)
	}
	if len(set) > 0 {
		response.set("set", set)
	}
	if len(response) > 0 {
		layers = append(layers, layer{"headers", fields{{"response", response}}})
	}
	var allow, deny []string
	all, lost, last := "", false, l.at
	inOrder := slices.Concat(l.all("allow"), l.all("deny"))
	slices.SortStableFunc(inOrder, func(a, b *directive) int { return a.at.line - b.at.line })
	for _, d := range inOrder {
		last = d.at
		switch {
		case all != "":
		case d.arg(0) == "all":
			all = d.name
		case d.arg(0) == "unix:":
			if d.name == "allow" {
				allow = append(allow, "unix")
			} else {
				deny = append(deny, "unix")
			}
		default:
			network, ok := parseNetwork(d.arg(0))
			lost = lost || !ok
			if d.name == "allow" {
				allow = append(allow, network)
			} else {
				deny = append(deny, network)
			}
		}
	}
	if all == "allow" || all == "" && len(deny) > 0 {
		if len(allow) > 0 && len(deny) > 0 {
			allow = append(allow, "0.0.0.0/0", "::/0", "unix")
		} else {
			allow = nil
		}
	} else if all == "" {
		allow = nil // without deny, allow changes nothing
	}
	if lost {
		l.server.conf.leave(last, "this address is not understood; until you write the middleware access the place is closed to all but this machine")
		return append(layers, closed())
	}
	var access []layer
	switch {
	case all == "deny" && len(allow) == 0:
		access = []layer{deniedAll()}
	case len(allow)+len(deny) > 0:
		var f fields
		if len(allow) > 0 {
			f.set("allow", allow)
		}
		if len(deny) > 0 {
			f.set("deny", deny)
		}
		access = []layer{{"access", f}}
	}
	realm := l.value("auth_basic")
	if realm == "" || realm == "off" {
		return append(layers, access...)
	}
	login := layer{"basic_auth", fields{{"realm", realm}, {"htpasswd", l.value("auth_basic_user_file")}}}
	if l.value("auth_basic_user_file") == "" {
		l.server.conf.leave(l.at, "auth_basic has no auth_basic_user_file; the place is closed to all but this machine")
		return append(layers, closed())
	}
	if l.value("satisfy") == "any" && all == "deny" {
		if len(allow) > 0 {
			login.options.under("unless", "address", allow)
		}
		return append(layers, login)
	}
	return append(append(layers, access...), login)
}

// environment is the env of a cgi mount, out of fastcgi_param.
func (l *location) environment() (options fields) {
	var env fields
	params := l.all("fastcgi_param")
	if slices.ContainsFunc(append(slices.Clone(l.own), l.server.outer...), func(d *directive) bool {
		return d.name == "included" && strings.HasPrefix(d.arg(0), "fastcgi")
	}) {
		params = append([]*directive{{args: []string{"DOCUMENT_ROOT", "$document_root"}}}, params...)
	}
	for _, d := range params {
		name, value := d.arg(0), d.arg(1)
		if name == "DOCUMENT_ROOT" && value == "$document_root" {
			value = l.documentRoot()
		}
		switch {
		case name == "HTTP_AUTHORIZATION" || name == "AUTHORIZATION":
			options.set("authorization", true)
		case name == "DOCUMENT_ROOT" && value != "" && !strings.Contains(value, "$"):
			options.set("document_root", value)
		case strings.Contains(value, "$"), name == "SCRIPT_FILENAME", name == "SCRIPT_NAME", name == "PATH_INFO", name == "HTTPS", name == "DOCUMENT_ROOT", name == "GATEWAY_INTERFACE", name == "SERVER_SOFTWARE", name == "REDIRECT_STATUS":
		default:
			env.set(name, value)
		}
	}
	if len(env) > 0 {
		options.set("env", env)
	}
	if n, ok := nginxTime(l.value("fastcgi_read_timeout")); ok {
		options.set("request_timeout", n)
	}
	return options
}

// documentRoot is what $document_root stands for.
func (l *location) documentRoot() string {
	if d := l.ownDirective("alias"); d != nil {
		return strings.TrimSuffix(d.arg(0), "/")
	}
	return strings.TrimSuffix(l.value("root"), "/")
}

// param returns the value of a fastcgi_param.
func (l *location) param(name string) string {
	for _, d := range l.all("fastcgi_param") {
		if d.arg(0) == name {
			return d.arg(1)
		}
	}
	return ""
}
