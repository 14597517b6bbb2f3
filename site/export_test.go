package site

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// DocumentedKeys returns the keys that may stand in each part of a site file: "" is
// its top, "mount" a mount of any kind, "psgi" and the like one of that kind, and
// "head" and the like a middleware.
func DocumentedKeys() map[string][]string {
	all := map[string][]string{
		"":      append(keys("", &Settings{}), "mounts", "middleware"),
		"mount": append(keys("", &Mount{}), "middleware"),
		KindGo:  nil, // its options are those of what is registered
	}
	add := func(name string, options any) {
		if _, twice := all[name]; twice {
			panic(fmt.Sprintf("%q is both a kind of mount and a middleware", name))
		}
		all[name] = keys("", options)
	}
	for name, k := range kinds {
		add(name, k.new())
	}
	for name, make := range registry.middleware {
		add(name, make())
	}
	return all
}

// keys returns what the decoder understands, a key inside another as "outer.inner".
func keys(prefix string, options any) []string {
	var all []string
	fields := fieldsOf(reflect.ValueOf(options))
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if field := fields[key]; field.Kind() == reflect.Struct {
			all = append(all, keys(prefix+key+".", field.Addr().Interface())...)
		} else {
			all = append(all, prefix+key)
		}
	}
	return all
}
