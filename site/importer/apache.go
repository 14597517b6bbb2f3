package importer

import (
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// alias is a path that leads to files, or to a program.
type alias struct {
	path, target string
	script       bool
	at           place
}

// apacheHost is the main server of Apache, or a virtual host with what it has of the main server.
type apacheHost struct {
	conf     *conf
	list     []*directive // its own, then those of the main server
	own      []*directive
	aliases  []alias
	root     string
	preserve bool // ProxyPreserveHost
	proxies  []*directive
	out      *vhost
	front    *front
	names    []string // paths of files with sections of their own
}

// apache reads a configuration of Apache, or a snippet of one.
func (c *conf) apache(file, text string) error {
	p := &apacheParser{conf: c, defines: map[string]string{}}
	list, err := p.parse(file, text)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return nil
	}
	var main []*directive
	var hosts []*directive
	for _, d := range list {
		if d.name == "virtualhost" && d.section {
			hosts = append(hosts, d)
		} else {
			main = append(main, d)
		}
	}
	for _, d := range main {
		c.mainServer(d)
	}
	balancers := balancersOf(main)
	if len(hosts) == 0 {
		c.apacheVhost(main, nil, &vhost{at: list[0].at}, balancers)
		return nil
	}
	for _, d := range hosts {
		v := &vhost{at: d.at}
		for _, a := range d.args {
			v.ports = append(v.ports, c.vhostAddresses(a, d)...)
		}
		c.apacheVhost(d.children, main, v, balancers)
	}
	return nil
}

// htaccess reads a .htaccess as that of the document root of a site.
func (c *conf) htaccess(file, text string) error {
	p := &apacheParser{conf: c, defines: map[string]string{}}
	list, err := p.parse(file, text)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return err
	}
	at := place{file, 1, ".htaccess"}
	section := &directive{name: "directory", args: []string{dir}, at: at, children: list, section: true}
	root := &directive{name: "documentroot", args: []string{dir}, rest: dir, at: at}
	c.apacheVhost([]*directive{root, section}, nil, &vhost{at: at}, nil)
	return nil
}

// mainServer takes what can only stand outside of virtual hosts.
func (c *conf) mainServer(d *directive) {
	switch d.name {
	case "listen":
		address := d.arg(0)
		if !strings.Contains(address, ":") {
			address = ":" + address
		}
		c.listenAt(listener{address: address, tls: d.is(1, "https")})
	case "user", "group":
		if d.arg(0) != "" && !strings.HasPrefix(d.arg(0), "${") {
			c.leave(d.at, fmt.Sprintf("put %s: %s at the top of the site file where the gateway is started as root", d.name, strings.TrimPrefix(d.arg(0), "#")))
		}
	case "keepalivetimeout":
		c.top.set("timeout", number(d.arg(0)))
	}
}

// vhostAddresses returns the addresses at which a virtual host is served. Apache listens only where Listen says so; a
// snippet without Listen has those of its virtual hosts.
func (c *conf) vhostAddresses(a string, d *directive) []string {
	host, port, err := net.SplitHostPort(a)
	if err != nil {
		return []string{a}
	}
	if port == "*" {
		return nil
	}
	if host == "*" || host == "_default_" {
		host = ""
	}
	var addresses []string
	for i, l := range c.listen {
		listens, p, err := net.SplitHostPort(l.address)
		if err == nil && p == port && (host == "" || listens == "" || host == listens) {
			c.listen[i].tls = l.tls || engine(d.children)
			addresses = append(addresses, l.address)
		}
	}
	if len(addresses) == 0 {
		addresses = []string{net.JoinHostPort(host, port)}
		c.listenAt(listener{address: addresses[0], tls: engine(d.children)})
	}
	return addresses
}

func engine(list []*directive) bool {
	return slices.ContainsFunc(list, func(d *directive) bool { return d.name == "sslengine" && d.is(0, "on") })
}

