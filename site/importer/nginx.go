package importer

import (
	"net"
	"net/http"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// nginxServer is a server block with what it has of http.
type nginxServer struct {
	conf      *conf
	out       *vhost
	upstreams map[string][]string
	named     map[string]*directive // locations called @name
	phpFront  string                // the script in PHP that gets the paths that are no files
	outer     []*directive          // http's and the server's own directives
	locations []*directive
	patterns  []nested
}

// nested is a location by regular expression in the location of a path.
type nested struct {
	d    *directive
	path string
}

// nginx reads a configuration of nginx, or a snippet with server blocks or locations.
func (c *conf) nginx(file, text string) error {
	p := &nginxParser{conf: c}
	list, err := p.parse(file, text)
	if err != nil || len(list) == 0 {
		return err
	}
	c.nginxHTTP(list, nil)
	return nil
}

// nginxHTTP takes what stands in http, or at the top of a snippet.
func (c *conf) nginxHTTP(list, outer []*directive) {
	upstreams := map[string][]string{}
	var own []*directive
	snippet := true
	for _, d := range list {
		switch {
		case d.name == "http":
			c.nginxHTTP(d.children, nil)
			snippet = false
		case d.name == "upstream":
			for _, s := range d.children {
				if s.name == "server" {
					to := s.arg(0)
					for _, a := range s.after(1) {
						if w, is := strings.CutPrefix(a, "weight="); is {
							to += " weight=" + w
						}
					}
					upstreams[d.arg(0)] = append(upstreams[d.arg(0)], to)
				}
			}
		case d.name == "server" && d.section:
			snippet = false
		case d.name == "events" || d.name == "worker_processes" || d.name == "pid":
		case d.name == "user":
			c.leave(d.at, "put user: "+d.arg(0)+" at the top of the site file where the gateway is started as root")
		case d.name == "map" || d.name == "geo" || d.name == "limit_req_zone" || d.name == "proxy_cache_path" || d.name == "log_format":
			c.nginxUnknown(d)
		default:
			own = append(own, d)
		}
	}
	for _, d := range list {
		if d.name == "server" && d.section {
			c.nginxVhost(append(slices.Clone(own), d.children...), d, upstreams)
		}
	}
	if snippet && slices.ContainsFunc(own, func(d *directive) bool { return d.name == "location" }) {
		c.nginxVhost(own, &directive{at: own[0].at}, upstreams)
	}
}

func (c *conf) nginxVhost(list []*directive, server *directive, upstreams map[string][]string) {
	s := &nginxServer{conf: c, out: &vhost{at: server.at}, upstreams: upstreams, named: map[string]*directive{}}
	v := s.out
	var cert certificate
	tlsOn := false
	for _, d := range list {
		switch d.name {
		case "location":
			if strings.HasPrefix(d.arg(0), "@") {
				s.named[d.arg(0)] = d
			} else {
				s.locations = append(s.locations, d)
			}
			continue
		case "ssl_certificate":
			cert.cert = d.arg(0)
		case "ssl_certificate_key":
			cert.key = d.arg(0)
		case "ssl":
			tlsOn = d.arg(0) == "on"
		}
		s.outer = append(s.outer, d)
	}
	for _, d := range s.outer {
		switch d.name {
		case "listen":
			address, isTLS := nginxAddress(d.arg(0)), slices.Contains(d.args, "ssl") || tlsOn
			v.tls = v.tls || isTLS
			v.standard = v.standard || slices.Contains(d.args, "default_server") || slices.Contains(d.args, "default")
			v.ports = append(v.ports, address)
			c.listenAt(listener{address: address, tls: isTLS})
			if slices.Contains(d.args, "proxy_protocol") {
				c.leave(d.at, "write the address with the option proxy, and the proxies in proxy_protocol_from")
			}
		case "server_name":
			for _, n := range d.args {
				s.name(n, d)
			}
		}
	}
	if v.tls {
		c.addCertificate(cert)
	}
	s.serverDirectives()
	sort.SliceStable(s.locations, func(i, j int) bool {
		return len(s.locations[i].arg(len(s.locations[i].args)-1)) < len(s.locations[j].arg(len(s.locations[j].args)-1))
	})
	s.build()
	c.vhosts = append(c.vhosts, v)
}

// nginxAddress is the address that a listen of nginx stands for.
func nginxAddress(a string) string {
	if socket, is := strings.CutPrefix(a, "unix:"); is {
		return socket
	}
	if _, err := strconv.Atoi(a); err == nil {
		return ":" + a
	}
	if host, port, err := net.SplitHostPort(a); err == nil {
		if host == "*" {
			host = ""
		}
		return net.JoinHostPort(host, port)
	}
	return net.JoinHostPort(strings.Trim(a, "[]"), "80")
}

func (s *nginxServer) name(n string, d *directive) {
	switch {
	case n == "_" || n == "":
		s.out.standard = true
	case strings.HasPrefix(n, "~") || strings.HasSuffix(n, ".*") || strings.HasPrefix(n, "$"):
		s.conf.leave(d.at, "names by pattern are not carried over: list the names in host")
	case strings.HasPrefix(n, "."):
		s.out.names = append(s.out.names, n[1:], "*"+n)
	default:
		s.out.names = append(s.out.names, strings.ToLower(n))
	}
}

// serverDirectives takes what holds for the whole server and is no mount.
func (s *nginxServer) serverDirectives() {
	c, v := s.conf, s.out
	for _, d := range s.outer {
		switch d.name {
		case "return":
			s.serverReturn(d)
		case "rewrite":
			s.rewrite(d, "")
		case "if":
			s.condition(d)
		case "ssl_protocols":
			if !slices.Contains(d.args, "TLSv1.2") && slices.Contains(d.args, "TLSv1.3") {
				c.tls.set("min_version", "1.3")
			}
		case "ssl_verify_client":
			if mode := map[string]string{"on": "required", "optional": "optional"}[d.arg(0)]; mode != "" {
				c.tls.set("client_auth", mode)
			} else if d.arg(0) != "off" {
				c.leave(d.at, "write tls.client_auth")
			}
		case "ssl_client_certificate":
			c.tls.set("client_ca", d.arg(0))
		case "access_log":
			s.accessLog(d)
		case "keepalive_timeout":
			if n, ok := nginxTime(d.arg(0)); ok {
				c.top.set("timeout", n)
			}
		case "client_max_body_size":
			if size, ok := nginxSize(d.arg(0)); ok {
				if old, is := c.top.get("max_body_size").(int); !is || size == 0 || old != 0 && size > old {
					c.top.set("max_body_size", size)
				}
			}
		case "error_log":
			c.leave(d.at, "there is one log for errors, log_file or standard error")
		case "gzip":
			if d.arg(0) == "on" && !slices.ContainsFunc(v.layers, func(l layer) bool { return l.name == "gzip" }) {
				v.layers = append(v.layers, layer{"gzip", s.gzipOptions()})
			}
		}
	}
}

// gzipOptions are what gzip_types and gzip_min_length say, which nginx has defaults of its own for.
func (s *nginxServer) gzipOptions() (options fields) {
	size, types := 20, []string{"text/html"}
	for _, d := range s.outer {
		switch d.name {
		case "gzip_min_length":
			if n, ok := nginxSize(d.arg(0)); ok {
				size = n
			}
		case "gzip_types":
			types = append([]string{"text/html"}, d.args...)
			if slices.Contains(d.args, "*") {
				types = []string{"*/*"}
			}
		}
	}
	return fields{{"min_size", size}, {"types", types}}
}

func (s *nginxServer) accessLog(d *directive) {
	switch {
	case d.arg(0) == "off":
	case strings.HasPrefix(d.arg(0), "syslog:") || strings.Contains(d.arg(0), "$"):
		s.conf.leave(d.at, "a log is a file or standard error: give access_log one")
	default:
		s.out.layers = append(s.out.layers, layer{"access_log", fields{{"file", d.arg(0)}, {"format", "combined"}}})
		if len(d.args) > 1 && d.arg(1) != "combined" {
			s.conf.leave(d.at, "the format is taken as combined; write your own as format of the middleware access_log")
		}
	}
}

var ownURL = regexp.MustCompile(`^https://(\$host|\$server_name|\$http_host|[A-Za-z0-9.-]+)(\$request_uri|/\$1|\$uri|\$1)?/?$`)

// ownHTTPS reports whether a target is the same URL of this host over https.
func (s *nginxServer) ownHTTPS(target string) bool {
	m := ownURL.FindStringSubmatch(target)
	return m != nil && !s.out.tls && m[2] != "" && (strings.HasPrefix(m[1], "$") || slices.Contains(s.out.names, strings.ToLower(m[1])))
}

func (s *nginxServer) serverReturn(d *directive) {
	if len(d.args) == 2 && s.ownHTTPS(d.arg(1)) {
		s.out.toHTTPS = true
		return
	}
	if m := s.returned(d, "/"); m != nil {
		s.add(m)
	}
}

// returned makes a mount of return STATUS [TARGET].
func (s *nginxServer) returned(d *directive, path string) *mount {
	status, target := number(d.arg(0)), d.arg(1)
	if status == 0 {
		status, target = 302, d.arg(0)
	}
	m := &mount{path: path, from: []string{d.at.comment()}}
	isRedirect := slices.Contains([]int{301, 302, 303, 307, 308}, status)
	base, keeps := strings.CutSuffix(target, "$request_uri")
	base = strings.Replace(base, "$scheme://", "https://", 1)
	switch {
	case !isRedirect && !strings.Contains(target, "$"):
		if target == "" {
			target = statusText(status)
		}
		m.kind, m.source, m.options = "not_found", target, fields{{"status", status}}
		if status == 444 {
			m.source, m.options = "Not Found", nil
		}
	case isRedirect && !strings.Contains(base, "$") && base != "":
		m.kind, m.source = "redirect", base
		if keeps {
			m.options.set("keep_path", true)
			m.source = strings.TrimSuffix(base, "/") + strings.TrimSuffix(path, "/")
		}
		m.options.set("status", status)
		if !keeps {
			m.options.set("drop_query", true)
		}
	default:
		s.conf.leave(d.at, "variables in a target are not carried over: write a redirect mount, or the middleware rewrite")
		return nil
	}
	return m
}

// statusText is the text of an answer that has none of its own.
func statusText(status int) string {
	if text := http.StatusText(status); text != "" {
		return text
	}
	return strconv.Itoa(status)
}

// condition takes an if: that of plain http, that of one host, and that of a file that is not there.
func (s *nginxServer) condition(d *directive) {
	test := strings.Trim(strings.Join(d.args, " "), "()")
	for _, child := range d.children {
		target := child.arg(1)
		if (strings.HasPrefix(test, "$scheme = http") || strings.HasPrefix(test, "$https = ") || strings.HasPrefix(test, "$ssl_protocol = ")) && (child.name == "return" || child.name == "rewrite") && strings.HasPrefix(target, "https://$") {
			s.out.layers = append([]layer{{name: "https_redirect"}}, s.out.layers...)
			return
		}
		host, is := strings.CutPrefix(test, "$host = ")
		if is && child.name == "return" && strings.HasPrefix(target, "https://$host") && !s.out.tls { // certbot writes it
			s.out.toHTTPS = slices.Contains(s.out.names, strings.TrimSpace(host))
			if s.out.toHTTPS {
				return
			}
		}
	}
	s.conf.leave(d.at, "conditions are not carried over: write when or unless around a middleware, or a mount for the host or the path")
}

func (s *nginxServer) add(m *mount) {
	for _, old := range s.out.mounts {
		if old.path == m.path {
			return
		}
	}
	s.out.mounts = append(s.out.mounts, m)
}

// rewrite takes rewrite REGEX TARGET [FLAG].
func (s *nginxServer) rewrite(d *directive, below string) {
	pattern, target, flag := d.arg(0), d.arg(1), d.arg(2)
	if flag == "permanent" || flag == "redirect" || strings.HasPrefix(target, "http") {
		if s.ownHTTPS(target) {
			s.out.toHTTPS = true
			return
		}
	}
	bare := regexp.MustCompile(`\$\{?\d\}?`).ReplaceAllString(target, "")
	if strings.Contains(bare, "$") || !compiles(pattern) || !(strings.HasPrefix(target, "/") || strings.HasPrefix(target, "http")) {
		s.conf.leave(d.at, "variables in a target, and regular expressions that are not of Go (RE2), are not carried over: write a rule in the middleware rewrite")
		return
	}
	rule := fields{{"match", pattern}, {"to", target}}
	switch {
	case flag == "permanent":
		rule.set("redirect", 301)
	case flag == "redirect" || strings.HasPrefix(target, "http"):
		rule.set("redirect", 302)
	}
	options := fields{{"rules", []fields{rule}}}
	layers := s.out.layers
	if below != "" && below != "/" {
		options.set("when", fields{{"path", []string{below}}})
	} else if last := len(layers) - 1; last >= 0 && layers[last].name == "rewrite" && layers[last].options.get("when") == nil {
		rules, _ := layers[last].options.get("rules").([]fields)
		layers[last].options.set("rules", append(slices.Clone(rules), rule))
		return
	}
	s.out.layers = append(layers, layer{"rewrite", options})
}

var nginxTimeForm = regexp.MustCompile(`^(\d+)(ms|s|m|h|d|w|M|y)?$`)

// nginxTime returns the seconds of a time.
func nginxTime(text string) (int, bool) {
	m := nginxTimeForm.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	n := number(m[1])
	if m[2] == "ms" {
		return (n + 999) / 1000, true
	}
	return n * map[string]int{"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "M": 2592000, "y": 31536000}[m[2]], true
}

// nginxSize returns the bytes of a size, in which k, m and g are binary.
func nginxSize(text string) (int, bool) {
	text = strings.ToLower(text)
	unit := 1
	if last := len(text) - 1; last > 0 {
		if u := map[byte]int{'k': 1 << 10, 'm': 1 << 20, 'g': 1 << 30}[text[last]]; u > 0 {
			unit, text = u, text[:last]
		}
	}
	n, err := strconv.Atoi(text)
	return n * unit, err == nil
}

// nginxAdvice says what to do about directives.
var nginxAdvice = map[string]string{
	"map":                     "variables are not carried over: let the application look at the header, or write when around a middleware",
	"geo":                     "write the networks in the middleware access, or in when: {address: [...]}",
	"limit_req_zone":          "write the middleware rate_limit",
	"limit_req":               "write the middleware rate_limit",
	"limit_conn":              "write max_connections_per_address of the site",
	"limit_conn_zone":         "write max_connections_per_address of the site",
	"proxy_cache_path":        "there is no cache of answers: let the application send Cache-Control",
	"proxy_cache":             "there is no cache of answers: let the application send Cache-Control",
	"fastcgi_cache":           "there is no cache of answers: let the application send Cache-Control",
	"log_format":              "write the format as access_log_format, or as format of the middleware access_log",
	"auth_request":            "write the middleware auth_forward",
	"sub_filter":              "there are no filters; let the application do it",
	"uwsgi_pass":              "the protocol uwsgi is not spoken: write psgi: FILE in place of the mount, or import the ini file of uWSGI together with this one",
	"scgi_pass":               "the protocol SCGI is not spoken: write psgi: FILE or cgi: FILE in place of the mount",
	"perl":                    "write the handler as a PSGI application",
	"internal":                "write accel_redirect of the mount whose application sends X-Accel-Redirect: accel_redirect: {/protected: DIRECTORY}",
	"stub_status":             "pagi-bridge status tells what the gateway is doing; set status_socket",
	"set_real_ip_from":        "write the middleware reverse_proxy with the addresses of the proxies",
	"real_ip_header":          "write the middleware reverse_proxy with the addresses of the proxies",
	"grpc_pass":               "there is no gRPC",
	"error_page":              "write the page's file in pages of the middleware error_handler",
	"satisfy":                 "write basic_auth with unless: {address: [...]}",
	"proxy_redirect":          "Location headers of the backend are mapped to the mount; keep_location: true leaves them alone",
	"proxy_cookie_path":       "write rewrite_cookies: true",
	"proxy_set_body":          "it is not carried over",
	"default_type":            "write default_type of the file mount",
	"proxy_ssl_verify":        "certificates of backends are always verified: name their authority in ca",
	"dav_methods":             "there is no WebDAV: serve it by a CGI script or a PSGI application",
	"resolver":                "names of backends are looked up anew for each connection by the system's resolver",
	"secure_link":             "let the application check it",
	"image_filter":            "there are no filters; let the application do it",
	"autoindex_format":        "a listing has the form that the client's Accept header asks for",
	"fastcgi_split_path_info": "write split_path of the proxy mount",
}

func (c *conf) nginxUnknown(d *directive) {
	advice := nginxAdvice[d.name]
	if advice == "" {
		advice = "there is nothing like it in a site file"
	}
	c.leave(d.at, advice)
}
