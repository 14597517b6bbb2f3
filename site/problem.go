package site

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/token"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Position is a position in a site file; lines and columns count from 1. A site made of flags has
// the zero Position.
type Position struct {
	File      string
	Line, Col int
}

func (p Position) String() string {
	switch {
	case p.File == "":
		return ""
	case p.Line == 0:
		return p.File + ": "
	}
	return fmt.Sprintf("%s:%d:%d: ", p.File, p.Line, p.Col)
}

// Problem is one reason why a site cannot be served.
type Problem struct {
	// At is the position in the site file, if there is one.
	At Position
	// Err says what is wrong and what would be right.
	Err error
}

func (p *Problem) Error() string { return p.At.String() + p.Err.Error() }

// Unwrap returns Err.
func (p *Problem) Unwrap() error { return p.Err }

// Problems are all problems of a site, in the order of the file. It is the type of the errors of
// Load and Build.
type Problems []*Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the single problems.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = p
	}
	return errs
}

// add adds a problem.
func (ps *Problems) add(at Position, format string, args ...any) {
	*ps = append(*ps, &Problem{At: at, Err: fmt.Errorf(format, args...)})
}

// err returns the problems as an error, sorted by position with those of one file together, or nil.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	files := map[string]int{}
	for _, p := range ps {
		if _, known := files[p.At.File]; !known {
			files[p.At.File] = len(files)
		}
	}
	slices.SortStableFunc(ps, func(a, b *Problem) int {
		if a.At.File != b.At.File {
			return files[a.At.File] - files[b.At.File]
		}
		if a.At.Line != b.At.Line {
			return a.At.Line - b.At.Line
		}
		return a.At.Col - b.At.Col
	})
	return slices.CompactFunc(ps, func(a, b *Problem) bool { return a.Error() == b.Error() })
}

// places are the positions of the options of one part in the file.
type places struct {
	part    Position            // of the part itself
	options map[string]Position // of the options' values
	prefix  string              // what errors of the part begin with, "psgi: "
}

// of returns the position of an option as the beginning of a message. For an option that the file does not give it is that
// of the mapping in which it would stand, or of the part.
func (p places) of(option string) string {
	for {
		if at, ok := p.options[option]; ok {
			return at.String()
		}
		i := strings.LastIndexAny(option, ".[")
		if i < 0 {
			return p.part.String()
		}
		option = option[:i]
	}
}

// addOf adds the errors that the part at p has reported, each at the position of the option that it
// names. A *pagi.OptionError names an option, and so does a message that begins with one.
func (ps *Problems) addOf(p places, err error) {
	if many := joinedIn(err, p.prefix); many != nil {
		for _, each := range many {
			ps.addOf(p, each)
		}
		return
	}
	at := p.part
	var bad *pagi.OptionError
	if errors.As(err, &bad) {
		if place, ok := p.options[bad.Option]; ok {
			at = place
		}
	} else if option, _, ok := strings.Cut(strings.TrimPrefix(err.Error(), p.prefix), ": "); ok {
		if place, ok := p.options[option]; ok {
			at = place
		}
	}
	*ps = append(*ps, &Problem{At: at, Err: err})
}

// joinedIn returns the errors that errors.Join has joined, with or without prefix in front. It
// returns nil if err is a single error.
func joinedIn(err error, prefix string) []error {
	joined, is := err.(interface{ Unwrap() []error })
	if !is {
		inner := errors.Unwrap(err)
		if joined, is = inner.(interface{ Unwrap() []error }); !is || err.Error() != prefix+inner.Error() {
			return nil
		}
		err = inner
	}
	many := joined.Unwrap()
	lines := make([]string, len(many))
	for i, each := range many {
		lines[i] = each.Error()
	}
	if strings.Join(lines, "\n") != err.Error() {
		return nil
	}
	return many
}

func positionOf(file string, t *token.Token) Position {
	if t == nil || t.Position == nil {
		return Position{File: file}
	}
	return Position{File: file, Line: t.Position.Line, Col: t.Position.Column}
}
