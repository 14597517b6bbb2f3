package site

import (
	"fmt"
	"reflect"

	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/parts"
)

// DocumentedKeys returns the keys that may stand in each part of a site file: "" is
// its top, "mount" a mount of any kind, "psgi" and the like one of that kind, and
// "head" and the like a middleware.
func DocumentedKeys() map[string][]string {
	all := map[string][]string{}
	for part, fields := range DocumentedOptions() {
		all[part] = nil
		for _, f := range fields {
			all[part] = append(all[part], f.Name)
		}
	}
	all[""] = append(all[""], "mounts", "middleware", "include")
	all["mount"] = append(all["mount"], "middleware")
	all[KindRouter] = append(all[KindRouter], answerKeys...)
	return all
}

// DocumentedOptions returns the options behind these keys, as far as a struct declares them.
func DocumentedOptions() map[string][]option.Field {
	all := map[string][]option.Field{
		"":      fieldsBelow("", &Settings{}),
		"mount": fieldsBelow("", &Mount{}),
		"route": fieldsBelow("", &RouteOptions{}),
		KindGo:  nil, // its options are those of what is registered
	}
	add := func(name string, options any) {
		if _, twice := all[name]; twice {
			panic(fmt.Sprintf("%q is both a kind of mount and a middleware", name))
		}
		all[name] = fieldsBelow("", options)
	}
	for name, k := range kinds {
		add(name, k.new())
	}
	for _, name := range parts.MiddlewareNames() {
		add(name, parts.NewMiddleware(name))
	}
	return all
}

// fieldsBelow returns the options that the decoder knows; a key inside another is "outer.inner".
func fieldsBelow(prefix string, options any) []option.Field {
	var all []option.Field
	for _, f := range option.Fields(options) {
		f.Name = prefix + f.Name
		if f.Value.Kind() == reflect.Struct {
			all = append(all, fieldsBelow(f.Name+".", f.Value.Addr().Interface())...)
		} else {
			all = append(all, f)
		}
	}
	return all
}

// CheckWith returns what is wrong with a part of a site file in which one option is set.
func CheckWith(part, name, value string) error {
	var options any
	switch kind, isKind := kinds[part]; {
	case part == "":
		options = &Settings{}
	case part == "mount":
		options = &Mount{}
	case part == "route":
		options = &RouteOptions{Path: "/"}
	case isKind:
		options = kind.new()
	default:
		options = parts.NewMiddleware(part)
	}
	if code, has := fieldsOf(options)["code"]; has { // an application, which is checked first
		code.Value.SetString("1")
	}
	if err := fieldsOf(options)[name].Set(value); err != nil {
		return err
	}
	switch o := options.(type) {
	case *RouteOptions:
		return o.check()
	case interface{ Check() error }:
		return o.Check()
	case builder:
		_, err := o.Build()
		return err
	}
	return nil
}
