package routetree

import (
	"regexp"
	"regexp/syntax"
	"strings"
)

// segment is what a pattern has between two slashes.
type segment struct {
	tokens []token
	wild   bool
	// match is the whole segment as a regular expression; nil for text and for one parameter without a
	// constraint.
	match *regexp.Regexp
	// groups are the capturing groups of match, one for each parameter; nil where the only parameter is
	// the whole segment.
	groups []int
}

// compile makes a segment of its tokens.
func compile(tokens []token) (segment, error) {
	s := segment{tokens: tokens}
	if len(tokens) == 0 || len(tokens) == 1 && tokens[0].constraint == "" {
		return s, nil
	}
	var b strings.Builder
	b.WriteString(`\A(?s:`)
	group := 1
	for _, t := range tokens {
		switch {
		case t.name == "":
			b.WriteString(regexp.QuoteMeta(t.text))
		case t.constraint == "":
			b.WriteString(`(.+)`)
			s.groups = append(s.groups, group)
			group++
		default:
			inner, err := syntax.Parse(t.constraint, syntax.Perl)
			if err != nil {
				return segment{}, err
			}
			b.WriteString(`((?-s:` + t.constraint + `))`)
			s.groups = append(s.groups, group)
			group += 1 + inner.MaxCap()
		}
	}
	b.WriteString(`)\z`)
	var err error
	if s.match, err = regexp.Compile(b.String()); err != nil {
		return segment{}, err
	}
	if len(tokens) == 1 {
		s.groups = nil
	}
	return s, nil
}

// isText reports whether the segment has no parameter.
func (s *segment) isText() bool {
	return len(s.tokens) == 0 || len(s.tokens) == 1 && s.tokens[0].name == ""
}

// literal returns the text of a segment without parameters.
func (s *segment) literal() string {
	if len(s.tokens) == 0 {
		return ""
	}
	return s.tokens[0].text
}

// names returns the names of the parameters.
func (s *segment) names() (names []string) {
	for _, t := range s.tokens {
		if t.name != "" {
			names = append(names, t.name)
		}
	}
	return names
}

// textLength is how much of the segment is text. Of two mixed segments, the one with more text is
// tried first.
func (s *segment) textLength() (n int) {
	for _, t := range s.tokens {
		n += len(t.text)
	}
	return n
}

// shape is equal for segments that match the same text. NUL stands in front of what is not text.
func (s *segment) shape() string {
	if s.wild {
		return "\x00*"
	}
	var b strings.Builder
	for _, t := range s.tokens {
		b.WriteString(t.text)
		if t.name != "" {
			b.WriteString("\x00{" + t.constraint + "}")
		}
	}
	return b.String()
}

// capture matches the segment with text and stores the values of its parameters in values, which has room
// for them. It returns how many there are.
func (s *segment) capture(text string, values []string) (n int, ok bool) {
	switch {
	case s.match == nil && s.isText():
		return 0, text == s.literal()
	case text == "":
		return 0, false
	case s.groups == nil:
		values[0] = text
		return 1, s.match == nil || s.match.MatchString(text)
	}
	at := s.match.FindStringSubmatchIndex(text)
	if at == nil {
		return 0, false
	}
	for i, g := range s.groups {
		values[i] = text[at[2*g]:at[2*g+1]]
	}
	return len(s.groups), true
}
