package site

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/pagi-go/pagi-bridge/internal/nearest"
	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/server/acme"
)

// Load reads a site file. The error is of type Problems and names file, line and column of each
// problem: unknown keys with the nearest right one, values of the wrong type, missing options.
// Names of files are relative to the directory of the site file. Build checks whether these files
// exist.
//
//	listen: 127.0.0.1:5000
//	middleware: [request_id, security_headers]
//	mounts:
//	  - path: /
//	    psgi: app.psgi
//	    workers: 4
//	  - path: /cgi-bin
//	    cgi: cgi-bin
//	  - path: /static
//	    file: public
//	    precompressed: true
func Load(file string) (*Site, error) { return Loader{}.Load(file) }

// Loader reads site files.
type Loader struct {
	// LookupEnv returns the value of the variable in ${NAME}; nil means os.LookupEnv.
	LookupEnv func(name string) (string, bool)
}

// Load reads a site file and those that it includes, as the function Load does.
func (o Loader) Load(file string) (*Site, error) {
	s := &Site{File: file}
	s.settingsAt = places{part: Position{File: file, Line: 1, Col: 1}, options: map[string]Position{}}
	l := &loader{site: s, lookupEnv: o.LookupEnv}
	if l.lookupEnv == nil {
		l.lookupEnv = os.LookupEnv
	}
	source, err := os.ReadFile(file)
	if err != nil {
		return nil, Problems{{At: Position{File: file}, Err: reason(err)}}
	}
	l.read(file, source)
	if err := l.problems.err(); err != nil {
		return nil, err
	}
	if len(s.Mounts) == 0 {
		return nil, Problems{{At: s.settingsAt.part, Err: errors.New("mounts: is missing; a site needs at least one mount")}}
	}
	if set := &s.Settings; set.TLS.HasACME() && set.TLS.ACME.Storage == "" {
		set.TLS.ACME.Storage = filepath.Join(s.base(), acme.DefaultStorage)
	}
	s.Warnings = slices.Concat(l.warnings, s.orderWarnings(), s.exposureWarnings())
	return s, nil
}