// balancersOf returns the members of balancers by their names.
func balancersOf(list []*directive) map[string][]string {
	all := map[string][]string{}
	for _, d := range list {
		if d.name == "proxy" && d.section && strings.HasPrefix(d.arg(0), "balancer://") {
			for _, m := range d.children {
				if m.name == "balancermember" {
					to := m.arg(0)
					for _, a := range m.after(1) {
						if weight, is := strings.CutPrefix(a, "loadfactor="); is {
							to += " weight=" + weight
						}
					}
					all[strings.TrimSuffix(d.arg(0), "/")] = append(all[strings.TrimSuffix(d.arg(0), "/")], to)
				}
			}
		}
	}
	return all
}

// apacheVhost makes a vhost of a server's directives.
func (c *conf) apacheVhost(own, main []*directive, v *vhost, balancers map[string][]string) {
	h := &apacheHost{conf: c, own: own, list: append(slices.Clone(own), main...), out: v}
	v.tls = engine(own)
	if more := balancersOf(own); len(more) > 0 {
		balancers = more
	}
	var cert certificate
	for _, d := range h.list {
		isOwn := slices.Contains(own, d)
		switch d.name {
		case "servername", "serveralias":
			if isOwn {
				for _, n := range d.args {
					h.name(n, d)
				}
			}
		case "documentroot":
			if h.root == "" {
				h.root = d.arg(0)
			}
		case "alias", "scriptalias":
			if len(d.args) == 2 {
				h.aliases = append(h.aliases, alias{clean(d.arg(0)), strings.TrimSuffix(d.arg(1), "/"), d.name == "scriptalias", d.at})
			}
		case "aliasmatch", "scriptaliasmatch":
			if path, target, ok := plainMatch(d.arg(0), d.arg(1)); ok {
				h.aliases = append(h.aliases, alias{path, target, d.name == "scriptaliasmatch", d.at})
			} else {
				c.leave(d.at, "write a mount for each path that it stands for, or a route with a parameter in a router mount")
			}
		case "proxypreservehost":
			h.preserve = h.preserve || d.is(0, "on")
		case "proxypass":
			h.proxies = append(h.proxies, d)
		case "proxypassmatch":
			h.proxyMatch(d)
		case "redirect", "redirectpermanent", "redirecttemp":
			h.redirect(d)
		case "redirectmatch":
			h.redirectMatch(d)
		case "sslcertificatefile":
			cert.cert = d.arg(0)
		case "sslcertificatekeyfile":
			cert.key = d.arg(0)
		case "sslcertificatechainfile":
			c.leave(d.at, "append the chain to the file of the certificate, which holds both here")
		case "sslprotocol":
			h.protocol(d)
		case "sslverifyclient":
			switch {
			case d.is(0, "require"):
				c.tls.set("client_auth", "required")
			case d.is(0, "optional"):
				c.tls.set("client_auth", "optional")
			}
		case "sslcacertificatefile":
			c.tls.set("client_ca", d.arg(0))
		case "customlog", "transferlog", "errorlog":
			h.log(d, isOwn && main != nil)
		}
	}
	if v.tls {
		c.addCertificate(cert)
	}
	if h.root != "" {
		at := v.at
		for _, d := range h.list {
			if d.name == "documentroot" {
				at = d.at
				break
			}
		}
		h.aliases = append(h.aliases, alias{"/", strings.TrimSuffix(h.root, "/"), false, at})
	}
	h.htaccessFiles()
	h.serverRewrites()
	h.build(balancers)
	c.vhosts = append(c.vhosts, v)
}

func (h *apacheHost) name(n string, d *directive) {
	n = strings.TrimPrefix(strings.TrimPrefix(strings.ToLower(n), "https://"), "http://")
	if host, _, err := net.SplitHostPort(n); err == nil {
		n = host
	}
	if strings.ContainsAny(strings.TrimPrefix(n, "*."), "*?") {
		h.conf.leave(d.at, "a * can only be the first part of a name: list the names in host")
		return
	}
	if !slices.Contains(h.out.names, n) {
		h.out.names = append(h.out.names, n)
	}
}

