package importer

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// settings is what Apache's directives say about a place: those of the server, then those of the sections
// that match it, from the outer to the inner ones.
type settings struct {
	exec, indexes     bool
	links             any // false, true or "owner"
	script            bool
	handlers          []string // extensions that are scripts
	php               bool
	registry          bool // scripts need no execute bit, because mod_perl runs them
	handler           string
	perlHandler       string
	perlVars          map[string]string
	index             []string
	realm, authType   string
	authAt            place
	passwords         string
	access            access
	env               fields
	passEnv           []string
	authorization     bool
	types             fields
	charset, defType  string
	response, request fields // of the middleware headers
	fallback          string // the script or file for a path that is no file
	fallbackAt        place
	admin             string
	timeout           int
	maxBody           int
	errors            fields
	cache             string
	denied            []layer
}

// access is what Require, or Order with Allow and Deny, say.
type access struct {
	set                         bool
	allow, deny                 []string
	user                        bool
	granted, none               bool
	all                         bool // of several conditions all must hold
	inside                      bool // while a RequireAll is read
	lost                        bool // a condition is not carried over
	order                       string
	allowAll, denyAll, satisfy1 bool
}

// ignored are directives that a site needs no counterpart of, or has by default.
var ignored = strings.Fields(`allowoverride serversignature servertokens hostnamelookups loglevel accessfilename mutex
	keepalive maxkeepaliverequests rewriteengine rewriteoptions proxypassreverse proxyrequests proxyvia directoryslash loadmodule addmodule
	usecanonicalname namevirtualhost sslengine sslciphersuite sslhonorcipherorder sslsessioncache sslsessioncachetimeout
	sslrandomseed sslcompression sslsessiontickets sslusestapling sslstaplingcache sslpassphrasedialog ssloptions
	indexoptions indexignore addicon addiconbytype addiconbyencoding defaulticon readmename headername adddescription
	indexorderdefault scriptsock scriptlog mpmtunes startservers minspareservers maxspareservers maxrequestworkers
	maxclients maxconnectionsperchild threadsperchild threadlimit minsparethreads maxsparethreads serverlimit logformat
	addlanguage languagepriority forcelanguagepriority addcharset addencoding typesconfig mimemagicfile traceenable
	enablesendfile enablemmap authbasicprovider authuserfile2 serverroot perloptions perlmodule perlrequire proxybadheader
	deflatecompressionlevel browsermatch setenvifnocase filetag contentdigest xbithack ssiendtag usecanonicalphysicalport
	acceptfilter coredumpdirectory limitrequestline limitrequestfieldsize limitrequestfields perlswitches
	proxytimeout fcgidmaxrequestlen fcgidconnecttimeout fcgidmaxrequestsperprocess perlpostconfigrequire perlconfigrequire
	extendedstatus proxystatus removetype requestreadtimeout authdigestdomain authdigestprovider authgroupfile pidfile serverpath defaultruntimedir requestheaderx`)

// section takes what stands in a section. Its own conditions of access replace those of outer ones.
func (s *settings) section(c *conf, list []*directive) {
	if slices.ContainsFunc(list, isAccess) {
		satisfy := s.access.satisfy1
		s.access = access{satisfy1: satisfy}
	}
	for _, d := range list {
		s.take(c, d)
	}
}

func isAccess(d *directive) bool {
	switch d.name {
	case "require", "order", "allow", "deny", "requireall", "requireany", "requirenone":
		return true
	case "limit":
		return slices.ContainsFunc(d.children, isAccess)
	}
	return false
}

