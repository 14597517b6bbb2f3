package importer

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// directive is a line of Apache's, or a section with the directives in it.
type directive struct {
	name     string // in lower case
	args     []string
	rest     string // what follows the name, as it is written
	at       place
	children []*directive
	section  bool
}

// apacheParser reads directives. Conditions (IfModule, IfDefine, IfVersion) are decided while it reads.
type apacheParser struct {
	conf     *conf
	includes // root is ServerRoot
	defines  map[string]string
	loaded   []string // modules that LoadModule names; none in a snippet
}

// absentModules are those that a site without Apache does not have. All others count as there.
var absentModules = []string{"mod_fcgid.c", "fcgid_module", "mod_fastcgi.c", "mod_access_compat.c", "access_compat_module", "mod_suexec.c"}

var apacheVariable = regexp.MustCompile(`\$\{(\w+)\}`)

// debianVariables are those of /etc/apache2/envvars.
var debianVariables = map[string]string{
	"APACHE_RUN_USER": "www-data", "APACHE_RUN_GROUP": "www-data", "APACHE_LOG_DIR": "/var/log/apache2",
	"APACHE_PID_FILE": "/run/apache2/apache2.pid", "APACHE_RUN_DIR": "/run/apache2", "APACHE_LOCK_DIR": "/var/lock/apache2",
}

func (p *apacheParser) file(name string) ([]*directive, error) {
	text, err := p.open(name)
	if err != nil {
		return nil, err
	}
	return p.parse(name, text)
}

// parse returns the directives of a text.
func (p *apacheParser) parse(name, text string) ([]*directive, error) {
	defer p.begin(name)()
	lines := logicalLines(text)
	list, next, err := p.block(name, lines, 0, "")
	if err == nil && next < len(lines) {
		err = fmt.Errorf("%s:%d: %s closes nothing", name, lines[next].number, lines[next].text)
	}
	return list, err
}

type numbered struct {
	number int
	text   string
}