// reason returns why a file cannot be read, without the file's name.
func reason(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// loader reads a site file and the files that it includes.
type loader struct {
	site      *Site
	lookupEnv func(string) (string, bool)
	problems  Problems
	warnings  Problems
	reading   []string // the files that are being read, each included by the one before
}

// read decodes one file.
func (l *loader) read(file string, source []byte) {
	s := l.site
	s.sources = append(s.sources, sourceFile{file, source})
	d := &decoder{loader: l, file: file, anchors: map[string]ast.Node{}, written: map[ast.Node]string{}}
	tree, err := parser.ParseBytes(source, 0)
	if err != nil {
		l.problems = append(l.problems, syntaxProblem(file, err))
		return
	}
	l.reading = append(l.reading, file)
	defer func() { l.reading = l.reading[:len(l.reading)-1] }()
	docs := slices.DeleteFunc(tree.Docs, func(doc *ast.DocumentNode) bool { return doc.Body == nil })
	switch {
	case len(docs) > 1:
		d.problems.add(d.at(docs[1].Body), "a site file must be one document; a second one begins here")
	case len(docs) == 1:
		before := len(d.problems)
		ast.Walk(d, docs[0].Body)
		if len(d.problems) > before {
			break
		}
		if pairs, ok := d.mapping(docs[0].Body); ok {
			d.siteKeys(pairs)
		} else {
			d.problems.add(d.at(docs[0].Body), "a site file must be a mapping with the key \"mounts\", is %s", d.describe(d.plain(docs[0].Body)))
		}
	}
}

func syntaxProblem(file string, err error) *Problem {
	var detailed interface {
		GetToken() *token.Token
		GetMessage() string
	}
	if errors.As(err, &detailed) {
		return &Problem{At: positionOf(file, detailed.GetToken()), Err: errors.New(detailed.GetMessage())}
	}
	return &Problem{At: Position{File: file}, Err: err}
}

// siteKeys decodes the top of a file.
func (d *decoder) siteKeys(pairs []pair) {
	s := d.site
	settings := fieldsOf(&s.Settings)
	known := append(slices.Collect(maps.Keys(settings)), "middleware", "mounts")
	for _, p := range pairs {
		switch {
		case p.key == "mounts":
			d.mounts(s, p)
		case p.key == "middleware":
			if before, twice := s.settingsAt.options[p.key]; twice {
				d.problems.add(p.at, "middleware: is given already%s", first(before))
				continue
			}
			s.settingsAt.options[p.key] = d.at(d.plain(p.value))
			s.Middleware = d.middleware(p)
		case p.key == "include" && d.include(p):
		case settings[p.key].Name != "":
			d.into(&s.Settings, []pair{p}, "the site", "", s.settingsAt.options)
			if err := s.Settings.Given(settings[p.key].Name); err != nil {
				d.problems.addOf(s.settingsAt, err)
			}
		default:
			d.unknown(p, "the site", known)
		}
	}
}

func (d *decoder) mounts(s *Site, p pair) {
	list, ok := d.plain(p.value).(*ast.SequenceNode)
	if !ok {
		d.problems.add(d.at(p.value), "mounts: must be a list, is %s", d.describe(d.plain(p.value)))
		return
	}
	for _, item := range list.Values {
		pairs, ok := d.mapping(item)
		if !ok {
			d.problems.add(d.at(item), "mounts: each one must be a mapping like {path: /, psgi: app.psgi}, is %s", d.describe(d.plain(item)))
			continue
		}
		if m := d.mount(s, d.at(item), pairs); m != nil {
			s.Mounts = append(s.Mounts, m)
		}
	}
}

// ownKeys are the keys of a mount that do not belong to its application.
var ownKeys = []string{"path", "host", "middleware", "sendfile", "accel_redirect", "isolate", "namespace", "health", "slow_request"}

// mount decodes one mount. It returns nil if the kind of the mount is not clear.
func (d *decoder) mount(s *Site, at Position, pairs []pair) *Mount {
	m := &Mount{Path: "/", at: places{part: at, options: map[string]Position{}}}
	var what *pair
	var options, answers []pair
	isRouter := slices.ContainsFunc(pairs, func(p pair) bool { return p.key == KindRouter })
	for _, p := range pairs {
		_, builtIn := kinds[p.key]
		switch {
		case isRouter && slices.Contains(answerKeys, p.key):
			answers = append(answers, p)
		case p.key == "middleware":
			m.Middleware = d.middleware(p)
		case slices.Contains(ownKeys, p.key):
			d.into(m, []pair{p}, "a mount", "", m.at.options)
		case (builtIn || p.key == KindGo) && what == nil:
			what = &p
		case builtIn || p.key == KindGo:
			d.problems.add(p.at, "a mount has one kind: this one is %q already", what.key)
		default:
			options = append(options, p)
		}
	}
	if what == nil {
		d.nothing(at, options)
		return nil
	}
	m.Kind = what.key
	m.at.part = d.at(d.plain(what.value))
	m.at.prefix = m.Kind + ": "
	d.application(s, m, *what, options)
	for _, p := range answers {
		d.answer(s, m, p)
	}
	return m
}

// nothing reports a mount without a kind. If one of its keys resembles a kind, the message suggests
// that kind.
func (d *decoder) nothing(at Position, options []pair) {
	all := append(slices.Sorted(maps.Keys(kinds)), KindGo)
	for _, p := range options {
		if near := nearest.Of(p.key, all); near != "" {
			d.problems.add(p.at, "unknown key %q in a mount; did you mean %q?", p.key, near)
			return
		}
	}
	known := map[string]bool{}
	for _, k := range kinds {
		for option := range fieldsOf(k.new()) {
			known[option] = true
		}
	}
	for _, p := range options {
		if !known[p.key] {
			d.problems.add(p.at, "%q is not a kind of mount; the kinds are %s", p.key, strings.Join(all, ", "))
			return
		}
	}
	d.problems.add(at, "this mount has no kind: it needs one of the keys %s", strings.Join(all, ", "))
}

// application decodes the options of a mount's application.
func (d *decoder) application(s *Site, m *Mount, what pair, options []pair) {
	k, known := kinds[m.Kind]
	text, isScalar := d.scalar(what.value)
	inner, isMapping := d.mapping(what.value)
	name := "a " + m.Kind + " mount"
	switch {
	case !known:
		app := parts.NewGoApp(text)
		if app == nil {
			d.problems.add(d.at(what.value), "go: no application is registered as %q%s", text, suggestOrList(text, parts.GoAppNames()))
			return
		}
		m.Options, m.Source, name = app, text, "the Go application "+text
	case holdsParts(m.Kind):
		m.Options, m.Source = k.new(), m.Kind
		d.parts(s, m, what)
	case m.Kind == KindRouter:
		m.Options, m.Source = k.new(), "router"
		d.routes(s, m, what)
	case isMapping:
		m.Options = k.new()
		options = append(inner, options...)
	case isScalar:
		m.Options, m.Source = k.new(), text
		main := pair{key: k.main(d.resolve(text)), at: what.at, value: what.value}
		options = slices.DeleteFunc(options, func(p pair) bool {
			twice := p.key == main.key
			if twice {
				d.problems.add(p.at, "%s: is given twice, as %q and as %q; leave one out", m.Kind, m.Kind, p.key)
			}
			return twice
		})
		options = append([]pair{main}, options...)
	default:
		m.Options = k.new()
		d.problems.add(d.at(what.value), "%s: must be text or a mapping, is %s", m.Kind, d.describe(d.plain(what.value)))
	}
	for key := range fieldsOf(m.Options) {
		if slices.Contains(ownKeys, key) {
			d.problems.add(what.at, "%s has an option called %q, which belongs to the mount", name, key)
		}
	}
	d.into(m.Options, options, name, "", m.at.options)
	if m.Source == "" {
		m.Source = m.Kind
	}
}

// parts decodes the applications of a cascade or a shadow. Each is a mount without a path of its own.
func (d *decoder) parts(s *Site, m *Mount, what pair) {
	list, ok := d.plain(what.value).(*ast.SequenceNode)
	if !ok || len(list.Values) == 0 {
		d.problems.add(d.at(what.value), "%s: must be a list like [{file: public}, {psgi: app.psgi}], is %s", m.Kind, d.describe(d.plain(what.value)))
		return
	}
	for _, item := range list.Values {
		pairs, ok := d.mapping(item)
		if !ok {
			d.problems.add(d.at(item), "%s: each part must be a mapping like {file: public}, is %s", m.Kind, d.describe(d.plain(item)))
			continue
		}
		for _, p := range pairs {
			if p.key == "path" || p.key == "host" || holdsParts(p.key) {
				d.problems.add(p.at, "a part of a %s cannot have a %s", m.Kind, p.key)
			}
		}
		if part := d.mount(s, d.at(item), pairs); part != nil {
			m.addPart(part, "")
		}
	}
}

func (d *decoder) middleware(p pair) []*Middleware {
	items := []ast.Node{p.value}
	if list, ok := d.plain(p.value).(*ast.SequenceNode); ok {
		items = list.Values
	}
	var all []*Middleware
	for _, item := range items {
		if m := d.oneMiddleware(item); m != nil {
			all = append(all, m)
		}
	}
	return all
}

// oneMiddleware decodes "name" or "name: {options}".
func (d *decoder) oneMiddleware(item ast.Node) *Middleware {
	name, isScalar := d.scalar(item)
	at := d.at(d.plain(item))
	var options []pair
	if !isScalar {
		pairs, ok := d.mapping(item)
		if !ok || len(pairs) != 1 {
			d.problems.add(at, "middleware: each one must be a name, or a name with its options as in {head: {}}, is %s", d.describe(d.plain(item)))
			return nil
		}
		name, at = pairs[0].key, pairs[0].at
		if _, empty := d.plain(pairs[0].value).(*ast.NullNode); !empty {
			if options, ok = d.mapping(pairs[0].value); !ok {
				d.problems.add(d.at(pairs[0].value), "%s: its options must be a mapping, are %s", name, d.describe(d.plain(pairs[0].value)))
				return nil
			}
		}
	}
	part := parts.NewMiddleware(name)
	if part == nil {
		d.problems.add(at, "there is no middleware called %q%s", name, suggestOrList(name, parts.MiddlewareNames()))
		return nil
	}
	m := &Middleware{Name: name, Part: part, at: places{part: at, options: map[string]Position{}, prefix: name + ": "}}
	own := fieldsOf(m)
	for key := range fieldsOf(part) {
		if _, taken := own[key]; taken {
			d.problems.add(at, "%s has an option called %q, which belongs to the site", name, key)
		}
	}
	what := "the middleware " + name
	for _, p := range options {
		var target any = part
		if _, is := own[p.key]; is {
			target = m
		}
		d.into(target, []pair{p}, what, "", m.at.options)
	}
	for _, f := range option.Fields(part) {
		at, given := m.at.options[f.Name]
		switch zero := f.Tag.Get("zero"); {
		case !given || zero == "" || !f.Value.CanInt() || !f.Value.IsZero():
		case f.ZeroIsOff():
			f.Value.SetInt(-1)
		default:
			d.problems.add(at, "%s: %s: %s", name, f.Name, zero)
		}
	}
	return m
}

// suggestOrList returns a hint with the nearest of names, or all of them.
func suggestOrList(name string, names []string) string {
	if s := nearest.Suggestion(name, "", names); s != "" || len(names) == 0 {
		return s
	}
	return "; there are " + strings.Join(names, ", ")
}

// setOption sets an option that is text.
func setOption(options any, name, value string) {
	field, ok := fieldsOf(options)[name]
	if !ok || field.Value.Kind() != reflect.String {
		panic(fmt.Sprintf("site: %T has no option %q of type string", options, name))
	}
	field.Value.SetString(value)
}
