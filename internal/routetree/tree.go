package routetree

import (
	"cmp"
	"slices"
)

// Tree holds patterns, each with values by key: routes by their methods, for example. The zero Tree is
// empty. A Tree must not be changed while it is used.
//
// A segment is compared with text first, then with parameters that have a constraint or text around
// them, then with parameters alone, then with wildcards. If what follows does not match, the next of
// these is tried. So are patterns that lack the key that is looked for.
type Tree[T any] struct {
	root node[T]
	// texts are the ends of patterns without parameters, by the whole path.
	texts map[string]*end[T]
}

// node is a place between two segments.
type node[T any] struct {
	text      map[string]*node[T]
	mixed     []branch[T] // those with more text first
	parameter *node[T]
	end       *end[T] // of the patterns that end here
	wild      *end[T] // of those that end with a wildcard
}

// branch leads to the node behind a segment with a regular expression.
type branch[T any] struct {
	segment segment
	shape   string
	node    *node[T]
}

// end has the values of the patterns of one shape.
type end[T any] struct{ items []item[T] }

type item[T any] struct {
	key     string
	pattern *Pattern
	value   T
}

// Any is the key of a value that is found where there is none for the key that is looked for.
const Any = ""

// Add adds a value. If there is one already for the key at a pattern of the same shape, Add returns that
// value instead.
func (t *Tree[T]) Add(p *Pattern, key string, value T) (other T, taken bool) {
	e := t.endOf(p)
	for _, i := range e.items {
		if i.key == key {
			return i.value, true
		}
	}
	e.items = append(e.items, item[T]{key, p, value})
	return other, false
}

// endOf returns the end of a pattern, which it makes where it is missing.
func (t *Tree[T]) endOf(p *Pattern) *end[T] {
	n := &t.root
	for _, s := range p.segments {
		if s.wild {
			if n.wild == nil {
				n.wild = &end[T]{}
			}
			return n.wild
		}
		n = n.next(s)
	}
	if n.end == nil {
		n.end = &end[T]{}
		if len(p.names) == 0 {
			if t.texts == nil {
				t.texts = map[string]*end[T]{}
			}
			t.texts[p.text] = n.end
		}
	}
	return n.end
}

// next returns the node behind a segment, which it makes where it is missing.
func (n *node[T]) next(s segment) *node[T] {
	switch {
	case s.isText():
		if n.text == nil {
			n.text = map[string]*node[T]{}
		}
		if n.text[s.literal()] == nil {
			n.text[s.literal()] = &node[T]{}
		}
		return n.text[s.literal()]
	case s.match == nil:
		if n.parameter == nil {
			n.parameter = &node[T]{}
		}
		return n.parameter
	}
	shape := s.shape()
	for _, b := range n.mixed {
		if b.shape == shape {
			return b.node
		}
	}
	b := branch[T]{s, shape, &node[T]{}}
	n.mixed = append(n.mixed, b)
	slices.SortStableFunc(n.mixed, func(a, b branch[T]) int { return cmp.Compare(b.segment.textLength(), a.segment.textLength()) })
	return b.node
}

// Match is a pattern that matches a path.
type Match[T any] struct {
	Pattern *Pattern
	Value   T

	values [maxParameters]string
	n      int // how many values there are
}

// Values returns the values of the pattern's parameters, in the order of Pattern.Names. They are part of
// the Match.
func (m *Match[T]) Values() []string { return m.values[:m.n] }

// search is what Find looks for.
type search[T any] struct {
	path  *Path
	keys  [3]string // in the order of preference
	match *Match[T]
	visit func(key string) // nil: the first match ends the search
}

// Find finds the pattern that matches a path best and has a value for one of three keys. It takes the
// value of the first of them that the pattern has. It fills match, and reports whether there is one.
func (t *Tree[T]) Find(path *Path, keys [3]string, match *Match[T]) bool {
	match.n = 0
	s := search[T]{path: path, keys: keys, match: match}
	if path.Slashes == nil {
		if e := t.texts[path.Text]; e != nil && s.take(e) {
			return true
		}
	}
	if len(path.Text) == 0 || path.Text[0] != '/' {
		return false
	}
	return s.below(&t.root, 1)
}