// logicalLines joins lines that end with a backslash, and leaves comments and empty lines out.
func logicalLines(text string) (lines []numbered) {
	var open bool
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimRight(line, "\r")
		part, more := strings.CutSuffix(line, `\`)
		part = strings.TrimSpace(part)
		if open {
			lines[len(lines)-1].text += " " + part
		} else {
			lines = append(lines, numbered{i + 1, part})
		}
		open = more
	}
	return slices.DeleteFunc(lines, func(l numbered) bool { return l.text == "" || l.text[0] == '#' })
}

// block reads directives up to the end of a section, and returns the index of the line that ends it.
func (p *apacheParser) block(file string, lines []numbered, i int, section string) (list []*directive, next int, err error) {
	for ; i < len(lines); i++ {
		l := lines[i]
		at := place{file, l.number, l.text}
		if closing, is := strings.CutPrefix(l.text, "</"); is {
			if !strings.EqualFold(strings.TrimRight(closing, "> \t"), section) {
				return nil, i, fmt.Errorf("%s:%d: %s closes no section that is open", file, l.number, l.text)
			}
			return list, i, nil
		}
		if opening, is := strings.CutPrefix(l.text, "<"); is {
			d := newDirective(strings.TrimSuffix(strings.TrimSpace(opening), ">"), at)
			d.section = true
			if d.name == "perl" {
				for i++; i < len(lines) && !strings.EqualFold(lines[i].text, "</Perl>"); i++ {
				}
				p.conf.leave(at, "Perl code of the configuration is not run; modules that it loads go into preload_modules of a cgi mount, or modules of a psgi mount")
				continue
			}
			d.children, i, err = p.block(file, lines, i+1, d.name)
			if err != nil {
				return nil, i, err
			}
			if i >= len(lines) {
				return nil, i, fmt.Errorf("%s:%d: <%s> is not closed", file, l.number, d.name)
			}
			list = append(list, p.conditional(d)...)
			continue
		}
		d := newDirective(p.expand(l.text), at)
		switch d.name {
		case "define":
			p.defines[d.arg(0)] = d.arg(1)
		case "loadmodule":
			p.loaded = append(p.loaded, strings.ToLower(d.arg(0)))
		case "undefine":
			delete(p.defines, d.arg(0))
		case "serverroot":
			p.root = d.arg(0)
		case "include", "includeoptional":
			more, err := p.include(d)
			if err != nil {
				return nil, i, err
			}
			list = append(list, more...)
		default:
			list = append(list, d)
		}
	}
	return list, i, nil
}

// conditional returns the directives of a section if it is one with a condition that holds, and the section
// itself if it is another one. Debian tests modules in order to define a name: so a condition that Define
// stands in is decided before what follows is read.
func (p *apacheParser) conditional(d *directive) []*directive {
	condition, negated := strings.CutPrefix(d.arg(0), "!")
	var holds bool
	switch d.name {
	case "ifmodule":
		holds = p.hasModule(strings.ToLower(condition))
	case "ifdefine":
		_, holds = p.defines[condition]
	case "ifversion":
		holds = d.arg(0) != "<" && d.arg(0) != "<="
		negated = false
	case "ifdirective", "iffile", "ifsection":
		holds = true
	default:
		return []*directive{d}
	}
	if holds == negated {
		return nil
	}
	return d.children
}

// builtIn are modules of Apache that are there without LoadModule.
var builtIn = []string{"core_module", "so_module", "http_module", "unixd_module", "log_config_module", "logio_module", "version_module", "watchdog_module"}

// hasModule reports whether a module, as mod_NAME.c or NAME_module, is there: if the configuration loads it,
// or, in a snippet, if a site has something in its place.
func (p *apacheParser) hasModule(name string) bool {
	if slices.Contains(absentModules, name) {
		return false
	}
	if inner, is := strings.CutPrefix(strings.TrimSuffix(name, ".c"), "mod_"); is {
		name = inner + "_module"
	}
	return len(p.loaded) == 0 || slices.Contains(p.loaded, name) || slices.Contains(builtIn, name)
}

// include reads the files of an Include. One that is not there is noted: the snippet may be tried elsewhere.
func (p *apacheParser) include(d *directive) (list []*directive, err error) {
	pattern := d.arg(0)
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(p.root, pattern)
	}
	if info, err := os.Stat(pattern); err == nil && info.IsDir() {
		pattern = filepath.Join(pattern, "*")
	}
	names, err := glob(pattern)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 && d.name == "include" {
		p.conf.leave(d.at, "the file is not there; import it together with this one")
	}
	for _, name := range names {
		more, err := p.file(name)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	return list, nil
}

// expand replaces ${NAME} by what Define or Debian's envvars say.
func (p *apacheParser) expand(line string) string {
	return apacheVariable.ReplaceAllStringFunc(line, func(whole string) string {
		name := whole[2 : len(whole)-1]
		if v, ok := p.defines[name]; ok {
			return v
		}
		if v, ok := debianVariables[name]; ok {
			return v
		}
		return whole
	})
}

func newDirective(line string, at place) *directive {
	name, rest, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
	at.text = strings.Join(strings.Fields(at.text), " ")
	return &directive{name: strings.ToLower(name), args: words(rest), rest: strings.TrimSpace(rest), at: at}
}

// words splits arguments at spaces, with quotes and backslashes in front of quotes.
func words(text string) (list []string) {
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimLeft(text, " \t") {
		var b strings.Builder
		if q := text[0]; q == '"' || q == '\'' {
			i := 1
			for ; i < len(text) && text[i] != q; i++ {
				if text[i] == '\\' && i+1 < len(text) && (text[i+1] == q || text[i+1] == '\\') {
					i++
				}
				b.WriteByte(text[i])
			}
			text = text[min(i+1, len(text)):]
		} else {
			end := strings.IndexAny(text, " \t")
			if end < 0 {
				end = len(text)
			}
			b.WriteString(text[:end])
			text = text[end:]
		}
		list = append(list, b.String())
	}
	return list
}

// arg returns an argument, "" if there are fewer.
func (d *directive) arg(i int) string {
	if i >= 0 && i < len(d.args) {
		return d.args[i]
	}
	return ""
}

// after returns the arguments behind the first n.
func (d *directive) after(n int) []string { return d.args[min(n, len(d.args)):] }

func (d *directive) is(i int, word string) bool { return strings.EqualFold(d.arg(i), word) }
