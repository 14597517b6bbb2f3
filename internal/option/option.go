// Package option reads structs whose exported fields are options: of the site, of an
// application, of a middleware, of a pool of processes. The struct's declaration is the
// only place that names an option. Its tags say what its type cannot:
//
//		MaxBodySize int64 `yaml:"max_body_size" unit:"bytes" default:"10MiB" zero:"off"`
//
//	  - yaml is the name in a site file. The flag has the same name with hyphens. "-" keeps
//	    a field out of site files, and ",inline" stands for the fields of a struct.
//	  - unit:"bytes" marks a size.
//	  - default is the value that SetDefaults stores in a field that is zero.
//	  - zero:"off" says that a 0 in a site file or a flag means "no limit", zero:"none" that
//	    it means no time at all. Either is stored as -1. Any other text is the error that
//	    such a 0 is.
//	  - auto:"yes" says that the text "auto" may stand in place of a number, and means Auto.
//	  - negative:"yes" says that a value below 0 has a meaning of its own.
//	  - old lists former names, with commas between them. They are accepted with a warning.
//	  - path:"yes" marks names of files, which are meant from the directory of the site file.
//	  - short names the option of a mapping that a single text stands for.
//	  - form:"place" marks places to listen at, which may also be mappings.
//	  - change:"restart" says that a change counts from the next start of the program on.
//	  - expand:"no" keeps ${NAME} in a value as it is.
//	  - help is the flag's line in --help, with {NAME} for the value. The default and what 0
//	    means are added to it. flag is the flag's letter. An option without help has no
//	    generated flag.
//
// The package imports nothing of this module, so that every room can use it.
package option

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Field is an option of a struct.
type Field struct {
	// Name is the option's name in a site file.
	Name string
	// Value is the field itself, which can be set.
	Value reflect.Value
	// Tag is the field's tag.
	Tag reflect.StructTag
}

// IsSize reports whether the field counts bytes.
func (f Field) IsSize() bool { return f.Tag.Get("unit") == "bytes" }

// isDuration reports whether the field is a time.Duration.
func (f Field) isDuration() bool { return f.Value.Type() == durationType }

// OldNames are the names the option had before.
func (f Field) OldNames() []string {
	if old := f.Tag.Get("old"); old != "" {
		return strings.Split(old, ",")
	}
	return nil
}

var durationType = reflect.TypeFor[time.Duration]()

// ZeroIsOff reports whether a 0 in a site file or a flag is stored as -1.
func (f Field) ZeroIsOff() bool { zero := f.Tag.Get("zero"); return zero == "off" || zero == "none" }

// Fields returns the options of the struct that ptr points to, in the order of their
// declaration. It returns none where ptr is no pointer to a struct. Functions and
// interfaces are left out, because a site file cannot hold them.
func Fields(ptr any) []Field {
	v := reflect.ValueOf(ptr)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nil
	}
	return collect(nil, v.Elem())
}

func collect(all []Field, v reflect.Value) []Field {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, flags, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case !f.IsExported() || name == "-" || f.Type.Kind() == reflect.Func || f.Type.Kind() == reflect.Interface:
		case flags == "inline":
			all = collect(all, v.Field(i))
		default:
			if name == "" {
				name = strings.ToLower(f.Name)
			}
			all = append(all, Field{Name: name, Value: v.Field(i), Tag: f.Tag})
		}
	}
	return all
}

// Inherit sets each option of the struct at to that is zero to the same option of from, a
// pointer to a struct of the same type. A bool stays false where given reports that it is set;
// the zero of any other option stands for "not set".
func Inherit(to, from any, given func(name string) bool) {
	source := Fields(from)
	for i, f := range Fields(to) {
		if f.Value.IsZero() && (f.Value.Kind() != reflect.Bool || !given(f.Name)) {
			f.Value.Set(source[i].Value)
		}
	}
}

// SetDefaults gives each option that is zero the value of its tag "default". It panics
// where that tag cannot be read, which a test of the struct finds.
func SetDefaults(ptr any) {
	for _, f := range Fields(ptr) {
		if text := f.Tag.Get("default"); text != "" && f.Value.IsZero() {
			if err := f.Set(text); err != nil {
				panic(fmt.Sprintf("option: default of %s: %v", f.Name, err))
			}
		}
	}
}