// take takes one directive, or notes that nothing becomes of it.
func (s *settings) take(c *conf, d *directive) {
	switch d.name {
	case "options":
		s.options(d)
	case "addhandler":
		s.addHandler(c, d)
	case "sethandler":
		s.handler = strings.ToLower(d.arg(0))
		if strings.HasPrefix(s.handler, "proxy:") {
			s.handler = d.arg(0)
		}
	case "perlresponsehandler", "perlhandler":
		s.perlHandler = strings.TrimSuffix(d.arg(0), "->handler")
	case "perlsetvar":
		if s.perlVars == nil {
			s.perlVars = map[string]string{}
		}
		s.perlVars[d.arg(0)] = d.arg(1)
	case "directoryindex":
		s.index = slices.DeleteFunc(slices.Clone(d.args), func(a string) bool { return strings.EqualFold(a, "disabled") })
	case "authtype":
		s.authType, s.authAt = strings.ToLower(d.arg(0)), d.at
	case "authname":
		s.realm = d.arg(0)
	case "authuserfile":
		s.passwords = d.arg(0)
	case "require", "requireall", "requireany", "requirenone", "order", "allow", "deny", "satisfy":
		s.require(c, d)
	case "limit":
		s.section(c, d.children)
	case "limitexcept":
		s.access.lost = true
		c.leave(d.at, "conditions for some methods are not carried over; the place is closed to all but this machine. Put the condition when: {method: [...]} at an access or basic_auth middleware")
	case "setenv", "perlsetenv", "fcgidinitialenv":
		s.env = slices.Clone(s.env)
		s.env.set(d.arg(0), d.arg(1))
	case "passenv", "perlpassenv":
		s.passEnv = addTo(s.passEnv, d.args...)
	case "unsetenv":
		s.env.remove(d.arg(0))
	case "cgipassauth":
		s.authorization = d.is(0, "on")
	case "setenvif":
		if d.is(0, "authorization") && strings.Contains(strings.ToUpper(d.rest), "HTTP_AUTHORIZATION") {
			s.authorization = true
			return
		}
		c.leave(d.at, "variables that depend on a request are not carried over; let the application look at the header itself")
	case "addtype":
		s.addType(d)
	case "forcetype", "defaulttype":
		if !d.is(0, "none") {
			s.defType = d.arg(0)
		}
	case "adddefaultcharset":
		if s.charset = strings.ToLower(d.arg(0)); s.charset == "on" {
			s.charset = "iso-8859-1"
		}
	case "header", "requestheader":
		s.header(c, d)
	case "fallbackresource":
		if s.fallback, s.fallbackAt = d.arg(0), d.at; d.is(0, "disabled") {
			s.fallback = ""
		}
	case "serveradmin":
		s.admin = d.arg(0)
	case "timeout", "fcgidiotimeout":
		s.timeout = number(d.arg(0))
	case "limitrequestbody":
		s.maxBody = number(d.arg(0))
	case "errordocument":
		s.errorDocument(c, d)
	case "expiresactive", "expiresbytype":
		if d.name == "expiresbytype" {
			c.leave(d.at, "times by media type are not carried over; say them by ending in cache_rules of the file mount, cache_rules: {\"*.css\": max-age=86400}")
		}
	case "expiresdefault":
		if seconds := expires(d.rest); seconds >= 0 {
			s.cache = "max-age=" + strconv.Itoa(seconds)
		} else {
			c.leave(d.at, "write it as cache_control of the file mount")
		}
	case "rewritecond", "rewriterule", "rewritebase":
		// rewrites takes them, with the place they stand at
	case "proxypass", "proxypreservehost":
		// build takes them
	case "files", "filesmatch":
		s.files(c, d)
	case "serveralias", "servername", "documentroot", "customlog", "transferlog", "errorlog", "listen", "user", "group":
		// of the server
	case "directory", "directorymatch", "location", "locationmatch", "virtualhost", "proxy", "proxymatch":
		// sections are applied by place
	case "if", "elseif", "else":
		c.leave(d.at, "sections with expressions are not carried over; the conditions when and unless of a middleware may do")
	case "fcgidwrapper", "action", "script":
		c.leave(d.at, "name the program in interpreters of the cgi mount: interpreters: {.pl: /usr/bin/perl}")
	case "setoutputfilter", "addoutputfilterbytype", "addoutputfilter":
		if strings.Contains(strings.ToUpper(d.rest), "DEFLATE") {
			s.deflate(c)
			return
		}
		c.leave(d.at, "there are no filters; let the application do it")
	default:
		if !slices.Contains(ignored, d.name) {
			c.leave(d.at, "there is nothing like it in a site file")
		}
	}
}

// deflate compresses what the place answers, once.
func (s *settings) deflate(c *conf) {
	for _, l := range s.denied {
		if l.name == "gzip" {
			return
		}
	}
	s.denied = append(slices.Clone(s.denied), layer{name: "gzip"})
}

