package middleware

import (
	"errors"
	"fmt"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Stack is a list of middleware that is built step by step. It is a middleware itself:
//
//	var stack middleware.Stack
//	stack.Use(middleware.RequestID{}, middleware.SecurityHeaders{})
//	stack.UseIf(middleware.Condition{Path: []string{"/admin"}}, middleware.BasicAuth{HTPasswd: "users"})
//	app = stack.Wrap(app)
//
// The first part is the outermost and sees a request first. For applications at several paths, give
// an apps.URLMap to Wrap.
type Stack struct {
	parts []pagi.Middleware
}

// Use adds middleware inside what the stack has.
func (s *Stack) Use(middleware ...pagi.Middleware) { s.parts = append(s.parts, middleware...) }

// UseIf adds middleware for the requests that match c.
func (s *Stack) UseIf(c Condition, middleware ...pagi.Middleware) {
	for _, m := range middleware {
		s.Use(When{If: c, Use: m})
	}
}

// UseUnless adds middleware for the requests that do not match c. The zero Condition excludes none.
func (s *Stack) UseUnless(c Condition, middleware ...pagi.Middleware) {
	for _, m := range middleware {
		s.Use(When{Unless: c, Use: m})
	}
}

// Check reports the wrong options of all parts.
func (s *Stack) Check() error {
	var errs []error
	for _, m := range s.parts {
		if err := pagi.Check(m); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", nameOf(m), err))
		}
	}
	return errors.Join(errs...)
}

// Warnings tells which parts stand in an order in which they cannot do their work, as sentences.
func (s *Stack) Warnings() (sentences []string) {
	names := make([]string, len(s.parts))
	for i, m := range s.parts {
		names[i] = nameOf(m)
	}
	for _, w := range Misplaced(names) {
		sentences = append(sentences, w.Text)
	}
	return sentences
}

// Wrap puts the stack around next.
func (s *Stack) Wrap(next pagi.App) pagi.App { return pagi.Chain(next, s.parts...) }

// nameOf returns the name that a middleware has in site files, or else its Go type.
func nameOf(m pagi.Middleware) string {
	if w, is := m.(When); is {
		m = w.Use
	}
	if name := parts.NameOf(m); name != "" {
		return name
	}
	return fmt.Sprintf("%T", m)
}