func (h *apacheHost) protocol(d *directive) {
	all, has12 := d.is(0, "all"), false
	for _, a := range d.args {
		has12 = has12 || strings.EqualFold(strings.TrimPrefix(a, "+"), "TLSv1.2")
		if strings.EqualFold(a, "-TLSv1.2") {
			all = false
		}
	}
	if !all && !has12 {
		h.conf.tls.set("min_version", "1.3")
	}
}

// log takes a log of the server, or of a virtual host.
func (h *apacheHost) log(d *directive, isVhost bool) {
	file := d.arg(0)
	switch {
	case strings.HasPrefix(file, "|"), strings.HasPrefix(file, "syslog"), strings.HasPrefix(file, "${"):
		h.conf.leave(d.at, "a log is a file or standard error: give access_log or log_file one, and have a program read it")
	case d.name == "errorlog":
		if !isVhost {
			h.conf.top.set("log_file", file)
		} else {
			h.conf.leave(d.at, "there is one log for errors, log_file or standard error; its lines name the mount")
		}
	default:
		format := strings.ToLower(d.arg(1))
		if format != "common" && format != "combined" {
			if format != "" && format != "vhost_combined" {
				h.conf.leave(d.at, "the format is taken as combined; write your own as access_log_format")
			}
			format = "combined"
		}
		if d.name == "transferlog" {
			format = "common"
		}
		if !isVhost {
			h.conf.top.set("access_log", file)
			h.conf.top.set("access_log_format", format)
			return
		}
		h.out.layers = append(h.out.layers, layer{"access_log", fields{{"file", file}, {"format", format}}})
	}
}

var statusWords = map[string]int{"permanent": 301, "temp": 302, "seeother": 303, "gone": 410}

// redirect takes Redirect [STATUS] PATH URL.
func (h *apacheHost) redirect(d *directive) {
	args, status := d.args, 302
	switch d.name {
	case "redirectpermanent":
		status = 301
	case "redirecttemp":
	default:
		if len(args) > 1 && !strings.HasPrefix(args[0], "/") {
			if status = statusWords[strings.ToLower(args[0])]; status == 0 {
				status = number(args[0])
			}
			args = args[1:]
		}
	}
	switch {
	case len(args) == 0 || !strings.HasPrefix(args[0], "/"):
		h.conf.leave(d.at, "write a redirect mount")
	case len(args) == 1:
		h.add(&mount{path: clean(args[0]), kind: "not_found", source: "Gone", options: fields{{"status", status}}, from: []string{d.at.comment()}})
	case clean(args[0]) == "/" && !h.out.tls && h.isOwnHTTPS(args[1]):
		h.out.toHTTPS = true
	case status < 300 || status > 308:
		h.conf.leave(d.at, "a redirect has one of the statuses 301, 302, 303, 307 and 308")
	default:
		h.add(&mount{path: clean(args[0]), kind: "redirect", source: strings.TrimSuffix(args[1], "/"), options: fields{{"keep_path", true}, {"status", status}}, from: []string{d.at.comment()}})
	}
}

// isOwnHTTPS reports whether a URL is the root of this host, or one of its names, over https.
func (h *apacheHost) isOwnHTTPS(url string) bool {
	host, is := strings.CutPrefix(url, "https://")
	host = strings.TrimSuffix(host, "/")
	return is && (slices.Contains(h.out.names, strings.ToLower(host)) || strings.HasPrefix(host, "%{HTTP_HOST}") || strings.HasPrefix(host, "%{SERVER_NAME}"))
}

func (h *apacheHost) redirectMatch(d *directive) {
	args, status := d.args, 302
	if len(args) == 3 {
		if status = statusWords[strings.ToLower(args[0])]; status == 0 {
			status = number(args[0])
		}
		args = args[1:]
	}
	if len(args) != 2 || status < 301 || status > 308 || !compiles(args[0]) {
		h.conf.leave(d.at, "write a rule of the middleware rewrite: {match: REGEX, to: TARGET, redirect: 301}")
		return
	}
	h.rule(fields{{"match", args[0]}, {"to", args[1]}, {"redirect", status}}, nil)
}