func (s *settings) options(d *directive) {
	relative := strings.HasPrefix(d.arg(0), "+") || strings.HasPrefix(d.arg(0), "-")
	if !relative {
		s.exec, s.indexes, s.links = false, false, false
	}
	for _, a := range d.args {
		on := !strings.HasPrefix(a, "-")
		switch strings.ToLower(strings.TrimLeft(a, "+-")) {
		case "all":
			s.exec, s.indexes, s.links = on, on, on
		case "execcgi":
			s.exec = on
		case "indexes":
			s.indexes = on
		case "followsymlinks":
			s.links = on
		case "symlinksifownermatch":
			if on {
				s.links = "owner"
			}
		}
	}
}

func (s *settings) addHandler(c *conf, d *directive) {
	switch handler := strings.ToLower(d.arg(0)); {
	case handler == "cgi-script" || handler == "fcgid-script" || handler == "fastcgi-script" || handler == "perl-script":
		for _, e := range d.args[1:] {
			s.handlers = addTo(s.handlers, "."+strings.TrimPrefix(strings.ToLower(e), "."))
		}
		s.registry = s.registry || handler == "perl-script"
	case strings.Contains(handler, "php"):
		s.php = true
	default:
		c.leave(d.at, "there is no such handler; cgi mounts know interpreters by extension")
	}
}

func (s *settings) addType(d *directive) {
	if strings.Contains(d.arg(0), "httpd-php") {
		s.php = true
		return
	}
	s.types = slices.Clone(s.types)
	for _, e := range d.args[min(1, len(d.args)):] {
		s.types.set(strings.ToLower(strings.TrimPrefix(e, ".")), d.arg(0))
	}
}

func (s *settings) header(c *conf, d *directive) {
	args := d.args
	for len(args) > 0 && (strings.EqualFold(args[0], "always") || strings.EqualFold(args[0], "onsuccess")) {
		args = args[1:]
	}
	if len(args) < 2 || len(args) > 3 || strings.ContainsAny(strings.Join(args, ""), "%") {
		c.leave(d.at, "headers with conditions or variables are not carried over; see the middleware headers")
		return
	}
	to := &s.response
	if d.name == "requestheader" && strings.HasPrefix(strings.ToLower(args[1]), "x-forwarded-") {
		return // a proxy mount sets them, and applications see the scheme of the client
	}
	if d.name == "requestheader" {
		to = &s.request
	}
	*to = slices.Clone(*to)
	name := strings.ToLower(strings.TrimSuffix(args[1], ":"))
	switch action := strings.ToLower(args[0]); {
	case action == "unset":
		list, _ := to.get("unset").([]string)
		to.set("unset", addTo(list, name))
	case len(args) == 3 && (action == "set" || action == "add"):
		to.under(action, name, args[2])
	case len(args) == 3 && (action == "setifempty"):
		to.under("default", name, args[2])
	case len(args) == 3 && (action == "append" || action == "merge"):
		to.under("add", name, args[2])
	default:
		c.leave(d.at, "such a change of a header is not carried over; see the middleware headers")
	}
}

func (s *settings) errorDocument(c *conf, d *directive) {
	page := d.arg(1)
	if strings.HasPrefix(page, "/") && len(d.args) == 2 {
		s.errors = slices.Clone(s.errors)
		s.errors.set(d.arg(0), page)
		return
	}
	c.leave(d.at, "write the page to a file, and name it in pages of the middleware error_handler")
}

var extensionPattern = regexp.MustCompile(`^\\\.\(?(?:\?:)?([a-z0-9|]+)\)?\$$`)

