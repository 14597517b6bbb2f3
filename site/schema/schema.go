// Package schema describes site files as a JSON Schema (draft 2020-12), for editors. It is made of the options that
// site.Load reads, and of the texts that docs/site.md and docs/middleware.md have on them. What Load refuses because of
// its structure (an unknown key, a value of a wrong type, a mount of two kinds) the schema refuses also. It knows
// nothing of files, of other keys' values and of other site files.
package schema

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/pagi-go/pagi-bridge/docs"
	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/site"
)

// object is a schema, or a mapping of names to schemas.
type object = map[string]any

// JSON returns the schema of site files with all that is registered in this program. The same program returns the same
// bytes.
func JSON() ([]byte, error) {
	text, err := json.MarshalIndent(Of(site.NewGrammar()), "", " ")
	return append(text, '\n'), err
}

// writer makes the schema of a grammar.
type writer struct {
	*site.Grammar
	defs object
}

// Of returns the schema of a grammar, which encoding/json can write.
func Of(g *site.Grammar) map[string]any {
	w := &writer{Grammar: g, defs: object{}}
	top := w.options(docs.Site, g.Site)
	top["middleware"] = described(docs.Site, "middleware", ref("middleware"))
	top["mounts"] = described(docs.Site, "mounts", object{"type": "array", "items": ref("mount")})
	// Names of directories were once given by this key; they are accepted still.
	top["include"] = described(docs.Site, "include", oneOrMore(text()))
	w.middlewares()
	w.mounts()
	w.defs["variable"] = object{"type": "string", "pattern": variable, "description": "A variable of the environment, ${NAME} or ${NAME:-default}."}
	return object{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   "Site file of pagi-bridge", "type": "object",
		"properties": top, "additionalProperties": false, "$defs": w.defs,
	}
}

// middlewares adds the definition of a list of middleware, and one for the options of each.
func (w *writer) middlewares() {
	names := slices.Sorted(maps.Keys(w.Middlewares))
	each := object{}
	for _, name := range names {
		own := w.options(name, w.Middlewares[name])
		maps.Copy(own, w.options(docs.Conditions, w.Middleware))
		def := object{"type": []string{"object", "null"}, "properties": own, "additionalProperties": false}
		if required := requiredOf(name, w.Middlewares[name]); required != nil {
			def["required"] = required
		}
		w.defs["middleware."+name] = def
		each[name] = described(name, "", ref("middleware."+name))
	}
	w.defs["oneMiddleware"] = object{"anyOf": []any{
		object{"type": "string", "enum": names}, ref("variable"),
		object{"type": "object", "properties": each, "additionalProperties": false, "minProperties": 1, "maxProperties": 1},
	}}
	w.defs["middleware"] = oneOrMore(ref("oneMiddleware"))
}

// requiredOf returns the keys that the documentation calls required.
func requiredOf(part string, fields []option.Field) (names []string) {
	for _, f := range fields {
		if row, ok := docs.Find(part, f.Name); ok && row.Default == "required" && len(f.OldNames()) == 0 {
			names = append(names, f.Name)
		}
	}
	return names
}

// where says in which place a mount stands. Each has keys of its own.
type where struct {
	name     string // of the definitions
	path     bool   // it has path and host
	route    bool   // it has the keys of a route
	noParts  bool   // it cannot be a cascade or a shadow
	noRouter bool
}

var places = []where{
	{name: "mount", path: true},
	{name: "part", noParts: true}, // of a cascade or a shadow
	{name: "route", route: true, noRouter: true},
	{name: "answer"}, // in place of a router's routes
}

