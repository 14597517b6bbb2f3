package importer

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// unitFile is a configuration of NGINX Unit. JSON is read by the parser of YAML, of which it is a part,
// because that one tells lines.
type unitFile struct {
	conf         *conf
	file         string
	lines        []string
	applications ast.Node
	routes       ast.Node
	upstreams    ast.Node
}

func (c *conf) unit(file, text string) error {
	tree, err := parser.ParseBytes([]byte(text), 0)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if len(tree.Docs) == 0 || tree.Docs[0].Body == nil {
		return nil
	}
	root := tree.Docs[0].Body
	if inner := member(root, "config"); inner != nil {
		root = inner
	}
	u := &unitFile{conf: c, file: file, lines: strings.Split(text, "\n"), applications: member(root, "applications"), routes: member(root, "routes"), upstreams: member(root, "upstreams")}
	for _, p := range members(root) {
		switch p.name {
		case "listeners", "applications", "routes", "upstreams":
		case "access_log":
			if s, is := p.text(); is {
				c.top.set("access_log", s)
				c.top.set("access_log_format", "combined")
			} else {
				u.leave(p.value, p.name, "write access_log and access_log_format")
			}
		case "settings":
			http := member(p.value, "http")
			if size := member(http, "max_body_size"); size != nil {
				c.top.set("max_body_size", number(textOf(size)))
			}
		case "certificates":
		default:
			u.leave(p.value, p.name, "there is nothing like it in a site file")
		}
	}
	v := &vhost{at: place{file, 1, "listeners"}}
	for _, l := range members(member(root, "listeners")) {
		address := strings.TrimPrefix(l.name, "*")
		tls := member(l.value, "tls")
		c.listenAt(listener{address: address, tls: tls != nil})
		if tls != nil {
			u.leave(tls, "tls", "Unit keeps certificates in its own store: write tls: {cert: FILE, key: FILE}")
		}
		for _, p := range members(l.value) {
			switch p.name {
			case "pass":
				u.pass(v, textOf(p.value), p.value, &mount{path: "/", from: []string{u.at(p.value, l.name+" pass "+textOf(p.value)).comment()}})
			case "tls":
			case "forwarded", "client_ip":
				u.leave(p.value, p.name, "write the middleware reverse_proxy with the addresses of the proxies")
			default:
				u.leave(p.value, p.name, "there is nothing like it in a site file")
			}
		}
	}
	byHost := map[string]*vhost{}
	var hosts []*vhost
	for _, m := range v.mounts {
		host := m.host
		if byHost[host] == nil {
			byHost[host] = &vhost{at: v.at, shared: true} // the steps of a route are tried one after another
			if host != "" {
				byHost[host].names = []string{host}
			} else {
				byHost[host].standard = true
			}
			hosts = append(hosts, byHost[host])
		}
		byHost[host].mounts = append(byHost[host].mounts, m)
	}
	if byHost[""] == nil && len(hosts) > 0 { // no host is the one for all others
		hosts = append(hosts, &vhost{at: v.at, standard: true})
	}
	c.vhosts = append(c.vhosts, hosts...)
	return nil
}

type unitMember struct {
	name  string
	value ast.Node
}

func (m unitMember) text() (string, bool) {
	s, is := m.value.(*ast.StringNode)
	if !is {
		return "", false
	}
	return s.Value, true
}

// members returns the members of an object.
func members(n ast.Node) (list []unitMember) {
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			list = append(list, unitMember{textOf(v.Key), v.Value})
		}
	case *ast.MappingValueNode:
		list = append(list, unitMember{textOf(n.Key), n.Value})
	}
	return list
}

