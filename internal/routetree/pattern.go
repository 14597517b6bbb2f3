// Package routetree matches paths with the patterns of routes, and makes paths of patterns. It knows
// strings only: no scopes, no applications.
//
// Files: pattern.go parses a pattern, segment.go matches and builds one segment of it, path.go cuts a
// path into segments, tree.go finds the patterns of a path, build.go makes a path of a pattern.
package routetree

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Pattern is a parsed pattern, such as "/users/{id:[0-9]+}/files/{path...}". It consists of segments
// between slashes; each is text, one parameter, or both mixed. Text is compared with the decoded
// path.
//
//	{name}, :name            a parameter: one or more characters of its segment
//	{name:regexp}            a parameter whose value matches all of the regular expression (RE2)
//	{name...}, *name         the rest of the path, with its slashes; at the end only, never empty
//
// ":name" and "*name" are parameters at the beginning of a segment; elsewhere colon and asterisk are
// text.
type Pattern struct {
	text     string
	segments []segment
	names    []string // of all parameters, in order
}

// maxParameters is how many parameters a pattern may have. A lookup keeps as many values on the stack.
const maxParameters = 16

// Parse parses a pattern.
func Parse(text string) (*Pattern, error) {
	p := &Pattern{text: text}
	if err := p.parse(); err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	return p, nil
}

func (p *Pattern) parse() error {
	if !strings.HasPrefix(p.text, "/") {
		return errors.New("must begin with a slash")
	}
	for rest := p.text; rest != ""; {
		end, err := segmentEnd(rest[1:])
		if err != nil {
			return err
		}
		s, err := parseSegment(rest[1 : 1+end])
		if err != nil {
			return err
		}
		rest = rest[1+end:]
		if s.wild && rest != "" {
			return fmt.Errorf("the wildcard %q must stand at the end", s.names()[0])
		}
		for _, name := range s.names() {
			if slices.Contains(p.names, name) {
				return fmt.Errorf("has the parameter %q twice", name)
			}
			p.names = append(p.names, name)
		}
		p.segments = append(p.segments, s)
	}
	if len(p.names) > maxParameters {
		return fmt.Errorf("has %d parameters; %d are allowed", len(p.names), maxParameters)
	}
	return nil
}

// String returns the pattern as it was written.
func (p *Pattern) String() string { return p.text }

// Names returns the names of the parameters, in order. The caller must not change the list.
func (p *Pattern) Names() []string { return p.names }

// Shape is equal for two patterns that match the same paths, as far as their spelling tells: the names
// of parameters do not matter.
func (p *Pattern) Shape() string {
	var b strings.Builder
	for _, s := range p.segments {
		b.WriteByte('/')
		b.WriteString(s.shape())
	}
	return b.String()
}

// segmentEnd returns where the first segment of text ends: at a slash outside braces, or at the end.
func segmentEnd(text string) (int, error) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '/':
			return i, nil
		case '?', '#':
			return 0, fmt.Errorf("contains %q, which cannot be part of a request's path", text[i])
		case '}':
			return 0, errors.New("has a closing brace without an opening one")
		case '{':
			n := closing(text[i:])
			if n < 0 {
				return 0, errors.New("has an opening brace without a closing one")
			}
			i += n
		}
	}
	return len(text), nil
}

// closing returns the index of the brace that closes the one at the beginning of text, or -1. Braces in
// a regular expression count, unless they are escaped or in a class.
func closing(text string) int {
	depth, class := 0, 0 // class is the index behind which a ] closes the class; 0: outside
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			i++
		case class > 0 && strings.HasPrefix(text[i:], "[:"):
			if n := strings.Index(text[i:], ":]"); n > 0 {
				i += n + 1
			}
		case class > 0 && c == ']' && i > class:
			class = 0
		case class > 0:
		case c == '[':
			class = i + 1 // a ] right behind [ or [^ is text
			if strings.HasPrefix(text[class:], "^") {
				class++
			}
		case c == '{':
			depth++
		case c == '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// token is text, or a parameter.
type token struct {
	text       string
	name       string // "": it is text
	constraint string // "": none
}

// parseSegment parses what stands between two slashes.
func parseSegment(text string) (segment, error) {
	if name, ok := strings.CutPrefix(text, "*"); ok {
		return wildcard(name)
	}
	if inner, ok := strings.CutPrefix(text, "{"); ok {
		if name, ok := strings.CutSuffix(inner, "...}"); ok && !strings.ContainsAny(name, ":{}") {
			return wildcard(name)
		}
	}
	var tokens []token
	if n := nameLength(strings.TrimPrefix(text, ":")); strings.HasPrefix(text, ":") && n > 0 {
		tokens, text = append(tokens, token{name: text[1 : 1+n]}), text[1+n:]
	}
	for text != "" {
		open := strings.IndexByte(text, '{')
		if open < 0 {
			open = len(text)
		}
		if open > 0 {
			tokens, text = append(tokens, token{text: text[:open]}), text[open:]
			continue
		}
		end := closing(text)
		t, err := parseParameter(text[1:end])
		if err != nil {
			return segment{}, err
		}
		if n := len(tokens); n > 0 && tokens[n-1].name != "" && tokens[n-1].constraint == "" {
			return segment{}, fmt.Errorf("has nothing between the parameters %q and %q", tokens[n-1].name, t.name)
		}
		tokens, text = append(tokens, t), text[end+1:]
	}
	return compile(tokens)
}

// parseParameter parses what stands in braces.
func parseParameter(text string) (token, error) {
	name, constraint, constrained := strings.Cut(text, ":")
	if constrained && strings.HasSuffix(name, "...") {
		return token{}, fmt.Errorf("the wildcard %q cannot have a regular expression", strings.TrimSuffix(name, "..."))
	}
	if err := checkName(name); err != nil {
		return token{}, err
	}
	if constrained && constraint == "" {
		return token{}, fmt.Errorf("the parameter %q has a colon but no regular expression", name)
	}
	if _, err := regexp.Compile(constraint); err != nil {
		return token{}, fmt.Errorf("the parameter %q: %w", name, err)
	}
	return token{name: name, constraint: constraint}, nil
}

func wildcard(name string) (segment, error) {
	if err := checkName(name); err != nil {
		return segment{}, err
	}
	return segment{tokens: []token{{name: name}}, wild: true}, nil
}

func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("has a parameter without a name")
	case strings.HasSuffix(name, "..."):
		return fmt.Errorf("the wildcard %q must be a whole segment", strings.TrimSuffix(name, "..."))
	case nameLength(name) != len(name):
		return fmt.Errorf("the parameter name %q must consist of letters, digits and underscores", name)
	}
	return nil
}

// nameLength returns how many bytes at the beginning of text can be a name.
func nameLength(text string) int {
	n := strings.IndexFunc(text, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
	if n < 0 {
		return len(text)
	}
	return n
}
