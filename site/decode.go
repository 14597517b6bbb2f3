package site

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/pagi-go/pagi-bridge/internal/nearest"
	"github.com/pagi-go/pagi-bridge/internal/option"
)

// decoder fills option structs from the nodes of one file and collects the problems.
type decoder struct {
	*loader
	file    string
	anchors map[string]ast.Node
	// written has the texts that expandAll has replaced, as the file has them, and the aliases
	// that it has followed.
	written map[ast.Node]string
}

// pair is one key of a mapping with its value.
type pair struct {
	key   string
	at    Position // of the key
	value ast.Node
}

// at returns where a node begins. The token of a block mapping is its first colon.
func (d *decoder) at(n ast.Node) Position {
	switch v := n.(type) {
	case *ast.MappingNode:
		if !v.IsFlowStyle && len(v.Values) > 0 {
			return d.at(v.Values[0])
		}
	case *ast.MappingValueNode:
		return positionOf(d.file, v.Key.GetToken())
	}
	return positionOf(d.file, n.GetToken())
}

// Visit notes anchors, and aliases and merge keys that cannot be followed; ast.Walk
// calls it for every node before anything is decoded.
func (d *decoder) Visit(n ast.Node) ast.Visitor {
	switch v := n.(type) {
	case *ast.AnchorNode:
		d.anchors[v.Name.GetToken().Value] = v.Value
	case *ast.AliasNode:
		if name := v.Value.GetToken().Value; d.anchors[name] == nil {
			d.problems.add(d.at(n), "no anchor &%s stands before this alias", name)
		}
	case *ast.MergeKeyNode:
		d.problems.add(d.at(n), "merge keys (<<) are not supported; write the options out")
	}
	return d
}

// plain resolves anchors, aliases and tags.
func (d *decoder) plain(n ast.Node) ast.Node {
	for range 100 { // ends even if an alias leads back to itself
		switch v := n.(type) {
		case *ast.AnchorNode:
			n = v.Value
		case *ast.TagNode:
			n = v.Value
		case *ast.AliasNode:
			n = d.anchors[v.Value.GetToken().Value]
		default:
			return n
		}
	}
	d.problems.add(d.at(n), "this alias refers to itself")
	return ast.Null(n.GetToken())
}

// mapping returns the pairs of a mapping; ok is false if n is not a mapping.
func (d *decoder) mapping(n ast.Node) (pairs []pair, ok bool) {
	var values []*ast.MappingValueNode
	switch v := d.plain(n).(type) {
	case *ast.MappingNode:
		values = v.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{v}
	default:
		return nil, false
	}
	for _, v := range values {
		pairs = append(pairs, pair{key: v.Key.GetToken().Value, at: d.at(v.Key), value: v.Value})
	}
	return pairs, true
}

// scalar returns the text of a scalar with environment variables expanded; ok is false for null and
// collections.
func (d *decoder) scalar(n ast.Node) (text string, ok bool) {
	if text, ok = d.literal(n); ok {
		text = d.expand(n, text)
	}
	return text, ok
}

// literal returns the text of a scalar as it is written; ok is false for null and
// collections.
func (d *decoder) literal(n ast.Node) (text string, ok bool) {
	switch v := d.plain(n).(type) {
	case *ast.StringNode:
		return d.asWritten(v), true
	case *ast.LiteralNode:
		return d.asWritten(v.Value), true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return v.GetToken().Value, true
	}
	return "", false
}

// hints are added to the warnings of former names that have another meaning now.
var hints = map[string]string{"the site.include": "; to include site files, give names that end in .yaml"}

// into decodes pairs into the struct that target points to. what stands for the
// struct in messages. The places of the values are noted in where, under their names
// with prefix in front; an option that is there already was given twice.
func (d *decoder) into(target any, pairs []pair, what, prefix string, where map[string]Position) {
	fields := fieldsOf(target)
	for _, p := range pairs {
		field, ok := fields[p.key]
		if !ok {
			d.unknown(p, what, slices.Collect(maps.Keys(fields)))
			continue
		}
		if field.Name != p.key {
			d.warnings.add(p.at, "%q is now called %q%s", p.key, field.Name, hints[what+"."+p.key])
		}
		name := prefix + field.Name
		if before, twice := where[name]; twice && field.Value.Kind() != reflect.Struct {
			d.problems.add(p.at, "%s: is given already%s", name, first(before))
			continue
		}
		where[name] = d.at(d.plain(p.value))
		d.value(field, p, name+".", where)
	}
}

func (d *decoder) unknown(p pair, what string, known []string) {
	d.problems.add(p.at, "unknown key %q in %s%s", p.key, what, nearest.Suggestion(p.key, "", known))
}

