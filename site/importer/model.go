package importer

import (
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
)

// field is a key of a mapping in a site file. A value is a string, a raw, an int, a bool, a []string, or fields.
type field struct {
	name  string
	value any
}

// fields is a mapping with an order.
type fields []field

// raw is a value that is written as it is, for example with ${PORT}.
type raw string

func (f fields) get(name string) any {
	for _, e := range f {
		if e.name == name {
			return e.value
		}
	}
	return nil
}

// set adds a field, or replaces the value of the one of that name.
func (f *fields) set(name string, value any) {
	for i, e := range *f {
		if e.name == name {
			(*f)[i].value = value
			return
		}
	}
	*f = append(*f, field{name, value})
}

func (f *fields) remove(name string) {
	*f = slices.DeleteFunc(slices.Clone(*f), func(e field) bool { return e.name == name })
}

// under sets a field of the mapping that is the value of another field.
func (f *fields) under(name, key string, value any) {
	inner, _ := f.get(name).(fields)
	inner = slices.Clone(inner)
	inner.set(key, value)
	f.set(name, inner)
}

// layer is a middleware.
type layer struct {
	name    string
	options fields
}

// mount is an application at a path. Its kind and source are "cgi" and "/usr/lib/cgi-bin", for example.
type mount struct {
	host, path   string
	also         []string // further hosts
	kind, source string
	options      fields
	layers       []layer
	zones        []zone   // paths below the mount with layers of their own
	parts        []*mount // of a cascade
	from         []string // the lines it comes from, for a comment
	remark       string
	link         string // the address of an application that may be imported, too
	single       bool   // it is one script, to which all paths below it belong
}

// zone is a path below a mount, with all below it. Its layers are there in the place of the mount's.
type zone struct {
	path   string
	layers []layer
}

// same reports whether two mounts differ at most in path, source and layers.
func (m *mount) same(o *mount) bool {
	return m.kind == o.kind && reflect.DeepEqual(m.options, o.options) && reflect.DeepEqual(m.parts, o.parts)
}

// around returns the layers of the mount with those of its zones, each for its own paths only.
func (m *mount) around() (all []layer) {
	below := func(path string, layers []layer) {
		var except []string
		for _, z := range m.zones {
			if z.path != path && isBelow(z.path, path) {
				except = append(except, z.path)
			}
		}
		for _, l := range layers {
			options := slices.Clone(l.options)
			if path != m.path {
				options.under("when", "path", addTo(inner(options, "when", "path"), path))
			}
			if len(except) > 0 {
				options.under("unless", "path", addTo(inner(options, "unless", "path"), except...))
			}
			all = append(all, layer{l.name, options})
		}
	}
	below(m.path, m.layers)
	for _, z := range m.zones {
		below(z.path, z.layers)
	}
	return all
}

func inner(f fields, name, key string) []string {
	in, _ := f.get(name).(fields)
	list, _ := in.get(key).([]string)
	return list
}

func addTo(list []string, more ...string) []string { return append(slices.Clone(list), more...) }

// vhost is what a server does for some names of hosts.
type vhost struct {
	names    []string // none: all others
	standard bool     // answers for names that no vhost has
	tls      bool
	ports    []string
	mounts   []*mount
	layers   []layer // around all its mounts
	at       place
	shared   bool // a path that it does not have is that of the standard vhost
	toHTTPS  bool // it does nothing but send all requests to https
}

// place is a line of a configuration.
type place struct {
	file string
	line int
	text string
}

func (p place) comment() string { return fmt.Sprintf("%s:%d: %s", p.file, p.line, p.text) }

// listener is an address to listen at.
type listener struct {
	address       string
	tls, redirect bool
}

// certificate is a certificate with its key.
type certificate struct{ cert, key string }

// conf is a site to be written.
type conf struct {
	listen       []listener
	top          fields // keys of the site
	certificates []certificate
	tls          fields // other keys of tls
	vhosts       []*vhost
	notes        []Note
	layers       []layer
	mounts       []*mount
	// applications are those that a process of its own serves, by the address it listens at. A proxy to
	// that address becomes the application.
	applications map[string]*mount
	served       []*mount // of them, those in the order of reading
	own          []ownAddress
	pending      []pending
}

// pending is a note that is not needed if the mount becomes an application that is imported, too.
type pending struct {
	m      *mount
	at     place
	advice string
}

