package request

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// FieldError is what is wrong with one parameter or form field.
type FieldError struct {
	// Name is the name of the field as the client knows it, "address.street".
	Name string
	// Value is what the client sent; "" if it sent nothing.
	Value string
	// Problem completes the sentence "NAME ...": "is missing", "must be a whole number". It may be
	// shown to the client.
	Problem string
	// Err is the cause, if there is one. It is for the log.
	Err error
}

func (e *FieldError) Error() string { return e.Name + ": " + e.Problem }

// Unwrap returns Err.
func (e *FieldError) Unwrap() error { return e.Err }

// FieldErrors is the error of Decode: one FieldError for each wrong field. errors.As finds in it a
// *pagi.StatusError of 422 whose message names the fields, so an application can return it as it is.
type FieldErrors []*FieldError

func (e FieldErrors) Error() string {
	lines := make([]string, len(e))
	for i, field := range e {
		lines[i] = field.Error()
	}
	return strings.Join(lines, "; ")
}

// Unwrap returns the errors of the fields.
func (e FieldErrors) Unwrap() []error {
	all := make([]error, 0, len(e)+1)
	all = append(all, &pagi.StatusError{Status: http.StatusUnprocessableEntity, Message: e.Error()})
	for _, field := range e {
		all = append(all, field)
	}
	return all
}

// Value returns the first value called name as a T: a string, bool, number, time.Duration,
// time.Time or a type with UnmarshalText. The error is a FieldErrors with one element: the value is
// missing, or it is malformed or out of range. What is accepted for each type stands at Decode.
func Value[T any](values Values, name string) (T, error) {
	var v T
	if !values.Has(name) {
		return v, FieldErrors{{Name: name, Problem: "is missing"}}
	}
	if err := setScalar(reflect.ValueOf(&v).Elem(), name, values.Get(name)); err != nil {
		return v, FieldErrors{err}
	}
	return v, nil
}

// ValueOr is Value for a parameter that may be missing or empty: the result is otherwise then. A
// value that is malformed is an error all the same.
func ValueOr[T any](values Values, name string, otherwise T) (T, error) {
	if values.Get(name) == "" {
		return otherwise, nil
	}
	return Value[T](values, name)
}

// AllValues returns all values called name as Ts, in order; none is no error.
func AllValues[T any](values Values, name string) ([]T, error) {
	texts := values.All(name)
	all := make([]T, len(texts))
	var wrong FieldErrors
	for i, text := range texts {
		if err := setScalar(reflect.ValueOf(&all[i]).Elem(), name, text); err != nil {
			wrong = append(wrong, err)
		}
	}
	if wrong != nil {
		return nil, wrong
	}
	return all, nil
}

// Decode fills the struct to which dst points from values. A field gets the first value with its
// name: the name in its tag `form:"name"`, or else its own name in snake case ("PostalCode" is
// "postal_code"). `form:"-"` leaves a field out. Further words of the tag, after commas:
//
//	required        an error if the value is missing or empty
//	default=TEXT    what a missing or empty value counts as; the rest of the tag
//
// Fields may be strings; bools (true, false, 1, 0, on, off, yes, no); numbers in decimal; a
// time.Duration ("90s"); a time.Time (RFC 3339, or "2006-01-02", "2006-01-02T15:04" as browsers send
// dates); types with UnmarshalText; pointers to those, which stay nil without a value; slices, which
// get all values; and structs, whose fields have the outer field's name and a dot in front
// ("address.street"). The fields of an embedded struct have no prefix. An empty value leaves a field
// that is no string, bool or slice as it is.
//
// The error is a FieldErrors with all fields that are wrong. Values without a field are ignored; see
// DecodeStrict. Decode panics if dst is no pointer to a struct, or the struct has a field of another
// type: that is a bug in the calling code.
func Decode(values Values, dst any) error {
	_, err := decode(values, dst)
	return err
}

// DecodeStrict is Decode that also reports each name in values that has no field, and each further
// value of a field that takes one.
func DecodeStrict(values Values, dst any) error {
	d, err := decode(values, dst)
	var wrong FieldErrors
	errors.As(err, &wrong)
	told := map[string]bool{}
	for name := range values.Names() {
		switch {
		case !d.known[name]:
			wrong = append(wrong, &FieldError{Name: name, Value: values.Get(name), Problem: "is not known"})
		case !d.lists[name] && len(values.All(name)) > 1 && !told[name]:
			told[name] = true
			wrong = append(wrong, &FieldError{Name: name, Value: values.Last(name), Problem: "is given more than once"})
		}
	}
	if wrong == nil {
		return nil
	}
	return wrong
}

type decoder struct {
	values Values
	known  map[string]bool // names that have a field
	lists  map[string]bool // those whose field is a slice
	wrong  FieldErrors
}

func decode(values Values, dst any) (*decoder, error) {
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("request.Decode: needs a pointer to a struct, got %T", dst))
	}
	d := &decoder{values: values, known: map[string]bool{}, lists: map[string]bool{}}
	d.decodeStruct(v.Elem(), "")
	if d.wrong != nil {
		return d, d.wrong
	}
	return d, nil
}

func (d *decoder) decodeStruct(v reflect.Value, prefix string) {
	t := v.Type()
	for i := range t.NumField() {
		field := t.Field(i)
		tag := parseTag(field)
		switch {
		case tag.name == "-" || !field.IsExported() && !field.Anonymous:
		case field.Anonymous && field.Type.Kind() == reflect.Struct && field.Tag.Get("form") == "":
			d.decodeStruct(v.Field(i), prefix)
		case !field.IsExported():
		case isNested(field.Type):
			d.decodeStruct(v.Field(i), prefix+tag.name+".")
		default:
			d.decodeField(v.Field(i), prefix+tag.name, tag)
		}
	}
}