// mounts adds the definitions of mounts in each place.
func (w *writer) mounts() {
	for name, kind := range w.Kinds {
		w.defs["kind."+name] = object{"type": "object", "properties": w.options(name, kind.Options), "additionalProperties": false}
	}
	for _, place := range places {
		common := w.options(docs.Mount, w.Mount)
		common["middleware"] = described(docs.Mount, "middleware", ref("middleware"))
		if !place.path {
			delete(common, "path")
			delete(common, "host")
		}
		if place.route {
			maps.Copy(common, w.options(docs.Route, w.Route))
		}
		w.defs[place.name+".keys"] = object{"properties": common}
		shown := object{}
		for key := range common {
			shown[key] = ref(place.name + ".keys/properties/" + key)
		}
		keys := maps.Clone(shown)
		var choices, kinds []any
		for _, name := range w.KindNames() {
			if holds := name == site.KindCascade || name == site.KindShadow; place.noParts && holds || place.noRouter && name == site.KindRouter {
				continue
			}
			if !w.fits(place, name) {
				continue
			}
			shown[name] = described(name, "", object{})
			w.defs[place.name+"."+name] = w.mount(keys, name)
			choices = append(choices, object{"required": []string{name}})
			is := object{"required": []string{name}}
			if name == site.KindNotFound { // beside "router" it is a key of that
				is["not"] = object{"required": []string{site.KindRouter}}
			}
			kinds = append(kinds, object{"if": is, "then": ref(place.name + "." + name)})
		}
		w.defs[place.name] = object{"type": "object", "properties": shown, "anyOf": choices, "allOf": kinds}
	}
}

// fits reports whether a kind of mount can stand in a place: a route's keys must not be options of its application.
func (w *writer) fits(place where, kind string) bool {
	return !place.route || !slices.ContainsFunc(w.Kinds[kind].Options, func(f option.Field) bool {
		return slices.ContainsFunc(w.Route, func(own option.Field) bool { return own.Name == f.Name })
	})
}

// mount returns the schema of a mount of one kind. keys are those that it has in its place.
func (w *writer) mount(keys object, name string) object {
	all := maps.Clone(keys)
	schema := object{"properties": all, "additionalProperties": false}
	if name == site.KindGo {
		return w.goMount(schema)
	}
	kind := w.Kinds[name]
	for key := range w.defs["kind."+name].(object)["properties"].(object) {
		all[key] = ref("kind." + name + "/properties/" + key)
	}
	switch {
	case name == site.KindRouter:
		all[name] = described(name, "", object{"type": "array", "items": ref("route"), "minItems": 1})
		for _, key := range w.Answers {
			all[key] = ref("answer")
		}
	case kind.List:
		all[name] = described(name, "", object{"type": "array", "items": ref("part"), "minItems": 1})
	default:
		value := []any{ref("kind." + name)}
		if kind.Main != "" {
			value = append(value, text())
			schema["if"] = object{"required": []string{name}, "properties": object{name: text()}}
			schema["then"] = object{"properties": object{kind.Main: object{"not": object{}}}} // it would be given twice
		}
		all[name] = described(name, "", object{"anyOf": value})
	}
	return schema
}

// goMount adds the applications that are registered to the schema of a mount.
func (w *writer) goMount(schema object) object {
	keys := schema["properties"].(object)
	names := slices.Sorted(maps.Keys(w.GoApps))
	if len(names) == 0 {
		keys[site.KindGo] = object{"not": object{}, "description": "This program has no application of its own in Go. Use the schema that your program prints."}
		return schema
	}
	var apps []any
	for _, name := range names {
		own := maps.Clone(keys)
		maps.Copy(own, w.options("go "+name, w.GoApps[name]))
		own[site.KindGo] = object{"const": name}
		apps = append(apps, object{"properties": own, "additionalProperties": false})
	}
	return object{"properties": object{site.KindGo: described(site.KindGo, "", object{"enum": names})}, "anyOf": apps}
}

func ref(name string) object { return object{"$ref": "#/$defs/" + name} }

// oneOrMore is a value or a list of such values.
func oneOrMore(item object) object {
	return object{"anyOf": []any{item, object{"type": "array", "items": item}}}
}

// described adds what the documentation says on a key of a part, or on the part itself if key is "".
func described(part, key string, schema object) object {
	text := docs.Summary(part)
	if key != "" {
		row, _ := docs.Find(part, key)
		text = row.Sentence()
	}
	if text != "" {
		schema["description"] = text
	}
	return schema
}
