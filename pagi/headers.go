package pagi

import (
	"iter"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/headername"
)

// Header is one name and value. Names are lower case; values are opaque bytes.
type Header struct {
	Name, Value string
}

// Headers is a list of header lines in wire order. Duplicates are kept. A nil
// Headers is an empty list ready for use.
//
// Names handed to its methods may be in any case; names stored by them are lower
// case, as the specification demands.
type Headers []Header

// NewHeaders returns Headers made of name, value pairs. It panics on an odd number of arguments,
// which is a bug in the calling code.
func NewHeaders(pairs ...string) Headers {
	if len(pairs)%2 != 0 {
		panic("pagi.NewHeaders: odd number of arguments")
	}
	h := make(Headers, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

// Get returns the value of the first header called name, or "".
func (h Headers) Get(name string) string {
	v, _ := h.Lookup(name)
	return v
}

// Lookup returns the value of the first header called name and whether there is
// one.
func (h Headers) Lookup(name string) (string, bool) {
	for i := range h {
		if EqualFold(h[i].Name, name) {
			return h[i].Value, true
		}
	}
	return "", false
}

// Has reports whether a header called name is present.
func (h Headers) Has(name string) bool {
	_, ok := h.Lookup(name)
	return ok
}

// Values yields the values of all headers called name, in order.
func (h Headers) Values(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range h {
			if EqualFold(h[i].Name, name) && !yield(h[i].Value) {
				return
			}
		}
	}
}

// Joined returns all values of name joined by ", ", the way RFC 9110 section 5.2
// combines the lines of a list-valued field.
func (h Headers) Joined(name string) string {
	joined, lines := "", 0
	for value := range h.Values(name) {
		if lines++; lines == 1 {
			joined = value // most often the only one
		} else {
			joined += ", " + value
		}
	}
	return joined
}

// HasToken reports whether one of name's comma-separated values is token,
// compared without regard to case and ignoring parameters after a semicolon.
func (h Headers) HasToken(name, token string) bool {
	for value := range h.Values(name) {
		for item := range strings.SplitSeq(value, ",") {
			item, _, _ = strings.Cut(item, ";")
			if EqualFold(strings.TrimSpace(item), token) {
				return true
			}
		}
	}
	return false
}

// Add appends a header.
func (h *Headers) Add(name, value string) {
	*h = append(*h, Header{headername.Lower(name), value})
}

// Set gives name exactly one value. It replaces the first header of that name, or appends one.
func (h *Headers) Set(name, value string) {
	for i := range *h {
		if EqualFold((*h)[i].Name, name) {
			(*h)[i].Value = value
			rest := (*h)[i+1:]
			*h = append((*h)[:i+1], slices.DeleteFunc(rest, func(x Header) bool { return EqualFold(x.Name, name) })...)
			return
		}
	}
	h.Add(name, value)
}

// Del removes every header called name.
func (h *Headers) Del(name string) {
	*h = slices.DeleteFunc(*h, func(x Header) bool { return EqualFold(x.Name, name) })
}

// Clone returns a copy that shares nothing with h.
func (h Headers) Clone() Headers { return slices.Clone(h) }

// EqualFold compares two header names or tokens without regard to ASCII case. Unlike
// strings.EqualFold it knows no Unicode folding, so no character outside ASCII equals an ASCII
// letter.
func EqualFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		x, y := a[i], b[i]
		if x == y {
			continue
		}
		if 'A' <= x && x <= 'Z' {
			x += 'a' - 'A'
		}
		if 'A' <= y && y <= 'Z' {
			y += 'a' - 'A'
		}
		if x != y {
			return false
		}
	}
	return true
}