// isNested reports whether a field of this type is a struct with fields of its own.
func isNested(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != timeType && !reflect.PointerTo(t).Implements(unmarshalerType)
}

func (d *decoder) decodeField(v reflect.Value, name string, tag fieldTag) {
	d.known[name] = true
	texts := d.values.All(name)
	if tag.fallback != "" && (len(texts) == 0 || len(texts) == 1 && texts[0] == "") {
		texts = []string{tag.fallback}
	}
	if isList(v.Type()) {
		d.lists[name] = true
		d.decodeList(v, name, texts, tag.required)
		return
	}
	text := ""
	if len(texts) > 0 {
		text = texts[0]
	}
	switch {
	case text == "" && tag.required:
		d.wrong = append(d.wrong, &FieldError{Name: name, Problem: "is missing"})
		return
	case len(texts) == 0, text == "" && !takesEmpty(v.Type()):
		return
	}
	if err := setScalar(v, name, text); err != nil {
		d.wrong = append(d.wrong, err)
	}
}

func (d *decoder) decodeList(v reflect.Value, name string, texts []string, required bool) {
	if len(texts) == 0 {
		if required {
			d.wrong = append(d.wrong, &FieldError{Name: name, Problem: "is missing"})
		}
		return
	}
	list := reflect.MakeSlice(v.Type(), len(texts), len(texts))
	for i, text := range texts {
		if err := setScalar(list.Index(i), name, text); err != nil {
			d.wrong = append(d.wrong, err)
		}
	}
	v.Set(list)
}

// isList reports whether a field of this type takes all values: a slice, except one of bytes and one
// that reads itself.
func isList(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8 && !reflect.PointerTo(t).Implements(unmarshalerType)
}

// takesEmpty reports whether "" is a value of the type.
func takesEmpty(t reflect.Type) bool {
	return t.Kind() == reflect.String || t.Kind() == reflect.Bool
}

// fieldTag is what the tag of a field says.
type fieldTag struct {
	name     string
	required bool
	fallback string
}

func parseTag(field reflect.StructField) (tag fieldTag) {
	text := field.Tag.Get("form")
	text, tag.fallback, _ = cutDefault(text)
	words := strings.Split(text, ",")
	tag.name = words[0]
	if tag.name == "" {
		tag.name = snakeCase(field.Name)
	}
	for _, word := range words[1:] {
		if word != "required" && word != "" {
			panic(fmt.Sprintf("request.Decode: the tag of %s has the unknown word %q", field.Name, word))
		}
		tag.required = tag.required || word == "required"
	}
	return tag
}

// cutDefault cuts the default off a tag.
func cutDefault(tag string) (before, fallback string, found bool) {
	return strings.Cut(tag, ",default=")
}

// snakeCase turns a Go name into words in lower case: "UserID" is "user_id".
func snakeCase(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			after := i > 0 && name[i-1] != '_' && !('A' <= name[i-1] && name[i-1] <= 'Z')
			before := i > 0 && i+1 < len(name) && 'a' <= name[i+1] && name[i+1] <= 'z'
			if after || before {
				b.WriteByte('_')
			}
			c += 'a' - 'A'
		}
		b.WriteByte(c)
	}
	return b.String()
}

var (
	timeType        = reflect.TypeFor[time.Time]()
	durationType    = reflect.TypeFor[time.Duration]()
	unmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// setScalar parses text into v.
func setScalar(v reflect.Value, name, text string) *FieldError {
	wrong := func(problem string, err error) *FieldError {
		return &FieldError{Name: name, Value: text, Problem: problem, Err: err}
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		return setScalar(v.Elem(), name, text)
	}
	switch v.Type() {
	case timeType:
		t, err := parseTime(text)
		if err != nil {
			return wrong("must be a date or a time such as 2006-01-02 or 2006-01-02T15:04:05Z", err)
		}
		v.Set(reflect.ValueOf(t))
		return nil
	case durationType:
		d, err := time.ParseDuration(text)
		if err != nil {
			return wrong("must be a duration such as 90s or 1h30m", err)
		}
		v.SetInt(int64(d))
		return nil
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			return wrong("is not valid", err)
		}
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Slice: // of bytes
		if v.Type().Elem().Kind() != reflect.Uint8 {
			panic("request: a field cannot have the type " + v.Type().String())
		}
		v.SetBytes([]byte(text))
	case reflect.Bool:
		b, ok := bools[strings.ToLower(text)]
		if !ok {
			return wrong("must be true or false", nil)
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return wrong(numberProblem(err, "a whole number"), err)
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			return wrong(numberProblem(err, "a whole number that is not negative"), err)
		}
		v.SetUint(n)
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(text, v.Type().Bits())
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return wrong(numberProblem(err, "a number"), err)
		}
		v.SetFloat(f)
	default:
		panic("request: a field cannot have the type " + v.Type().String())
	}
	return nil
}

var bools = map[string]bool{
	"true": true, "1": true, "on": true, "yes": true, "t": true, "y": true,
	"false": false, "0": false, "off": false, "no": false, "f": false, "n": false, "": false,
}

func numberProblem(err error, kind string) string {
	if errors.Is(err, strconv.ErrRange) {
		return "is too large or too small"
	}
	return "must be " + kind
}

// timeLayouts are the forms of times and dates, among them those of browsers' input elements.
var timeLayouts = []string{time.RFC3339Nano, "2006-01-02", "2006-01-02T15:04", "2006-01-02T15:04:05"}

func parseTime(text string) (time.Time, error) {
	i := slices.IndexFunc(timeLayouts, func(layout string) bool {
		_, err := time.Parse(layout, text)
		return err == nil
	})
	return time.Parse(timeLayouts[max(i, 0)], text)
}