func compiles(pattern string) bool {
	_, err := regexp.Compile(pattern)
	return err == nil
}

// rule adds a rule to the rewrite middleware around the vhost. Rules with a condition have one of their own.
func (h *apacheHost) rule(rule fields, condition fields) {
	layers := h.out.layers
	if last := len(layers) - 1; len(condition) == 0 && last >= 0 && layers[last].name == "rewrite" && layers[last].options.get("when") == nil {
		rules, _ := layers[last].options.get("rules").([]fields)
		layers[last].options.set("rules", append(slices.Clone(rules), rule))
		return
	}
	options := fields{{"rules", []fields{rule}}}
	if len(condition) > 0 {
		options = append(options, field{"when", condition})
	}
	h.out.layers = append(layers, layer{"rewrite", options})
}

func (h *apacheHost) add(m *mount) {
	for _, old := range h.out.mounts {
		if old.path == m.path {
			return
		}
	}
	h.out.mounts = append(h.out.mounts, m)
}

var plainPattern = regexp.MustCompile(`^\^([A-Za-z0-9/_-]+?)/?(\(/?\.\*\)|\(\.\*\))\$?$`)

// plainMatch makes path and target of a pattern that stands for all below a path.
func plainMatch(pattern, target string) (string, string, bool) {
	m := plainPattern.FindStringSubmatch(pattern)
	if m == nil || !strings.HasSuffix(target, "$1") || strings.Count(target, "$") != 1 {
		return "", "", false
	}
	return clean(m[1]), strings.TrimSuffix(strings.TrimSuffix(target, "$1"), "/"), true
}

func (h *apacheHost) proxyMatch(d *directive) {
	if path, target, ok := plainMatch(d.arg(0), d.arg(1)); ok {
		copied := *d
		copied.args = []string{path, target}
		h.proxies = append(h.proxies, &copied)
		return
	}
	if m := extensionPattern.FindStringSubmatch(strings.TrimPrefix(strings.ReplaceAll(d.arg(0), "^/(.*", ""), "^(/.*")); m != nil && strings.HasPrefix(d.arg(1), "fcgi:") {
		h.conf.leave(d.at, "write a cascade mount with files and proxy: {to: fastcgi://..., root: ..., split_path: .php}")
		return
	}
	h.conf.leave(d.at, "write a proxy mount for the path that all these begin with")
}

// build makes the mounts of aliases and proxies, with the sections that hold for them.
func (h *apacheHost) build(balancers map[string][]string) {
	var proxies []*directive
	for _, d := range h.proxies {
		if d.is(1, "!") {
			continue // what is below it has the mount that it would have without the proxy
		}
		if len(d.args) > 1 {
			proxies = append(proxies, d)
		}
	}
	for _, d := range h.list {
		if d.name == "location" && d.section {
			for _, child := range d.children {
				if child.name == "proxypass" && len(child.args) > 0 && !child.is(0, "!") {
					copied := *child
					copied.args = append([]string{d.arg(0)}, child.args...)
					proxies = append(proxies, &copied)
				}
			}
		}
	}
	owners := map[string]*mount{}
	paths := h.places(proxies)
	for _, path := range paths {
		fs, owner := h.target(path)
		isScript := owner != nil && owner.script
		s := h.settingsAt(path, fs, isScript)
		m, own := h.mountAt(path, fs, owner, s, proxies, balancers)
		parent := h.owner(owners, path)
		switch {
		case m == nil:
			if at := h.location(path); len(at) > 0 && parent == nil && at[0].children != nil && !strings.HasPrefix(s.handler, "server-") {
				h.conf.leave(at[0].at, "no mount is there: write one, and its middleware")
			}
			continue
		case !own && parent != nil && (m.same(parent) || parent.kind == "psgi" || parent.kind == "proxy" || parent.single || slices.Contains(h.names, path)):
			if !sameLayers(m.layers, layersAt(parent, path)) {
				parent.zones = append(parent.zones, zone{path, m.layers})
			}
			continue
		}
		owners[path] = m
		h.add(m)
	}
	if h.out.toHTTPS && len(h.out.mounts) > 0 {
		h.out.toHTTPS = false
		h.out.layers = append([]layer{{name: "https_redirect"}}, h.out.layers...)
	}
	sort.SliceStable(h.out.mounts, func(i, j int) bool { return len(h.out.mounts[i].path) > len(h.out.mounts[j].path) })
}