// value decodes one value into a field. If the value is a mapping, the positions of its entries are
// recorded in where, with prefix in front.
func (d *decoder) value(field option.Field, p pair, prefix string, where map[string]Position) {
	n := d.plain(p.value)
	if _, null := n.(*ast.NullNode); null {
		d.problems.add(p.at, "%s: has no value", p.key)
		return
	}
	switch kind := field.Value.Kind(); {
	case kind == reflect.Pointer: // an option whose zero value means something
		field.Value.Set(reflect.New(field.Value.Type().Elem()))
		field.Value = field.Value.Elem()
		d.value(field, p, prefix, where)
	case kind == reflect.Slice:
		d.list(field, p, n)
	case kind == reflect.Struct:
		short := field.Tag.Get("short")
		if pairs, ok := d.mapping(n); ok {
			d.into(field.Value.Addr().Interface(), pairs, `"`+p.key+`"`, prefix, where)
		} else if _, ok := d.literal(n); ok && short != "" {
			inner := fieldsOf(field.Value.Addr().Interface())[short]
			where[prefix+short] = d.at(n)
			d.single(inner, p, n)
		} else {
			d.wrong(p, n, "a mapping")
		}
	case kind == reflect.Map || kind == reflect.Array:
		d.other(field.Value, p, n)
		d.note(n, prefix, where)
		d.resolveMap(field)
	default:
		d.single(field, p, n)
	}
}

// maxNotes is how many positions note records at most. Aliases of aliases can stand for far more entries.
const maxNotes = 10_000

// note records the positions of the entries of a mapping, at any depth, with prefix in front. It does not go into an alias
// of a mapping that it stands in.
func (d *decoder) note(n ast.Node, prefix string, where map[string]Position, within ...ast.Node) {
	n = d.plain(n)
	if slices.Contains(within, n) {
		return
	}
	within = append(slices.Clone(within), n)
	entry := func(name string, value ast.Node) {
		if len(where) < maxNotes {
			where[name] = d.at(d.plain(value))
			d.note(value, name+".", where, within...)
		}
	}
	if list, is := n.(*ast.SequenceNode); is {
		for i, item := range list.Values {
			entry(fmt.Sprintf("%s[%d]", strings.TrimSuffix(prefix, "."), i), item)
		}
		return
	}
	pairs, _ := d.mapping(n)
	for _, p := range pairs {
		entry(prefix+p.key, p.value)
	}
}

func (d *decoder) wrong(p pair, n ast.Node, want string) {
	d.problems.add(d.at(n), "%s: must be %s, is %s", p.key, want, d.describe(n))
}

// single decodes a number, a size, a duration, a text, or true or false.
func (d *decoder) single(field option.Field, p pair, n ast.Node) {
	text, ok := d.literal(n)
	if ok && field.Tag.Get("expand") != "no" {
		before := len(d.problems)
		if text = d.expand(n, text); len(d.problems) > before {
			return
		}
	}
	if _, isBool := n.(*ast.BoolNode); field.Value.Kind() == reflect.Bool && !isBool {
		ok = ok && d.hasVariable(n) // "true" in quotes is a text
	}
	if !ok || field.Set(text) != nil {
		d.wrong(p, n, field.Form())
		return
	}
	d.resolveField(field)
}

// list decodes a sequence. A single scalar, or a place that is a mapping, stands for a list of one.
func (d *decoder) list(field option.Field, p pair, n ast.Node) {
	var items []ast.Node
	if seq, ok := n.(*ast.SequenceNode); ok {
		items = seq.Values
	} else if _, isMapping := d.mapping(n); isMapping && field.Tag.Get("form") == "place" {
		items = []ast.Node{n}
	} else if _, ok := d.literal(n); ok {
		items = []ast.Node{n}
	} else {
		d.wrong(p, n, "a list")
		return
	}
	list := reflect.MakeSlice(field.Value.Type(), len(items), len(items))
	for i, item := range items {
		inner := pair{key: fmt.Sprintf("%s[%d]", p.key, i), at: d.at(item), value: item}
		if _, isMapping := d.mapping(item); isMapping && field.Tag.Get("form") == "place" {
			list.Index(i).SetString(d.place(item))
			continue
		}
		d.value(option.Field{Name: inner.key, Value: list.Index(i), Tag: field.Tag}, inner, "", map[string]Position{})
	}
	field.Value.Set(list)
}

// other lets the YAML library decode values that are neither scalar, list nor struct.
func (d *decoder) other(field reflect.Value, p pair, n ast.Node) {
	d.expandAll(n)
	err := yaml.NodeToValue(n, field.Addr().Interface(), yaml.Strict())
	if err == nil {
		return
	}
	at, message := d.at(n), err.Error()
	var detailed interface {
		GetToken() *token.Token
		GetMessage() string
	}
	if errors.As(err, &detailed) {
		at, message = positionOf(d.file, detailed.GetToken()), detailed.GetMessage()
	}
	d.problems.add(at, "%s: %s", p.key, message)
}

func (d *decoder) describe(n ast.Node) string {
	switch v := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "empty"
	case *ast.LiteralNode:
		return "a block of text"
	default:
		text := strconv.Quote(v.GetToken().Value)
		if d.hasVariable(n) {
			return "the value of " + text // which may be a secret
		}
		return text
	}
}

// ParseDuration reads a duration in the form of site files and flags: "1m30s", or a number of
// seconds.
func ParseDuration(text string) (time.Duration, error) { return option.ParseDuration(text) }

// fieldsOf returns the options of the struct that target points to, by their names in a
// site file and by their former names.
func fieldsOf(target any) map[string]option.Field {
	fields := map[string]option.Field{}
	for _, f := range option.Fields(target) {
		fields[f.Name] = f
		for _, old := range f.OldNames() {
			fields[old] = f
		}
	}
	return fields
}
