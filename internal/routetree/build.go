package routetree

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Build returns the path, percent-encoded, in which the parameters have the given values. A slash in a
// value is encoded, except in the value of a wildcard. These are errors: a value that is missing or
// superfluous, one that its constraint forbids or that a match would not give back, and a path that a
// browser would take for another one: with a segment of one or two dots, or with two slashes in front.
func (p *Pattern) Build(values map[string]string) (string, error) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(p.names, name) {
			return "", fmt.Errorf("%q has no parameter %q", p.text, name)
		}
	}
	var b strings.Builder
	for i := range p.segments {
		s := &p.segments[i]
		text, err := s.build(values)
		if err != nil {
			return "", fmt.Errorf("%q: %w", p.text, err)
		}
		parts := []string{text}
		if s.wild {
			parts = strings.Split(text, "/")
		}
		for _, part := range parts {
			if part == "." || part == ".." {
				return "", fmt.Errorf("%q: a browser would remove the segment %q", p.text, part)
			}
			b.WriteString("/" + url.PathEscape(part))
		}
	}
	if strings.HasPrefix(b.String(), "//") {
		return "", fmt.Errorf("%q: a browser would take %q for a host", p.text, b.String())
	}
	return b.String(), nil
}

// build returns the text of the segment, decoded.
func (s *segment) build(values map[string]string) (string, error) {
	var b strings.Builder
	var given []string
	for _, t := range s.tokens {
		if t.name == "" {
			b.WriteString(t.text)
			continue
		}
		value, ok := values[t.name]
		switch {
		case !ok:
			return "", fmt.Errorf("the parameter %q is missing", t.name)
		case value == "":
			return "", fmt.Errorf("the parameter %q is empty", t.name)
		}
		given = append(given, value)
		b.WriteString(value)
	}
	text := b.String()
	if s.wild {
		return text, nil
	}
	got := make([]string, len(given))
	if _, ok := s.capture(text, got); !ok || !slices.Equal(got, given) {
		return "", fmt.Errorf("the values %q do not match %q", given, s.source())
	}
	return text, nil
}

// source returns the segment as a pattern has it.
func (s *segment) source() string {
	var b strings.Builder
	for _, t := range s.tokens {
		switch {
		case t.name == "":
			b.WriteString(t.text)
		case t.constraint == "":
			b.WriteString("{" + t.name + "}")
		default:
			b.WriteString("{" + t.name + ":" + t.constraint + "}")
		}
	}
	return b.String()
}