func sameLayers(a, b []layer) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// layersAt returns the layers that a mount has at a path, by the innermost of its zones.
func layersAt(m *mount, path string) []layer {
	layers, longest := m.layers, 0
	for _, z := range m.zones {
		if isBelow(path, z.path) && len(z.path) > longest {
			layers, longest = z.layers, len(z.path)
		}
	}
	return layers
}

// owner returns the mount with the longest path that a path is below.
func (h *apacheHost) owner(owners map[string]*mount, path string) *mount {
	var best *mount
	for p, m := range owners {
		if isBelow(path, p) && (best == nil || len(p) > len(best.path)) {
			best = m
		}
	}
	return best
}

// places returns the paths at which something begins, the shorter ones first.
func (h *apacheHost) places(proxies []*directive) []string {
	var all []string
	add := func(p string) {
		if p = clean(p); !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	for _, a := range h.aliases {
		add(a.path)
	}
	for _, d := range proxies {
		add(d.arg(0))
	}
	for _, d := range h.proxies {
		if d.is(1, "!") {
			add(d.arg(0))
		}
	}
	for _, d := range h.list {
		switch {
		case d.name == "location" && d.section && d.arg(0) != "~":
			add(d.arg(0))
		case d.name == "directory" && d.section && d.arg(0) != "~":
			for _, path := range h.urls(d.arg(0)) {
				add(path)
				h.fileNames(d, path, add)
			}
		case d.name == "directorymatch":
			for _, a := range h.aliases {
				if re, err := regexp.Compile(d.arg(0)); err == nil && re.MatchString(a.target) {
					h.fileNames(d, a.path, add)
				}
			}
		}
	}
	sort.SliceStable(all, func(i, j int) bool { return len(all[i]) < len(all[j]) })
	return all
}

// fileNames adds the paths of the files that have sections of their own in a directory.
func (h *apacheHost) fileNames(d *directive, path string, add func(string)) {
	for _, child := range d.children {
		if child.name == "files" && child.arg(0) != "~" && !strings.ContainsAny(child.arg(0), "*?") && !strings.HasPrefix(child.arg(0), ".") {
			name := strings.TrimSuffix(path, "/") + "/" + child.arg(0)
			h.names = append(h.names, name)
			add(name)
		}
	}
}

// urls returns the paths that lead to a directory which is that of an alias, or below it.
func (h *apacheHost) urls(dir string) (paths []string) {
	dir = strings.TrimSuffix(dir, "/")
	if strings.ContainsAny(dir, "*?[") {
		return nil
	}
	for _, a := range h.aliases {
		if dir != "" && isBelow(dir, a.target) {
			paths = append(paths, join(a.path, strings.TrimPrefix(dir, a.target)))
		}
	}
	return paths
}

// target returns the file or directory at a path, and the alias that leads there.
func (h *apacheHost) target(path string) (string, *alias) {
	for i, a := range h.aliases {
		if isBelow(path, a.path) && !slices.ContainsFunc(h.aliases[i+1:], func(o alias) bool { return isBelow(path, o.path) && len(o.path) > len(a.path) }) {
			return join(a.target, strings.TrimPrefix(path, strings.TrimSuffix(a.path, "/"))), &h.aliases[i]
		}
	}
	return "", nil
}

// location returns the sections about exactly this path.
func (h *apacheHost) location(path string) (list []*directive) {
	for _, d := range h.list {
		if d.name == "location" && d.section && clean(d.arg(0)) == path {
			list = append(list, d)
		}
	}
	return list
}

// settingsAt merges what the server and its sections say about a place, in the order in which Apache does.
func (h *apacheHost) settingsAt(path, fs string, script bool) *settings {
	c := h.conf
	s := &settings{links: true, exec: script, script: script}
	main := h.list[len(h.own):]
	for _, list := range [][]*directive{main, h.own} {
		for _, d := range list {
			if !d.section && !serverOnly[d.name] {
				s.take(c, d)
			}
		}
	}
	var dirs []*directive
	for _, d := range append(slices.Clone(main), h.own...) {
		if d.name == "directory" && d.section && fs != "" && d.arg(0) != "~" && matchesDir(fs, d.arg(0)) {
			dirs = append(dirs, d)
		}
	}
	sort.SliceStable(dirs, func(i, j int) bool {
		return strings.Count(strings.TrimSuffix(dirs[i].arg(0), "/"), "/") < strings.Count(strings.TrimSuffix(dirs[j].arg(0), "/"), "/")
	})
	for _, d := range h.list {
		if pattern, is := matchSection(d, "directory"); is && fs != "" {
			re, err := regexp.Compile(pattern)
			switch {
			case err != nil:
				c.leave(d.at, "this regular expression is not one of Go (RE2): write mounts for the directories")
			case re.MatchString(fs) || re.MatchString(fs+"/"):
				dirs = append(dirs, d)
			}
		}
	}
	for _, d := range dirs {
		s.section(c, d.children)
	}
	for _, d := range append(slices.Clone(main), h.own...) {
		if d.section && fs != "" && (d.name == "files" || d.name == "filesmatch") {
			s.files(c, d)
		}
	}
	var files []*directive
	for _, d := range append(dirs, &directive{children: h.list}) {
		for _, child := range d.children {
			if child.name == "files" && child.section && fs != "" && child.arg(0) == filepath.Base(fs) {
				files = append(files, child)
			}
		}
	}
	for _, d := range files {
		s.section(c, d.children)
	}
	for _, d := range append(slices.Clone(main), h.own...) {
		pattern, isMatch := matchSection(d, "location")
		switch {
		case isMatch:
			re, err := regexp.Compile(pattern)
			if err != nil || !re.MatchString(path) {
				h.unmatched(d, re)
				continue
			}
			s.section(c, d.children)
		case d.name == "location" && d.section && isBelow(path, d.arg(0)):
			s.section(c, d.children)
		}
	}
	return s
}

// unmatched notes a section by pattern that holds for no place as a whole.
func (h *apacheHost) unmatched(d *directive, re *regexp.Regexp) {
	if re != nil {
		for _, a := range h.aliases {
			if re.MatchString(a.path) {
				return
			}
		}
	}
	h.conf.leave(d.at, "it holds for a part of a mount's paths: write a mount, or the middleware with when: {path: ...}, for each path that it stands for")
}

// serverOnly are directives that settings would note although the server takes them.
var serverOnly = map[string]bool{
	"alias": true, "scriptalias": true, "aliasmatch": true, "scriptaliasmatch": true, "proxypassmatch": true,
	"redirect": true, "redirectpermanent": true, "redirecttemp": true, "redirectmatch": true, "sslcertificatefile": true,
	"sslcertificatekeyfile": true, "sslcertificatechainfile": true, "sslprotocol": true, "sslverifyclient": true,
	"sslcacertificatefile": true, "rewritecond": true, "rewriterule": true, "keepalivetimeout": true, "proxypass": true,
}

func matchSection(d *directive, kind string) (pattern string, is bool) {
	switch {
	case !d.section:
		return "", false
	case d.name == kind+"match":
		return d.arg(0), true
	case d.name == kind && d.arg(0) == "~":
		return d.arg(1), true
	}
	return "", false
}

// matchesDir reports whether a section for a directory, perhaps with wildcards, is about one.
func matchesDir(fs, pattern string) bool {
	pattern = strings.TrimSuffix(pattern, "/")
	if !strings.ContainsAny(pattern, "*?[") {
		return isBelow(fs, pattern)
	}
	for dir := fs; dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		if ok, err := filepath.Match(pattern, dir); err == nil && ok {
			return true
		}
	}
	return false
}
