package option

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Text returns the options of the struct that ptr points to as a text. Two structs of one type have the same text if
// their options have the same values. Fields without a name in site files count, too, if they are text, numbers or
// switches: the gateway sets them. Of functions only counts whether there is one; loggers and applications do not count.
func Text(ptr any) string {
	var b strings.Builder
	write(&b, reflect.ValueOf(ptr))
	return b.String()
}

func write(b *strings.Builder, v reflect.Value) {
	if v.IsValid() && v.Kind() != reflect.Pointer && v.CanInterface() {
		if text, is := v.Interface().(encoding.TextMarshaler); is {
			if marshalled, err := text.MarshalText(); err == nil {
				fmt.Fprintf(b, "%q", marshalled)
				return
			}
		}
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			b.WriteString("nil")
			return
		}
		write(b, v.Elem())
	case reflect.Struct:
		writeStruct(b, v)
	case reflect.Slice, reflect.Array:
		b.WriteByte('[')
		for i := range v.Len() {
			write(b, v.Index(i))
			b.WriteByte(' ')
		}
		b.WriteByte(']')
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(x, y reflect.Value) int { return strings.Compare(fmt.Sprint(x), fmt.Sprint(y)) })
		b.WriteByte('{')
		for _, key := range keys {
			write(b, key)
			b.WriteByte(':')
			write(b, v.MapIndex(key))
			b.WriteByte(' ')
		}
		b.WriteByte('}')
	case reflect.String:
		fmt.Fprintf(b, "%q", v.String())
	case reflect.Func, reflect.Chan:
		fmt.Fprint(b, !v.IsNil())
	default:
		fmt.Fprint(b, v)
	}
}

func writeStruct(b *strings.Builder, v reflect.Value) {
	b.WriteByte('{')
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !f.IsExported() || name == "-" && !isPlain(f.Type.Kind()) {
			continue
		}
		b.WriteString(f.Name + ":")
		write(b, v.Field(i))
		b.WriteByte(' ')
	}
	b.WriteByte('}')
}

// isPlain reports whether values of a kind that only the gateway sets count.
func isPlain(k reflect.Kind) bool {
	return k == reflect.Bool || k == reflect.String || k == reflect.Func || k >= reflect.Int && k <= reflect.Float64
}