// files takes sections about names of files. Those of one name are applied by place.
func (s *settings) files(c *conf, d *directive) {
	pattern := d.arg(0)
	if pattern == "~" {
		pattern = d.arg(1)
	}
	if d.name == "files" && d.arg(0) != "~" && !strings.ContainsAny(pattern, "*?") {
		return
	}
	if strings.HasPrefix(strings.TrimPrefix(pattern, "^"), `\.`) && !extensionPattern.MatchString(pattern) || strings.HasPrefix(pattern, ".ht") {
		return // files whose names begin with a dot are never served
	}
	var endings []string
	if ending, is := strings.CutPrefix(pattern, "*."); is {
		endings = []string{ending}
	} else if m := extensionPattern.FindStringSubmatch(strings.TrimPrefix(pattern, ".+")); m != nil {
		endings = strings.Split(m[1], "|")
	}
	if len(endings) == 0 && slices.ContainsFunc(d.children, func(x *directive) bool {
		return x.name == "sethandler" && (strings.Contains(x.rest, "php") || strings.HasPrefix(x.arg(0), "proxy:"))
	}) {
		endings = []string{"php"}
	}
	if len(endings) == 0 {
		if slices.ContainsFunc(d.children, isAccess) {
			s.access.lost, s.access.set = true, true
		}
		c.leave(d.at, "sections for such names of files are not carried over; if they restrict access the place is closed to all but this machine")
		return
	}
	var in settings
	in.section(c, d.children)
	switch {
	case in.handler == "cgi-script" || in.handler == "fcgid-script" || in.handler == "perl-script":
		for _, e := range endings {
			s.handlers = addTo(s.handlers, "."+e)
		}
		s.exec = s.exec || in.exec
		if in.handler == "perl-script" {
			s.exec, s.registry = true, true
		}
	case strings.Contains(in.handler, "php"):
		s.php = true
	case strings.HasPrefix(in.handler, "proxy:"):
		s.php, s.handler = true, in.handler
	}
	for _, l := range in.limits(c, d.at) {
		paths := make([]string, len(endings))
		for i, e := range endings {
			paths[i] = "*." + e
		}
		l.options.under("when", "path", paths)
		s.denied = append(slices.Clone(s.denied), l)
	}
	if in.cache != "" || len(in.response) > 0 {
		c.leave(d.at, "headers for some names of files are not carried over; say them in cache_rules of the file mount, or in the middleware headers with when: {path: \"*."+endings[0]+"\"}")
	}
}

// require takes a condition of access.
func (s *settings) require(c *conf, d *directive) {
	a := &s.access
	a.set = true
	lose := func(advice string) {
		a.lost = true
		c.leave(d.at, advice+"; until then the place is closed to all but this machine")
	}
	switch d.name {
	case "order":
		a.order = strings.ToLower(strings.ReplaceAll(d.rest, " ", ""))
	case "allow", "deny":
		if a.order == "" {
			a.order = "deny,allow"
		}
		for _, from := range d.args[min(1, len(d.args)):] {
			switch {
			case strings.EqualFold(from, "all") && d.name == "allow":
				a.allowAll = true
			case strings.EqualFold(from, "all"):
				a.denyAll = true
			default:
				nets, ok := networks(from)
				if !ok {
					lose("only addresses and networks are carried over, no names of hosts: list them in the middleware access")
				} else if d.name == "allow" {
					a.allow = addTo(a.allow, nets...)
				} else {
					a.deny = addTo(a.deny, nets...)
				}
			}
		}
	case "satisfy":
		a.satisfy1 = d.is(0, "any")
	case "requireall", "requireany":
		if d.name == "requireall" {
			if a.all || a.user || len(a.allow)+len(a.deny) > 0 {
				lose("conditions of which one is enough, beside others that must all hold, are not carried over: write them as the middleware access and basic_auth")
				return
			}
			granted := a.granted
			a.all, a.inside = true, true
			defer func() { a.granted, a.inside = granted, false }() // in it, "all granted" changes nothing
		}
		for _, child := range d.children {
			if child.section && child.name != d.name {
				lose("conditions in conditions are not carried over: write them as the middleware access and basic_auth")
				continue
			}
			s.require(c, child)
		}
	case "requirenone":
		lose("write the middleware access with deny")
	case "require":
		s.requireOne(c, d, lose)
	}
}

func (s *settings) requireOne(c *conf, d *directive, lose func(string)) {
	a := &s.access
	if a.all && !a.inside && !d.is(0, "all") {
		lose("conditions of which one is enough, beside others that must all hold, are not carried over: write them as the middleware access and basic_auth")
		return
	}
	args := d.args
	not := len(args) > 0 && strings.EqualFold(args[0], "not")
	if not {
		args = args[1:]
	}
	if len(args) == 0 {
		lose("it says nothing")
		return
	}
	switch strings.ToLower(args[0]) {
	case "all":
		granted := len(args) > 1 && strings.EqualFold(args[1], "granted") != not
		a.granted, a.none = a.granted || granted, a.none || !granted
	case "local":
		a.allow = addTo(a.allow, "127.0.0.0/8", "::1")
	case "ip":
		for _, from := range args[1:] {
			nets, ok := networks(from)
			switch {
			case !ok:
				lose("this address is not understood: list it in the middleware access")
			case not:
				a.deny = addTo(a.deny, nets...)
			default:
				a.allow = addTo(a.allow, nets...)
			}
		}
	case "host":
		if len(args) == 2 && strings.EqualFold(args[1], "localhost") && !not {
			a.allow = addTo(a.allow, "127.0.0.0/8", "::1")
			return
		}
		lose("names of hosts are not carried over: list addresses and networks in the middleware access")
	case "valid-user":
		a.user = true
	case "user":
		lose("basic_auth lets all users of the htpasswd file in: make a file with these users only, and write basic_auth with it")
	case "group", "ldap-group", "ldap-user", "file-owner":
		lose("there are no groups: make an htpasswd file with the users of the group, and write basic_auth with it")
	default:
		lose("this condition is not carried over: see the middleware access, basic_auth and auth_forward")
	}
}

