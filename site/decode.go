package site

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/pagi-go/pagi-bridge/internal/nearest"
)

// decoder fills option structs from the nodes of one file and collects what is
// wrong with them.
type decoder struct {
	file     string
	anchors  map[string]ast.Node
	problems Problems
}

// pair is one line of a mapping.
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
			d.problems.add(d.at(n), "there is no anchor &%s before this", name)
		}
	case *ast.MergeKeyNode:
		d.problems.add(d.at(n), "merge keys (<<) are not supported; write the options out")
	}
	return d
}

// plain resolves anchors, aliases and tags.
func (d *decoder) plain(n ast.Node) ast.Node {
	for range 100 { // an alias cannot lead back to itself for ever
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

// mapping returns the pairs of a mapping; ok is false when n is none.
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

// scalar returns the text of a scalar; ok is false for null and collections.
func (d *decoder) scalar(n ast.Node) (text string, ok bool) {
	switch v := d.plain(n).(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return v.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return v.GetToken().Value, true
	}
	return "", false
}

// into decodes pairs into the struct that target points to. what stands for the
// struct in messages. The places of the values are noted in where.
func (d *decoder) into(target any, pairs []pair, what string, where map[string]Position) {
	fields := fieldsOf(reflect.ValueOf(target))
	for _, p := range pairs {
		field, ok := fields[p.key]
		if !ok {
			d.unknown(p, what, slices.Collect(maps.Keys(fields)))
			continue
		}
		where[p.key] = d.at(d.plain(p.value))
		d.value(field, p, where)
	}
}

func (d *decoder) unknown(p pair, what string, known []string) {
	d.problems.add(p.at, "unknown key %q in %s%s", p.key, what, nearest.Suggestion(p.key, "", known))
}

var durationType = reflect.TypeFor[time.Duration]()

// value decodes one value into a field. The places of what is in a mapping are
// noted in where, as "outer.inner".
func (d *decoder) value(field reflect.Value, p pair, where map[string]Position) {
	n := d.plain(p.value)
	if _, null := n.(*ast.NullNode); null {
		d.problems.add(p.at, "%s: has no value", p.key)
		return
	}
	wrong := func(want string) {
		d.problems.add(d.at(n), "%s: must be %s, is %s", p.key, want, describe(n))
	}
	text, isScalar := d.scalar(n)
	switch {
	case field.Type() == durationType:
		if v, err := ParseDuration(text); isScalar && err == nil {
			field.SetInt(int64(v))
			return
		}
		wrong("a duration, as 30s or a number of seconds")
	case field.Kind() == reflect.Pointer: // an option whose zero value means something
		field.Set(reflect.New(field.Type().Elem()))
		d.value(field.Elem(), p, where)
	case field.Kind() == reflect.String:
		if isScalar {
			field.SetString(text)
			return
		}
		wrong("text")
	case field.Kind() == reflect.Bool:
		if v, ok := n.(*ast.BoolNode); ok {
			field.SetBool(v.Value)
			return
		}
		wrong("true or false")
	case field.CanInt():
		if v, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, field.Type().Bits()); isScalar && err == nil {
			field.SetInt(v)
			return
		}
		wrong("a whole number")
	case field.Kind() == reflect.Slice:
		d.list(field, p, n)
	case field.Kind() == reflect.Struct:
		pairs, ok := d.mapping(n)
		if !ok {
			wrong("a mapping")
			return
		}
		inner := map[string]Position{}
		d.into(field.Addr().Interface(), pairs, `"`+p.key+`"`, inner)
		for key, at := range inner {
			where[p.key+"."+key] = at
		}
	default:
		d.other(field, p, n)
	}
}

// list decodes a sequence; a single scalar stands for a list of one.
func (d *decoder) list(field reflect.Value, p pair, n ast.Node) {
	var items []ast.Node
	if seq, ok := n.(*ast.SequenceNode); ok {
		items = seq.Values
	} else if _, ok := d.scalar(n); ok {
		items = []ast.Node{n}
	} else {
		d.problems.add(d.at(n), "%s: must be a list, is %s", p.key, describe(n))
		return
	}
	list := reflect.MakeSlice(field.Type(), len(items), len(items))
	for i, item := range items {
		d.value(list.Index(i), pair{key: fmt.Sprintf("%s[%d]", p.key, i), at: d.at(item), value: item}, map[string]Position{})
	}
	field.Set(list)
}

// other leaves what is neither scalar, list nor struct to the YAML library.
func (d *decoder) other(field reflect.Value, p pair, n ast.Node) {
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

func describe(n ast.Node) string {
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
		return strconv.Quote(v.GetToken().Value)
	}
}

// maxSeconds keeps a duration within what time.Duration holds.
const maxSeconds = float64(math.MaxInt64 / int64(time.Second))

// ParseDuration reads a duration as a site file and the flags have it: "1m30s", or a
// number of seconds.
func ParseDuration(text string) (time.Duration, error) {
	seconds, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil:
		return time.ParseDuration(text)
	case math.Abs(seconds) < maxSeconds: // not so for NaN
		return time.Duration(seconds * float64(time.Second)), nil
	}
	return 0, fmt.Errorf("%s is no number of seconds that can be waited for", text)
}

// fieldsOf returns the options of the struct that v points to by their names in a
// site file. Functions and interfaces cannot stand in one.
func fieldsOf(v reflect.Value) map[string]reflect.Value {
	fields := map[string]reflect.Value{}
	if v.Kind() == reflect.Pointer && v.Elem().Kind() == reflect.Struct {
		collect(fields, v.Elem())
	}
	return fields
}

func collect(fields map[string]reflect.Value, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, flags, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case !f.IsExported() || name == "-" || f.Type.Kind() == reflect.Func || f.Type.Kind() == reflect.Interface:
		case flags == "inline":
			collect(fields, v.Field(i))
		default:
			if name == "" {
				name = strings.ToLower(f.Name)
			}
			fields[name] = v.Field(i)
		}
	}
}
