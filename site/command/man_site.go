package command

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/docs"
	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/roff"
	"github.com/pagi-go/pagi-bridge/server"
	"github.com/pagi-go/pagi-bridge/site"
)

// siteExample is in the manual page on site files.
const siteExample = `listen: 127.0.0.1:5000
status_socket: run/status.sock
middleware: [request_id, security_headers]
mounts:
  - path: /
    psgi: app.psgi
    workers: 8
  - path: /cgi-bin
    cgi: cgi-bin
    request_timeout: 30s
  - path: /static
    file: public
`

// siteFilePage returns pagi-bridge.yaml(5), with all that is registered in this program.
func siteFilePage() string {
	g := site.NewGrammar()
	p := roff.New(sitePage, 5, version(), fileManual)
	p.Section("name")
	p.Text(sitePage + " - site file of pagi-bridge")
	p.Section("synopsis")
	p.Code(siteExample)
	p.Section("description")
	p.Text("A site file tells `pagi-bridge`(1) what to serve. It is YAML, and any name will do: `pagi-bridge -c` _FILE_." +
		"\n\nNames of files are meant from the directory of the site file. Durations are a number of seconds or have units, `1m30s`. Sizes are a" +
		" number of bytes or have units, `10MB` or `64KiB`. A list of one may be written without brackets. `${NAME}` and `${NAME:-default}` stand" +
		" for variables of the environment." +
		"\n\n`pagi-bridge -t -c` _FILE_ checks a site file. A key that does not exist is an error.")
	p.Section("keys of the site")
	keys(p, docs.Site, g.Site)
	for _, key := range []string{"include", "middleware", "mounts"} {
		row, _ := docs.Find(docs.Site, key)
		p.Item("`"+key+"` ("+row.Type+")", row.Sentence())
	}
	p.Section("places to listen at")
	p.Text("An item of `listen` is a text, as in `:443,tls`, or a mapping with the key `address` and these options.")
	for _, name := range server.PlaceOptions() {
		row, _ := docs.Find(docs.Place, name)
		p.Item("`"+name+"`", row.Sentence())
	}
	p.Section("keys of a mount")
	p.Text("A mount has one of the keys " + quoted(g.KindNames()) + ". Its options stand beside that key or below it, and these keys beside it.")
	keys(p, docs.Mount, g.Mount)
	row, _ := docs.Find(docs.Mount, "middleware")
	p.Item("`middleware` ("+row.Type+")", row.Sentence())
	p.Section("kinds of mounts")
	for _, name := range g.KindNames() {
		p.Subsection(name)
		p.Text(docs.Summary(name))
		keys(p, name, g.Kinds[name].Options)
		if name == site.KindRouter {
			for _, key := range g.Answers {
				row, _ := docs.Find(name, key)
				p.Item("`"+key+"`", row.Sentence())
			}
		}
	}
	p.Section("keys of a route")
	p.Text("A route of a `router` is a mount with these keys.")
	keys(p, docs.Route, g.Route)
	p.Section("middleware")
	p.Text("Each item of a list `middleware` is a name, or a name with its options. Each has the keys `when` and `unless` beside its own.")
	for _, name := range slices.Sorted(maps.Keys(g.Middlewares)) {
		p.Subsection(name)
		p.Text(docs.Summary(name))
		keys(p, name, g.Middlewares[name])
	}
	p.Section("see also")
	p.Text(seeAlso(sitePage))
	return p.String()
}

// quoted lists names.
func quoted(names []string) string { return "`" + strings.Join(names, "`, `") + "`" }

// keys adds an entry for each option, and for those within it.
func keys(p *roff.Page, part string, fields []option.Field) { keysBelow(p, part, "", fields) }

func keysBelow(p *roff.Page, part, prefix string, fields []option.Field) {
	for _, f := range fields {
		name := prefix + f.Name
		if f.Value.Kind() == reflect.Struct {
			inner := option.Fields(f.Value.Addr().Interface())
			if _, has := docs.Find(docs.Isolate, f.Name); part != docs.Site && name == docs.Isolate || has {
				p.Item("`"+name+"` (mapping)", "As `isolate` of the site.")
				continue
			}
			keysBelow(p, part, name+".", inner)
			continue
		}
		row, _ := docs.Find(part, name)
		if inIsolate, ok := strings.CutPrefix(name, docs.Isolate+"."); ok {
			row, _ = docs.Find(docs.Isolate, inIsolate)
		}
		kind := row.Type
		if kind == "" {
			kind = f.Form()
		}
		p.Item("`"+name+"` ("+kind+")", row.Sentence())
	}
}