// Keys calls visit for each key of each pattern that matches a path. A key may come several times.
func (t *Tree[T]) Keys(path *Path, visit func(key string)) {
	if len(path.Text) == 0 || path.Text[0] != '/' {
		return
	}
	var match Match[T]
	s := search[T]{path: path, match: &match, visit: visit}
	s.below(&t.root, 1)
}

// below looks for a match of the path from index start, where a segment begins, below n.
func (s *search[T]) below(n *node[T], start int) bool {
	stop := s.path.end(start)
	text := s.path.Text[start:stop]
	if next := n.text[text]; next != nil && s.behind(next, stop) {
		return true
	}
	m := s.match
	depth := m.n
	for i := range n.mixed {
		b := &n.mixed[i]
		found, ok := b.segment.capture(text, m.values[depth:])
		m.n = depth + found
		if ok && s.behind(b.node, stop) {
			return true
		}
	}
	m.n = depth
	if n.parameter != nil && text != "" {
		m.values[depth], m.n = text, depth+1
		if s.behind(n.parameter, stop) {
			return true
		}
		m.n = depth
	}
	if n.wild != nil && start < len(s.path.Text) {
		m.values[depth], m.n = s.path.Text[start:], depth+1
		if s.take(n.wild) {
			return true
		}
		m.n = depth
	}
	return false
}

// behind looks for a match from n, which stands behind the segment that ends at index stop.
func (s *search[T]) behind(n *node[T], stop int) bool {
	if stop == len(s.path.Text) {
		return n.end != nil && s.take(n.end)
	}
	return s.below(n, stop+1)
}

// take takes a value of e for the match, if there is one for a key that is looked for.
func (s *search[T]) take(e *end[T]) bool {
	if s.visit != nil {
		for _, i := range e.items {
			s.visit(i.key)
		}
		return false
	}
	for _, key := range s.keys {
		for i := range e.items {
			if e.items[i].key == key {
				s.match.Pattern, s.match.Value = e.items[i].pattern, e.items[i].value
				return true
			}
		}
	}
	return false
}

// Prefix matches a pattern with the beginning of a path, up to a slash or the end. It returns the values
// of the parameters, and the length of what it has matched. Slashes at the end of the pattern do not
// count.
func (p *Pattern) Prefix(path *Path) (values []string, length int, ok bool) {
	values = make([]string, len(p.names))
	at, n := 0, 0
	for i := range p.segments {
		s := &p.segments[i]
		if i == len(p.segments)-1 && s.isText() && s.literal() == "" { // the slash at the end
			break
		}
		if at == len(path.Text) {
			return nil, 0, false
		}
		stop := path.end(at + 1)
		found, ok := s.capture(path.Text[at+1:stop], values[n:])
		if !ok {
			return nil, 0, false
		}
		at, n = stop, n+found
	}
	return values, at, true
}

// IsWild reports whether the pattern ends with a wildcard.
func (p *Pattern) IsWild() bool { return len(p.segments) > 0 && p.segments[len(p.segments)-1].wild }

// More compares patterns for the order in which prefixes are tried: the one with more segments first,
// of two with as many the one that has text where the other has a parameter.
func More(a, b *Pattern) int {
	if c := cmp.Compare(b.depth(), a.depth()); c != 0 {
		return c
	}
	for i := range a.segments[:a.depth()] {
		if c := cmp.Compare(a.segments[i].rank(), b.segments[i].rank()); c != 0 {
			return c
		}
	}
	return 0
}

// depth is the number of segments, without an empty one at the end.
func (p *Pattern) depth() int {
	n := len(p.segments)
	if n > 0 && p.segments[n-1].isText() && p.segments[n-1].literal() == "" {
		n--
	}
	return n
}

// rank orders kinds of segments as a Tree tries them.
func (s *segment) rank() int {
	switch {
	case s.isText():
		return 0
	case s.match != nil:
		return 1
	}
	return 2
}
