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
)

// Load reads a site file. The error is of type Problems and names file, line and
// column of each: unknown keys with the nearest right one, values of the wrong
// type, what is missing. Names of files in it are meant from its own directory.
// Whether they exist is for Build to see.
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
func Load(file string) (*Site, error) {
	source, err := os.ReadFile(file)
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return nil, Problems{{At: Position{File: file}, Err: err}}
	}
	return parse(file, source)
}

func parse(file string, source []byte) (*Site, error) {
	d := &decoder{file: file, anchors: map[string]ast.Node{}}
	tree, err := parser.ParseBytes(source, 0)
	if err != nil {
		return nil, Problems{syntaxProblem(file, err)}
	}
	s := &Site{File: file, source: source}
	s.settingsAt = places{part: Position{File: file, Line: 1, Col: 1}, options: map[string]Position{}}
	docs := slices.DeleteFunc(tree.Docs, func(doc *ast.DocumentNode) bool { return doc.Body == nil })
	switch {
	case len(docs) > 1:
		d.problems.add(d.at(docs[1].Body), "a site file is one document; here a second one begins")
	case len(docs) == 1:
		ast.Walk(d, docs[0].Body)
		if len(d.problems) > 0 {
			break
		}
		if pairs, ok := d.mapping(docs[0].Body); ok {
			d.site(s, pairs)
		} else {
			d.problems.add(d.at(docs[0].Body), "a site file is a mapping with the key \"mounts\", not %s", describe(d.plain(docs[0].Body)))
		}
	}
	if err := d.problems.err(); err != nil {
		return nil, err
	}
	if len(s.Mounts) == 0 {
		return nil, Problems{{At: s.settingsAt.part, Err: errors.New("mounts: is missing; a site needs at least one mount")}}
	}
	s.resolveSettings()
	return s, nil
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

// site decodes the top of the file.
func (d *decoder) site(s *Site, pairs []pair) {
	settings := fieldsOf(reflect.ValueOf(&s.Settings))
	known := append(slices.Collect(maps.Keys(settings)), "middleware", "mounts")
	for _, p := range pairs {
		switch {
		case p.key == "mounts":
			d.mounts(s, p)
		case p.key == "middleware":
			s.Middleware = d.middleware(p)
		case settings[p.key].IsValid():
			d.into(&s.Settings, []pair{p}, "the site", s.settingsAt.options)
			if err := s.Settings.Given(p.key); err != nil {
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
		d.problems.add(d.at(p.value), "mounts: must be a list, is %s", describe(d.plain(p.value)))
		return
	}
	for _, item := range list.Values {
		pairs, ok := d.mapping(item)
		if !ok {
			d.problems.add(d.at(item), "mounts: each one is a mapping like {path: /, psgi: app.psgi}, not %s", describe(d.plain(item)))
			continue
		}
		if m := d.mount(s, d.at(item), pairs); m != nil {
			s.Mounts = append(s.Mounts, m)
		}
	}
}

// ownKeys are the keys of a mount that do not belong to its application.
var ownKeys = []string{"path", "host", "middleware"}

// mount decodes one mount; nil when it is not clear what it is.
func (d *decoder) mount(s *Site, at Position, pairs []pair) *Mount {
	m := &Mount{Path: "/", at: places{part: at, options: map[string]Position{}}}
	var what *pair
	var options []pair
	for _, p := range pairs {
		_, builtIn := kinds[p.key]
		switch {
		case p.key == "path" || p.key == "host":
			d.into(m, []pair{p}, "a mount", m.at.options)
		case p.key == "middleware":
			m.Middleware = d.middleware(p)
		case (builtIn || p.key == KindGo) && what == nil:
			what = &p
		case builtIn || p.key == KindGo:
			d.problems.add(p.at, "a mount is one thing: this one is %q already", what.key)
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
	return m
}

// nothing reports a mount that does not say what it is. Where one of its keys
// looks like a kind, that is the better message.
func (d *decoder) nothing(at Position, options []pair) {
	all := append(slices.Sorted(maps.Keys(kinds)), KindGo)
	for _, p := range options {
		if near := nearest.Of(p.key, all); near != "" {
			d.problems.add(p.at, "unknown key %q in a mount; did you mean %q?", p.key, near)
			return
		}
	}
	d.problems.add(at, "this mount does not say what it is: it needs one of the keys %s", strings.Join(all, ", "))
}

// application decodes the options of a mount's application.
func (d *decoder) application(s *Site, m *Mount, what pair, options []pair) {
	k, known := kinds[m.Kind]
	text, isScalar := d.scalar(what.value)
	inner, isMapping := d.mapping(what.value)
	name := "a " + m.Kind + " mount"
	switch {
	case !known:
		app, names := newApp(text)
		if app == nil {
			d.problems.add(d.at(what.value), "go: no application is registered as %q%s", text, suggestOrList(text, names))
			return
		}
		m.Options, m.Source, name = app, text, "the Go application "+text
	case isMapping:
		m.Options = k.new()
		options = append(inner, options...)
	case isScalar:
		m.Options, m.Source = k.new(), text
		main := pair{key: k.main(s.resolve(text)), at: what.at, value: what.value}
		options = append([]pair{main}, options...)
	default:
		m.Options = k.new()
		d.problems.add(d.at(what.value), "%s: must be text or a mapping, is %s", m.Kind, describe(d.plain(what.value)))
	}
	for key := range fieldsOf(reflect.ValueOf(m.Options)) {
		if slices.Contains(ownKeys, key) {
			d.problems.add(what.at, "%s has an option called %q, which belongs to the mount", name, key)
		}
	}
	d.into(m.Options, options, name, m.at.options)
	for _, option := range k.paths {
		s.resolveField(fieldsOf(reflect.ValueOf(m.Options))[option])
	}
	if m.Source == "" {
		m.Source = m.Kind
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
			d.problems.add(at, "middleware: each one is a name, or a name with its options as in {head: {}}, not %s", describe(d.plain(item)))
			return nil
		}
		name, at = pairs[0].key, pairs[0].at
		if _, empty := d.plain(pairs[0].value).(*ast.NullNode); !empty {
			if options, ok = d.mapping(pairs[0].value); !ok {
				d.problems.add(d.at(pairs[0].value), "%s: its options must be a mapping, are %s", name, describe(d.plain(pairs[0].value)))
				return nil
			}
		}
	}
	part, names := newMiddleware(name)
	if part == nil {
		d.problems.add(at, "there is no middleware called %q%s", name, suggestOrList(name, names))
		return nil
	}
	m := &Middleware{Name: name, Part: part, at: places{part: at, options: map[string]Position{}, prefix: name + ": "}}
	d.into(part, options, "the middleware "+name, m.at.options)
	return m
}

// suggestOrList names the nearest of names, or all of them.
func suggestOrList(name string, names []string) string {
	if s := nearest.Suggestion(name, "", names); s != "" || len(names) == 0 {
		return s
	}
	return "; there are " + strings.Join(names, ", ")
}

// resolve makes a file's name relative to the site file one relative to the
// current directory.
func (s *Site) resolve(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.base(), name)
}

// resolveField resolves an option that is a name or a list of names.
func (s *Site) resolveField(field reflect.Value) {
	switch field.Kind() {
	case reflect.String:
		field.SetString(s.resolve(field.String()))
	case reflect.Slice:
		for i := range field.Len() {
			s.resolveField(field.Index(i))
		}
	}
}

func (s *Site) resolveSettings() {
	set := &s.Settings
	set.TLS.resolve(s.resolve)
	for i, dir := range set.Include {
		set.Include[i] = s.resolve(dir)
	}
	if set.AccessLog != "-" && set.AccessLog != "off" {
		set.AccessLog = s.resolve(set.AccessLog)
	}
	set.LogFile, set.PidFile, set.StatusSocket = s.resolve(set.LogFile), s.resolve(set.PidFile), s.resolve(set.StatusSocket)
	if strings.Contains(set.Perl, "/") {
		set.Perl = s.resolve(set.Perl)
	}
	for i, spec := range set.Listen {
		address, options, more := strings.Cut(spec, ",")
		path, unix := strings.CutPrefix(address, "unix:")
		if !unix && !strings.Contains(address, "/") {
			continue
		}
		if unix && strings.HasPrefix(path, "@") { // abstract: no file
			continue
		}
		set.Listen[i] = "unix:" + s.resolve(path)
		if more {
			set.Listen[i] += "," + options
		}
	}
}

// setOption sets an option that is text.
func setOption(options any, name, value string) {
	field, ok := fieldsOf(reflect.ValueOf(options))[name]
	if !ok || field.Kind() != reflect.String {
		panic(fmt.Sprintf("site: %T has no option %q of type string", options, name))
	}
	field.SetString(value)
}
