package importer

import (
	"regexp"
	"slices"
	"strings"
)

// front is a front controller: a script that answers for the paths that are no files.
type front struct {
	base, target string
	at           place
}

// rule is a RewriteRule with its conditions.
type rule struct {
	d          *directive
	conditions []*directive
	base       string // the path that a pattern in a directory begins behind, "" for a rule of the server
}

// serverRewrites takes the rules of the server, then those of directories.
func (h *apacheHost) serverRewrites() {
	h.rewrites(h.list, "")
	for _, d := range h.list {
		if d.name == "directory" && d.section {
			for _, path := range h.urls(d.arg(0)) {
				h.rewrites(d.children, strings.TrimSuffix(path, "/")+"/")
			}
		}
		if d.name == "location" && d.section {
			h.rewrites(d.children, strings.TrimSuffix(clean(d.arg(0)), "/")+"/")
		}
	}
}

func (h *apacheHost) rewrites(list []*directive, base string) {
	off := false
	for _, d := range list {
		if d.name == "rewriteengine" {
			off = d.is(0, "off")
		}
	}
	var conditions []*directive
	target := base
	for _, d := range list {
		switch {
		case d.name == "rewritebase":
			target = strings.TrimSuffix(clean(d.arg(0)), "/") + "/"
		case d.name == "rewritecond":
			conditions = append(conditions, d)
		case d.name == "rewriterule" && off:
			conditions = nil
		case d.name == "rewriterule":
			h.rewrite(rule{d, conditions, base}, target)
			conditions = nil
		}
	}
}

var (
	unknownVariable = regexp.MustCompile(`%\{|%\d`)
	literalHost     = regexp.MustCompile(`^\^?\(?([A-Za-z0-9-]+(?:\\?\.[A-Za-z0-9-]+)*)\)?\$?$`)
)