// unavailable makes of m a mount that answers 503, and notes why unless link finds its application.
func (c *conf) unavailable(m *mount, address string, at place, advice, remark string) {
	m.kind, m.source, m.link, m.remark = "not_found", "Service Unavailable", address, remark
	m.options = fields{{"status", 503}}
	c.pending = append(c.pending, pending{m, at, advice})
}

// ownAddress is an address at which an application listens itself. The site listens there unless a web
// server in front of it is imported, too.
type ownAddress struct {
	app     *mount
	address string
	uwsgi   place // instead of an address: where it listens for the protocol uwsgi
}

// leave notes something that is not carried over. It notes one line once.
func (c *conf) leave(at place, advice string) {
	n := Note{at.file, at.line, at.text, advice}
	if !slices.Contains(c.notes, n) {
		c.notes = append(c.notes, n)
	}
}

// listenAt adds an address once. TLS and a redirect win over plain.
func (c *conf) listenAt(l listener) {
	for i, old := range c.listen {
		if old.address == l.address {
			c.listen[i].tls = old.tls || l.tls
			c.listen[i].redirect = old.redirect || l.redirect
			return
		}
	}
	c.listen = append(c.listen, l)
}

func (c *conf) addCertificate(cert certificate) {
	if cert.cert != "" && !slices.Contains(c.certificates, cert) {
		c.certificates = append(c.certificates, cert)
	}
}

// serve adds an application that listens at the addresses itself.
func (c *conf) serve(m *mount, addresses ...string) {
	c.served = append(c.served, m)
	for _, a := range addresses {
		c.applications[addressKey(a)] = m
	}
}

// addressKey makes addresses comparable: the loopback, all addresses and no host are one.
func addressKey(a string) string {
	a = strings.TrimPrefix(a, "unix:")
	if strings.HasPrefix(a, "/") {
		return strings.TrimSuffix(a, "/")
	}
	for _, scheme := range []string{"http://", "uwsgi://"} {
		a = strings.TrimPrefix(a, scheme)
	}
	a = strings.TrimSuffix(a, "/")
	host, port, err := net.SplitHostPort(a)
	if err != nil {
		return a
	}
	switch host {
	case "", "*", "localhost", "0.0.0.0", "127.0.0.1", "::", "::1":
		host = ""
	}
	return host + ":" + port
}

// finish makes the mounts of the site out of those of the vhosts.
func (c *conf) finish() {
	c.joinPorts()
	used := map[*mount]bool{}
	for _, v := range c.vhosts {
		for _, m := range v.mounts {
			c.link(m, used)
		}
	}
	var rest []*mount
	for _, m := range c.served {
		if !used[m] {
			rest = append(rest, m)
		}
	}
	for _, p := range c.pending {
		if p.m.kind == "not_found" {
			c.leave(p.at, p.advice)
		}
	}
	for _, o := range c.own {
		switch {
		case used[o.app]:
		case o.address != "":
			c.listenAt(listener{address: o.address})
		default:
			c.leave(o.uwsgi, "the protocol uwsgi is not spoken: the gateway listens for HTTP, in place of the web server in front or behind its proxy_pass")
		}
	}
	if len(rest) > 0 {
		c.vhosts = append(c.vhosts, &vhost{mounts: rest})
	}
	standard := c.standard()
	var others []string
	for _, v := range c.vhosts {
		if v != standard {
			others = append(others, v.names...)
		}
	}
	for _, v := range c.vhosts {
		names := v.names
		switch {
		case v == standard:
			names = []string{""}
		case v.shared:
		case !slices.ContainsFunc(v.mounts, func(m *mount) bool { return m.path == "/" }) && len(v.names) > 0:
			v.mounts = append(v.mounts, &mount{path: "/", kind: "not_found", source: "Not Found", remark: "no other virtual host answers for this name"})
		}
		for _, name := range names {
			for _, m := range v.mounts {
				c.place(m, name)
			}
		}
		for _, l := range v.layers {
			options := slices.Clone(l.options)
			switch {
			case v != standard && len(v.names) > 0:
				options.under("when", "host", addTo(inner(options, "when", "host"), v.names...))
			case len(others) > 0:
				options.under("unless", "host", addTo(inner(options, "unless", "host"), others...))
			}
			c.layers = append(c.layers, layer{l.name, options})
		}
	}
}

// standard returns the vhost that answers for all hosts without one of their own.
func (c *conf) standard() *vhost {
	for _, v := range c.vhosts {
		if v.standard {
			return v
		}
	}
	for _, v := range c.vhosts {
		if len(v.names) == 0 {
			return v
		}
	}
	if len(c.vhosts) > 0 {
		return c.vhosts[0]
	}
	return nil
}

