package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/nearest"
	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/plugin/internal/pluginpb"
)

// decode reads a JSON object into the struct that config points to, sets defaults, and checks the result. A nil config has
// no options. Each error names its option in Field, with dots between nested names.
func decode(text []byte, config any) []*pluginpb.FieldError {
	if len(bytes.TrimSpace(text)) == 0 {
		text = []byte("{}")
	}
	var values map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&values); err != nil {
		return []*pluginpb.FieldError{{Message: "the options are no JSON object: " + err.Error()}}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return []*pluginpb.FieldError{{Message: "the options are more than one JSON object"}}
	}
	if config == nil {
		config = &struct{}{}
	}
	r := &reading{}
	r.into(config, values, "")
	if len(r.errs) > 0 {
		return r.errs
	}
	if err := pagi.Check(config); err != nil {
		r.check(err)
	}
	return r.errs
}

// reading collects what is wrong with options.
type reading struct{ errs []*pluginpb.FieldError }

func (r *reading) add(field, format string, args ...any) {
	r.errs = append(r.errs, &pluginpb.FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
}

// check adds the errors that a method Check has joined.
func (r *reading) check(err error) {
	var bad *pagi.OptionError
	if many, is := err.(interface{ Unwrap() []error }); is {
		for _, each := range many.Unwrap() {
			r.check(each)
		}
		return
	}
	if errors.As(err, &bad) {
		r.add(bad.Option, "%v", bad.Err)
		return
	}
	r.add("", "%v", err)
}

// into sets the options of a struct.
func (r *reading) into(target any, values map[string]any, prefix string) {
	fields := map[string]option.Field{}
	for _, f := range option.Fields(target) {
		fields[f.Name] = f
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		f, known := fields[name]
		if !known {
			r.add(prefix+name, "there is no option of this name%s", nearest.Suggestion(name, prefix, slices.Collect(maps.Keys(fields))))
			continue
		}
		r.set(f, values[name], prefix+name)
	}
	for _, f := range option.Fields(target) {
		if _, given := values[f.Name]; !given && f.Tag.Get("required") == "yes" {
			r.add(prefix+f.Name, "is missing")
		}
	}
	setDefaults(target)
}

// setDefaults sets the defaults of a struct and of those in it.
func setDefaults(target any) {
	option.SetDefaults(target)
	for _, f := range option.Fields(target) {
		if f.Value.Kind() == reflect.Struct {
			setDefaults(f.Value.Addr().Interface())
		}
	}
}

// set sets one option.
func (r *reading) set(f option.Field, value any, name string) {
	switch kind := f.Value.Kind(); kind {
	case reflect.Pointer:
		f.Value.Set(reflect.New(f.Value.Type().Elem()))
		f.Value = f.Value.Elem()
		r.set(f, value, name)
	case reflect.Struct:
		inner, is := value.(map[string]any)
		if !is {
			r.wrong(name, "a mapping", value)
			return
		}
		r.into(f.Value.Addr().Interface(), inner, name+".")
	case reflect.Slice:
		r.list(f, value, name)
	case reflect.Map, reflect.Interface, reflect.Array:
		text, err := json.Marshal(value)
		if err == nil {
			err = json.Unmarshal(text, f.Value.Addr().Interface())
		}
		if err != nil {
			r.wrong(name, "a "+form(f), value)
		}
	default:
		r.single(f, value, name)
	}
}

// list sets an option that is a list. A single value stands for a list of one.
func (r *reading) list(f option.Field, value any, name string) {
	items, is := value.([]any)
	if !is {
		if _, isMapping := value.(map[string]any); isMapping || value == nil {
			r.wrong(name, "a list", value)
			return
		}
		items = []any{value}
	}
	list := reflect.MakeSlice(f.Value.Type(), len(items), len(items))
	for i, item := range items {
		r.set(option.Field{Value: list.Index(i), Tag: f.Tag}, item, fmt.Sprintf("%s[%d]", name, i))
	}
	f.Value.Set(list)
}

// single sets a number, a size, a duration, a text, or true or false.
func (r *reading) single(f option.Field, value any, name string) {
	var text string
	isBool := f.Value.Kind() == reflect.Bool
	switch v := value.(type) {
	case string:
		if text = v; isBool {
			r.wrong(name, f.Form(), value)
			return
		}
	case json.Number:
		text = v.String()
	case bool:
		text = fmt.Sprint(v)
	default:
		r.wrong(name, f.Form(), value)
		return
	}
	if f.Value.CanUint() {
		r.unsigned(f, text, value, name)
		return
	}
	if f.Set(text) != nil {
		r.wrong(name, f.Form(), value)
	}
}

// unsigned sets a number that is not negative.
func (r *reading) unsigned(f option.Field, text string, value any, name string) {
	var n int64
	number := option.Field{Value: reflect.ValueOf(&n).Elem(), Tag: f.Tag}
	if number.Set(text) != nil || n < 0 || f.Value.OverflowUint(uint64(n)) {
		r.wrong(name, "a whole number, 0 or more", value)
		return
	}
	f.Value.SetUint(uint64(n))
}

func (r *reading) wrong(name, want string, value any) {
	r.add(name, "must be %s, is %s", want, show(value))
}

// show describes a value in a message.
func show(value any) string {
	switch v := value.(type) {
	case nil:
		return "empty"
	case map[string]any:
		return "a mapping"
	case []any:
		return "a list"
	case string:
		if len(v) > 80 {
			return "a text of " + fmt.Sprint(len(v)) + " bytes"
		}
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprint(value)
}

// form says what the value of an option must be.
func form(f option.Field) string {
	switch f.Value.Kind() {
	case reflect.Pointer:
		return form(option.Field{Value: reflect.New(f.Value.Type().Elem()).Elem(), Tag: f.Tag})
	case reflect.Slice, reflect.Array:
		return "list"
	case reflect.Struct, reflect.Map:
		return "mapping"
	case reflect.Interface:
		return "any value"
	}
	switch name := f.Form(); {
	case f.IsSize():
		return "size"
	case name == option.DurationForm:
		return "duration"
	case f.Value.CanUint() || name == option.NumberForm:
		return "whole number"
	default:
		return strings.TrimPrefix(name, "a ")
	}
}

// describe lists the options of the struct that config points to.
func describe(config any, prefix string) (list []*pluginpb.Field) {
	for _, f := range option.Fields(config) {
		list = append(list, &pluginpb.Field{
			Name: prefix + f.Name, Type: form(f), Default: f.Tag.Get("default"), Help: f.Tag.Get("help"), Required: f.Tag.Get("required") == "yes",
		})
		if f.Value.Kind() == reflect.Struct {
			list = append(list, describe(f.Value.Addr().Interface(), prefix+f.Name+".")...)
		}
	}
	return list
}