// rewrite makes of a rule what a site has for it.
func (h *apacheHost) rewrite(r rule, target string) {
	d := r.d
	c := h.conf
	to, flags := d.arg(1), rewriteFlags(d.arg(2))
	status := 0
	if code, is := flags["r"]; is {
		if status = statusWords[code]; status == 0 {
			status = number(code)
		}
		if status == 0 {
			status = 302
		}
	}
	if _, is := flags["redirect"]; is {
		status = 302
	}
	if h.environmentRule(d, flags, to) {
		return
	}
	lose := func(advice string) {
		for _, cond := range r.conditions {
			c.leave(cond.at, "it belongs to the rule below it, which is not carried over")
		}
		c.leave(d.at, advice)
	}
	var host string
	var isPlain, notFile bool
	for _, cond := range r.conditions {
		test, pattern := strings.ToUpper(cond.arg(0)), cond.arg(1)
		literal := literalHost.FindStringSubmatch(pattern)
		switch {
		case test == "%{HTTPS}" && (strings.EqualFold(pattern, "off") || strings.EqualFold(pattern, "!=on") || strings.EqualFold(pattern, "!on")), test == "%{SERVER_PORT}" && (strings.Trim(pattern, "^$") == "80" || pattern == "!^443$"):
			isPlain = true
		case test == "%{REQUEST_FILENAME}" && (pattern == "!-f" || pattern == "!-d" || pattern == "!-l" || pattern == "!-s"):
			notFile = true
		case test == "%{HTTP_HOST}" && literal != nil && host == "":
			host = strings.ToLower(strings.ReplaceAll(literal[1], `\`, ""))
		default:
			lose("this condition is not carried over: write the rule in the middleware rewrite, with when or unless around it")
			return
		}
	}
	if own := strings.HasPrefix(to, "https://%{HTTP_HOST}") || strings.HasPrefix(to, "https://%{SERVER_NAME}"); (own || h.isOwnHTTPS(strings.TrimSuffix(strings.TrimSuffix(to, "$1"), "%{REQUEST_URI}"))) && host == "" && !notFile && !h.out.tls {
		if strings.HasSuffix(to, "%{REQUEST_URI}") || strings.HasSuffix(to, "$1") {
			if isPlain || status != 0 {
				h.out.toHTTPS = true
				return
			}
		}
	}
	if isPlain || unknownVariable.MatchString(to) {
		lose("variables in a target are not carried over: write the rule in the middleware rewrite, or https_redirect")
		return
	}
	if notFile && status == 0 {
		h.frontRule(r, to, target, lose)
		return
	}
	if notFile {
		lose("a redirect of paths that are no files is not carried over: write it in the application, or a router mount in a cascade")
		return
	}
	for _, f := range []string{"p", "c", "chain", "s", "skip", "n", "next", "e", "env", "h", "handler", "t", "type", "co", "cookie"} {
		if _, is := flags[f]; is {
			lose("rules with such a flag are not carried over: write a mount for the path, for [P] a proxy mount")
			return
		}
	}
	pattern := d.arg(0)
	if strings.HasPrefix(pattern, "!") {
		lose("a pattern that must not match is not carried over: write the rule in the middleware rewrite, with unless around it")
		return
	}
	if r.base != "" {
		pattern = behind(pattern, r.base)
	}
	if _, is := flags["nc"]; is {
		pattern = "(?i)" + pattern
	}
	if !compiles(pattern) {
		lose("this regular expression is not one of Go (RE2): write the rule anew in the middleware rewrite")
		return
	}
	var when fields
	if host != "" {
		when = fields{{"host", []string{host}}}
	}
	_, forbidden := flags["f"]
	_, gone := flags["g"]
	switch {
	case forbidden || gone:
		h.refuse(r, pattern, gone, lose)
	case to == "-":
		if len(flags) > 0 {
			if _, last := flags["l"]; !last || len(flags) > 1 {
				lose("a rule that changes nothing is not carried over")
			} else {
				lose("a rule that ends the rules is not carried over: the first rule of the middleware rewrite that matches counts, so write unless: {path: ...} around it")
			}
		}
	default:
		if r.base != "" && !strings.HasPrefix(to, "/") && !strings.Contains(to, "://") {
			to = target + to
		}
		if !strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "http://") && !strings.HasPrefix(to, "https://") {
			lose("write the target with a slash in front in the middleware rewrite")
			return
		}
		f := fields{{"match", pattern}, {"to", to}}
		if strings.Contains(to, "://") && status == 0 {
			status = 302
		}
		if status != 0 {
			f.set("redirect", status)
		}
		h.rule(f, when)
	}
}

// frontRule takes a rule for paths that are no files.
func (h *apacheHost) frontRule(r rule, to, target string, lose func(string)) {
	script, _, _ := strings.Cut(to, "?")
	script = strings.TrimSuffix(strings.TrimSuffix(script, "$1"), "/")
	pattern := r.d.arg(0)
	if strings.Contains(to, "?") || strings.Contains(script, "$") || script == "" || !slices.Contains([]string{"^(.*)$", "(.*)", "^(.+)$", ".*", "^.*$", "^", ".", "^/(.*)$", "^/?(.*)$"}, pattern) {
		lose("write a cascade mount: the files, then the application that gets the other paths")
		return
	}
	if !strings.HasPrefix(script, "/") {
		script = target + script
	}
	base := "/"
	if r.base != "" {
		base = clean(r.base)
	}
	h.front = &front{base: base, target: script, at: r.d.at}
}

// environmentRule takes the rule that hands the client's credentials to scripts.
func (h *apacheHost) environmentRule(d *directive, flags map[string]string, to string) bool {
	value := flags["e"] + flags["env"]
	if to == "-" && strings.HasPrefix(strings.ToUpper(value), "HTTP_AUTHORIZATION:") {
		main := h.list[len(h.own):]
		h.own = append(slices.Clone(h.own), &directive{name: "cgipassauth", args: []string{"on"}, at: d.at})
		h.list = append(slices.Clone(h.own), main...)
		return true
	}
	return false
}

var plainPath = regexp.MustCompile(`^\^?(/[A-Za-z0-9/_-]*?)/?(\(?\.\*\)?)?\$?$`)

// refuse takes a rule that answers 403 or 410.
func (h *apacheHost) refuse(r rule, pattern string, gone bool, lose func(string)) {
	ending := extensionPattern.FindStringSubmatch(r.d.arg(0))
	path := plainPath.FindStringSubmatch(strings.ReplaceAll(pattern, `\.`, "."))
	switch {
	case ending != nil && !gone && len(r.conditions) == 0:
		var paths []string
		for _, e := range strings.Split(ending[1], "|") {
			paths = append(paths, "*."+e)
		}
		l := deniedAll()
		l.options.set("when", fields{{"path", paths}})
		h.out.layers = append(h.out.layers, l)
	case path != nil && len(r.conditions) == 0:
		status, text := 403, "Forbidden"
		if gone {
			status, text = 410, "Gone"
		}
		h.add(&mount{path: clean(path[1]), kind: "not_found", source: text, options: fields{{"status", status}}, from: []string{r.d.at.comment()}})
	default:
		lose("write the middleware access with deny and when: {path: ...}; until then nothing refuses these requests")
	}
}

// behind makes a pattern for whole paths of one for the part behind a directory.
func behind(pattern, base string) string {
	quoted := regexp.QuoteMeta(base)
	if rest, is := strings.CutPrefix(pattern, "^"); is {
		return "^" + quoted + rest
	}
	return "^" + quoted + ".*?" + pattern
}

// rewriteFlags reads [R=301,L] into names in lower case with their values.
func rewriteFlags(text string) map[string]string {
	flags := map[string]string{}
	for _, f := range strings.Split(strings.Trim(text, "[] "), ",") {
		if name, value, _ := strings.Cut(strings.TrimSpace(f), "="); name != "" {
			flags[strings.ToLower(name)] = value
		}
	}
	return flags
}