// place adds a mount for a host, unless there is one at that place. Mounts that differ in their hosts alone are one.
func (c *conf) place(m *mount, host string) {
	copied := *m
	copied.host, copied.also = host, nil
	var twin *mount
	for _, old := range c.mounts {
		if old.path != m.path {
			continue
		}
		if old.host == host || slices.Contains(old.also, host) {
			return
		}
		plain := *old
		plain.host, plain.also = host, nil
		if host != "" && old.host != "" && reflect.DeepEqual(plain, copied) {
			twin = old
		}
	}
	if twin != nil {
		twin.also = append(twin.also, host)
		return
	}
	c.mounts = append(c.mounts, &copied)
}

// link replaces a proxy to an application that another configuration starts by that application.
func (c *conf) link(m *mount, used map[*mount]bool) {
	for _, p := range m.parts {
		c.link(p, used)
	}
	address := m.link
	if m.kind == "proxy" {
		address = m.source
	}
	app := c.applications[addressKey(address)]
	if app == nil || address == "" {
		return
	}
	used[app] = true
	m.kind, m.source, m.parts, m.options = app.kind, app.source, app.parts, app.options
	m.from = append(slices.Clone(m.from), app.from...)
	m.remark = ""
}

// joinPorts makes one vhost of those that have the same names at different ports. A mount of a site is the
// same at all addresses.
func (c *conf) joinPorts() {
	var kept []*vhost
	secure := func(v *vhost) *vhost {
		for _, o := range c.vhosts {
			if o != v && o.tls && (slices.Equal(o.names, v.names) || len(v.names) == 0 || slices.ContainsFunc(v.names, func(n string) bool { return slices.Contains(o.names, n) })) {
				return o
			}
		}
		return nil
	}
	for _, v := range c.vhosts {
		o := secure(v)
		switch {
		case v.tls || o == nil:
			if v.toHTTPS && !v.tls {
				c.redirectAll(v)
			}
			kept = append(kept, v)
		case v.toHTTPS:
			c.redirectPlain(v)
			o.standard = o.standard || v.standard
			for _, n := range v.names {
				if !slices.Contains(o.names, n) && len(o.names) > 0 {
					o.names = append(o.names, n)
				}
			}
		case reflect.DeepEqual(shapes(v), shapes(o)):
		default:
			c.leave(v.at, "a mount is the same with and without TLS, so only the virtual host with TLS is taken; put the option redirect at the plain address to send its clients to https")
		}
	}
	c.vhosts = kept
}

// redirectPlain has the plain addresses of a vhost send all to https.
func (c *conf) redirectPlain(v *vhost) {
	for i, l := range c.listen {
		if !l.tls && slices.Contains(v.ports, l.address) {
			c.listen[i].redirect = true
		}
	}
}

// redirectAll gives a vhost without one with TLS beside it the mount that sends all to https.
func (c *conf) redirectAll(v *vhost) {
	v.layers = append(v.layers, layer{name: "https_redirect"})
	if len(v.mounts) == 0 {
		v.mounts = append(v.mounts, &mount{path: "/", kind: "not_found", source: "Not Found", from: []string{v.at.comment()}, remark: "https_redirect answers"})
	}
}

// shapes is what two vhosts are compared by.
func shapes(v *vhost) (all []mount) {
	for _, m := range v.mounts {
		copied := *m
		copied.from = nil
		all = append(all, copied)
	}
	return all
}

// isBelow reports whether a path is at or below another one, by segments.
func isBelow(path, base string) bool {
	base = strings.TrimRight(base, "/")
	return path == base || strings.HasPrefix(path, base+"/")
}

// clean removes slashes at the end of a path, and puts one in front.
func clean(path string) string {
	return "/" + strings.Trim(path, "/")
}

// join puts the rest of a path behind a directory.
func join(dir, rest string) string {
	if rest = strings.Trim(rest, "/"); rest == "" {
		return dir
	}
	return strings.TrimRight(dir, "/") + "/" + rest
}

// closed is the layer in the place of a login or a restriction that cannot be carried over.
func closed() layer {
	return layer{"access", fields{{"allow", []string{"127.0.0.0/8", "::1"}}}}
}

func deniedAll() layer {
	return layer{"access", fields{{"deny", []string{"0.0.0.0/0", "::/0", "unix"}}}}
}
