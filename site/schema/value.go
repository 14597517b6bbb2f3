package schema

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/docs"
	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/server"
)

// Patterns of texts, in the common part of the regular expressions of Go and of ECMAScript. A number in quotes is a number
// for Load.
const (
	variable = `\$\{`
	whole    = `^[+-]?\d+(_\d+)*$|` + variable
	unsigned = `^[+]?\d+(_\d+)*$|` + variable
	number   = `^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$|` + variable
	duration = `^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$|^[+-]?((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+$|` + variable
	size     = `^[+-]?(\d+(_\d+)*(\.\d*)?|\.\d+)[ \t]*([kKmMgGtT]?[iI]?[bB])?[ \t]*$|` + variable
)

// options returns the schemas of options by their names, and by their former names.
func (w *writer) options(part string, fields []option.Field) object {
	all := object{}
	for _, f := range fields {
		all[f.Name] = w.option(part, f)
	}
	for _, f := range fields {
		for _, old := range f.OldNames() {
			if _, taken := all[old]; !taken {
				former := maps.Clone(all[f.Name].(object))
				former["deprecated"] = true
				former["description"] = "The former name of `" + f.Name + "`."
				all[old] = former
			}
		}
	}
	return all
}

// option returns the schema of an option. part is that of docs, for an option within another one with its path as in
// "psgi.warmup".
func (w *writer) option(part string, f option.Field) object {
	row := find(part, f.Name)
	if row.Meaning == "" {
		row.Meaning = help.Replace(f.Tag.Get("help"))
	}
	schema := w.value(part, f, row)
	text := row.Sentence()
	if text == "" && f.Value.Kind() == reflect.Struct {
		text = "A mapping with the keys " + strings.Join(names(option.Fields(f.Value.Addr().Interface())), ", ") + "."
	}
	if text != "" {
		schema["description"] = text
	}
	if value := defaultOf(f); value != nil {
		schema["default"] = value
	}
	return schema
}

func names(fields []option.Field) (all []string) {
	for _, f := range fields {
		all = append(all, f.Name)
	}
	return all
}

// help removes the marks of a placeholder from a line of --help.
var help = strings.NewReplacer("{", "", "}", "")

// nested are the options that are mappings, or lists of them, and have tables of their own.
var nested = map[string]string{
	"services": docs.Services, "cron": docs.Cron, "isolate": docs.Isolate, "when": docs.Conditions, "unless": docs.Conditions,
}

// find returns what the documentation says on an option. The tables name an option within a mapping "outer.inner". Options
// of the items of a list may have the row of the same option outside of the list.
func find(part, name string) docs.Row {
	part, outer, _ := strings.Cut(part, ".")
	path := strings.Split(strings.Trim(outer+"."+name, "."), ".")
	if in, is := nested[path[0]]; is && len(path) == 2 {
		if row, ok := docs.Find(in, path[1]); ok {
			return row
		}
		row, _ := docs.Find(docs.Services, path[1]) // a job has those also, but its command may be Perl
		if row.Default == "required" {
			row.Default = ""
		}
		return row
	}
	if row, ok := docs.Find(part, strings.Join(path, ".")); ok || len(path) < 2 {
		return row
	}
	row, ok := docs.Find(part, strings.Join(append(slices.Clone(path[:len(path)-2]), name), "."))
	if !ok {
		row, _ = docs.Find(part, name)
	}
	return row
}

// defaultOf returns the declared default of an option as JSON has it, nil if there is none.
func defaultOf(f option.Field) any {
	text := f.Tag.Get("default")
	isNumber := !f.IsSize() && f.Form() != option.DurationForm
	switch kind := f.Value.Kind(); {
	case text == "":
		return nil
	case kind == reflect.Bool:
		return text == "true"
	case f.Value.CanInt() && isNumber, f.Value.CanFloat():
		if n, err := strconv.ParseFloat(text, 64); err == nil {
			return n
		}
	}
	return text
}

// value returns the schema of the values of an option. It follows decoder.value of package site.
func (w *writer) value(part string, f option.Field, row docs.Row) object {
	t := f.Value.Type()
	inner := func(t reflect.Type) option.Field {
		return option.Field{Name: f.Name, Value: reflect.New(t).Elem(), Tag: f.Tag}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return w.value(part, inner(t.Elem()), row)
	case reflect.Slice:
		if f.Tag.Get("form") == "place" {
			return oneOrMore(object{"anyOf": []any{text(), w.place()}})
		}
		item := w.value(part, inner(t.Elem()), row)
		list := object{"type": "array", "items": item}
		if single := w.single(part, inner(t.Elem()), row); single != nil {
			return object{"anyOf": []any{single, list}}
		}
		return list
	case reflect.Struct:
		mapping := w.structure(part+"."+f.Name, t)
		if single := w.single(part, f, row); single != nil {
			return object{"anyOf": []any{single, mapping}}
		}
		return mapping
	case reflect.Map, reflect.Array:
		return w.free(t)
	}
	return w.scalar(part, f, row)
}