func member(n ast.Node, name string) ast.Node {
	for _, m := range members(n) {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// textOf returns a scalar as text, "" of anything else.
func textOf(n ast.Node) string {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value
	}
	return ""
}

// textsOf returns a scalar or an array of them.
func textsOf(n ast.Node) (list []string) {
	if seq, is := n.(*ast.SequenceNode); is {
		for _, v := range seq.Values {
			list = append(list, textOf(v))
		}
		return list
	}
	if n == nil {
		return nil
	}
	return []string{textOf(n)}
}

func (u *unitFile) at(n ast.Node, text string) place {
	line := 1
	if n != nil && n.GetToken() != nil && n.GetToken().Position != nil {
		line = n.GetToken().Position.Line
	}
	return place{u.file, line, text}
}

func (u *unitFile) leave(n ast.Node, text, advice string) { u.conf.leave(u.at(n, text), advice) }

// pass follows where a listener or a step passes its requests.
func (u *unitFile) pass(v *vhost, to string, at ast.Node, m *mount) {
	kind, name, _ := strings.Cut(to, "/")
	switch {
	case strings.Contains(to, "$"):
		u.leave(at, "pass "+to, "variables are not carried over: write a mount for each value")
	case kind == "applications":
		if u.application(m, name, at) {
			u.add(v, m)
		}
	case kind == "routes":
		routes := u.routes
		if name != "" {
			routes = member(routes, name)
		}
		seq, is := routes.(*ast.SequenceNode)
		if !is {
			u.leave(at, "pass "+to, "there is no such route")
			return
		}
		for _, step := range seq.Values {
			u.step(v, step, m)
		}
	case kind == "upstreams":
		var servers []string
		for _, s := range members(member(member(u.upstreams, name), "servers")) {
			address := "http://" + s.name
			if weight := textOf(member(s.value, "weight")); weight != "" {
				address += " weight=" + weight
			}
			servers = append(servers, address)
		}
		m.kind = "proxy"
		m.options = fields{{"to", servers}}
		u.add(v, m)
	}
}

// add adds a mount, unless an earlier step has its place.
func (u *unitFile) add(v *vhost, m *mount) {
	for _, old := range v.mounts {
		if old.path == m.path && old.host == m.host {
			return
		}
	}
	v.mounts = append(v.mounts, m)
}

// step takes a step of a route: what it matches, and what it does.
func (u *unitFile) step(v *vhost, step ast.Node, outer *mount) {
	match, action := member(step, "match"), member(step, "action")
	var paths, hosts, endings []string
	for _, p := range members(match) {
		switch p.name {
		case "uri":
			for _, pattern := range textsOf(p.value) {
				switch base, is := strings.CutSuffix(pattern, "*"); {
				case strings.HasPrefix(pattern, "*.") && !strings.ContainsAny(pattern[1:], "*~!"):
					endings = append(endings, pattern)
				case strings.ContainsAny(base, "*~!"):
					u.leave(p.value, "uri "+pattern, "such a pattern is not carried over: write a mount for a prefix, or a router mount")
					return
				default:
					if is && !strings.HasSuffix(base, "/") && base != "" {
						u.leave(p.value, "uri "+pattern, "a mount is for whole segments: the paths that go on within the segment are not served by it")
					}
					paths = append(paths, clean(base))
				}
			}
		case "host":
			for _, h := range textsOf(p.value) {
				if strings.ContainsAny(strings.TrimPrefix(h, "*."), "*~!") {
					u.leave(p.value, "host "+h, "a * can only be the first part of a name: list the names in host")
					continue
				}
				hosts = append(hosts, h)
			}
		case "scheme":
			if textOf(p.value) == "http" && strings.HasPrefix(textOf(member(action, "location")), "https://$host") {
				if !slices.ContainsFunc(u.conf.layers, func(l layer) bool { return l.name == "https_redirect" }) {
					u.conf.layers = append(u.conf.layers, layer{name: "https_redirect"})
				}
				return
			}
			u.leave(p.value, "scheme "+textOf(p.value), "a mount is the same with and without TLS: see https_redirect")
			return
		default:
			u.leave(p.value, p.name, "only uri and host choose a mount: write when around a middleware, or method of a route in a router mount")
			return
		}
	}
	if len(endings) > 0 {
		u.leave(match, "uri "+strings.Join(endings, ", "), "endings do not choose a mount: write a cascade mount, the files first")
		return
	}
	if len(paths) == 0 {
		paths = []string{outer.path}
	}
	if len(hosts) == 0 {
		hosts = []string{outer.host}
	}
	at := u.at(step, "step of a route")
	for _, host := range hosts {
		for _, path := range paths {
			u.act(v, action, &mount{host: host, path: path, from: []string{at.comment()}})
		}
	}
}

// act takes the action of a step.
func (u *unitFile) act(v *vhost, action ast.Node, m *mount) {
	kind := ""
	for _, p := range members(action) {
		switch p.name {
		case "pass", "proxy", "return", "share":
			kind = p.name
		case "location", "fallback", "index", "types", "follow_symlinks", "traverse_mounts", "chroot":
		case "response_headers":
			var set fields
			for _, h := range members(p.value) {
				set.set(strings.ToLower(h.name), textOf(h.value))
			}
			m.layers = append(m.layers, layer{"headers", fields{{"response", fields{{"set", set}}}}})
		case "rewrite":
			u.leave(p.value, "rewrite "+textOf(p.value), "write the middleware rewrite of the mount")
		default:
			u.leave(p.value, p.name, "there is nothing like it in a site file")
		}
	}
	switch value := member(action, kind); kind {
	case "pass":
		u.pass(v, textOf(value), value, m)
	case "proxy":
		m.kind, m.source = "proxy", textOf(value)
		if m.path != "/" {
			m.source = join(m.source, m.path)
		}
		u.add(v, m)
	case "return":
		u.returned(v, action, m, number(textOf(value)))
	case "share":
		u.share(v, action, m)
	default:
		u.leave(action, "action", "it does nothing that a mount does")
	}
}

func (u *unitFile) returned(v *vhost, action ast.Node, m *mount, status int) {
	target := textOf(member(action, "location"))
	base, keeps := strings.CutSuffix(target, "$request_uri")
	if !keeps {
		base, keeps = strings.CutSuffix(target, "$uri")
	}
	switch {
	case strings.Contains(base, "$"):
		u.leave(action, "location "+target, "variables in a target are not carried over: write a redirect mount, or https_redirect")
		return
	case target != "":
		m.kind, m.source = "redirect", base
		if keeps {
			m.source = strings.TrimSuffix(base, "/") + strings.TrimSuffix(m.path, "/")
			m.options.set("keep_path", true)
		}
		if !slices.Contains([]int{301, 302, 303, 307, 308}, status) {
			status = 302
		}
		m.options.set("status", status)
	default:
		m.kind, m.source, m.options = "not_found", statusText(status), fields{{"status", status}}
	}
	u.add(v, m)
}

// share makes a mount of files, with what answers where there is none.
func (u *unitFile) share(v *vhost, action ast.Node, m *mount) {
	shares := textsOf(member(action, "share"))
	var dirs []string
	for _, s := range shares {
		base, is := strings.CutSuffix(s, "$uri")
		if !is || strings.Contains(base, "$") {
			if !strings.Contains(s, "$") {
				dirs = append(dirs, s)
				continue
			}
			u.leave(action, "share "+s, "variables in the name of a directory are not carried over: write a file mount")
			return
		}
		dirs = append(dirs, join(strings.TrimSuffix(base, "/"), m.path))
	}
	options := func() (f fields) {
		if index := member(action, "index"); index != nil {
			f.set("index", []string{textOf(index)})
		}
		if follow := member(action, "follow_symlinks"); follow == nil || textOf(follow) == "true" {
			f.set("follow_symlinks", true)
		}
		return f
	}
	var parts []*mount
	for _, d := range dirs {
		parts = append(parts, &mount{kind: "file", source: d, options: options()})
	}
	if fallback := member(action, "fallback"); fallback != nil {
		inner := &vhost{}
		u.act(inner, fallback, &mount{host: m.host, path: m.path})
		for _, f := range inner.mounts {
			f.path, f.from = "", nil
			if f.kind == "cascade" {
				parts = append(parts, f.parts...)
				continue
			}
			parts = append(parts, f)
		}
	}
	if len(parts) == 1 {
		m.kind, m.source, m.options = parts[0].kind, parts[0].source, parts[0].options
	} else {
		m.kind, m.parts = "cascade", parts
	}
	u.add(v, m)
}

// application makes a psgi mount of an application in Perl. It reports false for others.
func (u *unitFile) application(m *mount, name string, at ast.Node) bool {
	name, _, _ = strings.Cut(name, "/")
	app := member(u.applications, name)
	if app == nil {
		u.leave(at, "pass applications/"+name, "there is no such application")
		return false
	}
	kind, _, _ := strings.Cut(textOf(member(app, "type")), " ")
	if kind != "perl" {
		u.leave(app, name, "only applications in Perl are started, this one is "+kind+": run it by itself, and write a proxy mount")
		m.kind, m.source, m.options = "not_found", "Service Unavailable", fields{{"status", 503}}
		m.remark = "write proxy: ADDRESS in place of not_found"
		return true
	}
	m.kind = "psgi"
	m.from = append(m.from, u.at(app, "application "+name).comment())
	dir := textOf(member(app, "working_directory"))
	for _, p := range members(app) {
		text := textOf(p.value)
		switch p.name {
		case "type", "threads", "thread_stack_size", "stdout":
		case "script":
			m.source = text
			if !filepath.IsAbs(text) && dir != "" {
				m.source = filepath.Join(dir, text)
			}
		case "working_directory":
			m.options.set("dir", text)
		case "processes":
			if n := number(text); n > 0 {
				m.options.set("workers", n)
				continue
			}
			workersOf(m, number(textOf(member(p.value, "max"))), max(1, number(textOf(member(p.value, "spare")))))
			if idle := number(textOf(member(p.value, "idle_timeout"))); idle > 0 {
				m.options.set("idle_timeout", idle)
			}
		case "environment":
			var env fields
			for _, e := range members(p.value) {
				env.set(e.name, textOf(e.value))
			}
			m.options.set("env", env)
		case "limits":
			if n := number(textOf(member(p.value, "timeout"))); n > 0 {
				m.options.set("request_timeout", n)
			}
			if n := number(textOf(member(p.value, "requests"))); n > 0 {
				m.options.set("max_requests", n)
			}
		case "user", "group":
			u.leave(p.value, p.name+" "+text, "write isolate: {"+p.name+": "+text+"} of the mount where the gateway is started as root")
		case "isolation":
			u.leave(p.value, p.name, "write isolate of the mount")
		case "stderr":
			u.leave(p.value, p.name, "what workers write goes to the gateway's log, log_file or standard error")
		default:
			u.leave(p.value, p.name, "there is nothing like it in a site file")
		}
	}
	return true
}