// limits returns the middleware that restricts access to the place.
func (s *settings) limits(c *conf, at place) []layer {
	a := s.access
	var layers []layer
	if a.lost {
		return []layer{closed()}
	}
	if a.none && !a.granted {
		return []layer{deniedAll()}
	}
	var allow, deny []string
	switch {
	case a.order == "allow,deny" && !a.allowAll && len(a.allow) == 0 || a.denyAll && a.order == "allow,deny", a.order == "mutual-failure" && !a.allowAll && len(a.allow) == 0:
		return []layer{deniedAll()}
	case a.order != "" && (a.allowAll || a.order == "deny,allow" && !a.denyAll):
		deny = a.deny
		if a.order == "deny,allow" && len(deny) > 0 {
			allow = addTo(a.allow, "0.0.0.0/0", "::/0", "unix")
		}
	case a.order != "" && a.denyAll && len(a.allow) == 0:
		return []layer{deniedAll()}
	default:
		allow, deny = a.allow, a.deny
	}
	if a.granted {
		allow, a.user = nil, false
	}
	var net []layer
	if len(allow)+len(deny) > 0 {
		var f fields
		if len(allow) > 0 {
			f = append(f, field{"allow", allow})
		}
		if len(deny) > 0 {
			f = append(f, field{"deny", deny})
		}
		net = []layer{{"access", f}}
	}
	if !a.user {
		return append(layers, net...)
	}
	if s.authType != "basic" || s.passwords == "" {
		if s.authAt.line > 0 {
			at = s.authAt
		}
		c.leave(at, "only basic authentication with a password file (AuthType Basic, AuthUserFile) is carried over: write basic_auth, auth_forward or auth_oidc; until then the place is closed to all but this machine")
		return []layer{closed()}
	}
	login := layer{"basic_auth", nil}
	if s.realm != "" {
		login.options = append(login.options, field{"realm", s.realm})
	}
	login.options = append(login.options, field{"htpasswd", s.passwords})
	either := a.satisfy1 || a.order == "" && !a.all
	if either && len(allow) > 0 {
		login.options.under("unless", "address", allow)
		return append(layers, login)
	}
	return append(append(layers, net...), login)
}

// networks returns an address or a network of Apache's, which may be a part of an address.
func networks(from string) ([]string, bool) {
	if strings.EqualFold(from, "localhost") {
		return []string{"127.0.0.0/8", "::1"}, true
	}
	if network, ok := parseNetwork(from); ok {
		return []string{network}, true
	}
	if parts := strings.Split(strings.TrimSuffix(from, "."), "."); len(parts) < 4 && !strings.ContainsAny(from, "/:") {
		full := strings.Join(append(parts, slices.Repeat([]string{"0"}, 4-len(parts))...), ".") + "/" + strconv.Itoa(8*len(parts))
		if network, ok := parseNetwork(full); ok {
			return []string{network}, true
		}
	}
	return nil, false
}

// number returns the number in a text, 0 if it is none.
func number(text string) int {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return 0
	}
	return n
}

var expiresForm = regexp.MustCompile(`^(?:A|access plus |"access plus )(\d+)(?: (second|minute|hour|day|week|month|year)s?)?"?$`)

// expires returns the seconds of a time of mod_expires, -1 if it has another form.
func expires(text string) int {
	m := expiresForm.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return -1
	}
	unit := map[string]int{"": 1, "second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800, "month": 2592000, "year": 31536000}[m[2]]
	return number(m[1]) * unit
}