// single returns the schema of the scalars that a value may be; nil if it cannot be one.
func (w *writer) single(part string, f option.Field, row docs.Row) object {
	t := f.Value.Type()
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Array:
		return nil
	case reflect.Struct:
		short := f.Tag.Get("short")
		for _, inner := range option.Fields(reflect.New(t).Interface()) {
			if short != "" && inner.Name == short {
				return w.scalar(part, inner, docs.Row{})
			}
		}
		return nil
	}
	return w.scalar(part, f, row)
}

// structure returns the schema of a struct. One that has been met before is referred to, because a struct may
// contain lists of its own type.
func (w *writer) structure(part string, t reflect.Type) object {
	name := "options." + strings.TrimPrefix(part, ".")
	top, _, _ := strings.Cut(strings.TrimPrefix(part, "."), ".")
	if seen := "options." + top + "." + t.Name(); t.Name() != "" && w.defs[seen] != nil {
		return ref(seen)
	} else if t.Name() != "" && refersToItself(t) {
		name = seen
	}
	if w.defs[name] == nil {
		def := object{"type": "object", "additionalProperties": false}
		w.defs[name] = def
		fields := option.Fields(reflect.New(t).Interface())
		def["properties"] = w.options(part, fields)
		var required []string
		for _, f := range fields {
			if find(part, f.Name).Default == "required" {
				required = append(required, f.Name)
			}
		}
		if required != nil {
			def["required"] = required
		}
	}
	return ref(name)
}

// refersToItself reports whether a struct has an option that is a list of such structs.
func refersToItself(t reflect.Type) bool {
	return slices.ContainsFunc(option.Fields(reflect.New(t).Interface()), func(f option.Field) bool {
		return f.Value.Kind() == reflect.Slice && f.Value.Type().Elem() == t
	})
}

// place returns the schema of a place to listen at that is written as a mapping.
func (w *writer) place() object {
	if w.defs["place"] == nil {
		all := object{"address": object{"type": []string{"string", "number"}, "description": "Where to listen: host:port, or the path of a Unix socket."}}
		for _, name := range server.PlaceOptions() {
			row, _ := docs.Find(docs.Place, name)
			value := object{"type": []string{"boolean", "string", "number"}}
			if server.IsPlaceSwitch(name) {
				value = object{"type": []string{"boolean", "string"}, "pattern": "^(true|false)$|" + variable}
			}
			if text := row.Sentence(); text != "" {
				value["description"] = text
			}
			all[name] = value
		}
		w.defs["place"] = object{"type": "object", "properties": all, "required": []string{"address"}, "additionalProperties": false}
	}
	return ref("place")
}

// free returns the schema of a value that the YAML library decodes: of a mapping, or what stands in one.
func (w *writer) free(t reflect.Type) object {
	switch t.Kind() {
	case reflect.Map:
		return object{"type": "object", "additionalProperties": w.free(t.Elem())}
	case reflect.Slice:
		return object{"type": "array", "items": w.free(t.Elem())}
	case reflect.Array:
		return object{"type": "array", "items": w.free(t.Elem()), "maxItems": t.Len()}
	case reflect.String:
		return object{"type": []string{"string", "number", "boolean", "null"}}
	}
	return object{} // an interface takes anything
}

// text is the schema of a text, which may be written without quotes.
func text() object { return object{"type": []string{"string", "number", "boolean"}} }

// scalar returns the schema of a number, a size, a duration, a text, or true or false.
func (w *writer) scalar(part string, f option.Field, row docs.Row) object {
	schema := object{}
	switch form := f.Form(); {
	case form == option.AutoForm:
		schema["type"], schema["pattern"] = []string{"integer", "string"}, `^auto$|`+unsigned
		schema["minimum"] = 0
		return schema
	case form == option.DurationForm:
		schema["type"], schema["pattern"] = []string{"string", "number"}, duration
	case form == option.SizeForm:
		schema["type"], schema["pattern"] = []string{"string", "integer"}, size
	case form == option.NumberForm:
		schema["type"], schema["pattern"] = []string{"integer", "string"}, whole
	case f.Value.CanFloat():
		schema["type"], schema["pattern"] = []string{"number", "string"}, number
	case f.Value.Kind() == reflect.Bool:
		schema["type"], schema["pattern"] = []string{"boolean", "string"}, variable
	default:
		if values := row.Values(); values != nil {
			return object{"anyOf": []any{object{"enum": written(values)}, ref("variable")}}
		}
		return text()
	}
	if f.Value.CanInt() && part == docs.Site { // Load refuses a negative one
		schema["minimum"] = 0
		schema["pattern"] = strings.ReplaceAll(schema["pattern"].(string), "[+-]?(", "[+]?(")
		schema["pattern"] = strings.ReplaceAll(schema["pattern"].(string), `[+-]?\d+(_`, `[+]?\d+(_`)
	}
	if zero := f.Tag.Get("zero"); zero != "" && !f.ZeroIsOff() {
		schema["not"] = object{"const": 0}
	}
	return schema
}

// written returns the values as YAML reads them with and without quotes.
func written(values []string) []any {
	var all []any
	for _, v := range values {
		all = append(all, v)
		if n, err := strconv.ParseFloat(v, 64); err == nil {
			all = append(all, n)
		} else if v == "true" || v == "false" {
			all = append(all, v == "true")
		}
	}
	return all
}
