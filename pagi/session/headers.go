package session

import (
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// HeaderState carries the token in a header of the same name both ways. The client must keep it and
// send it with each request. The header of a session that has ended is empty.
type HeaderState struct {
	// Name is the header's name; "" means X-Session-ID.
	Name string
}

var _ State = HeaderState{}

// Check reports a Name that is not a header name.
func (h HeaderState) Check() error {
	if (pagi.Headers{{Name: h.name()}}).Validate("") != nil {
		return pagi.BadOption("name", "%q is not a header name", h.Name)
	}
	return nil
}

// Extract implements State.
func (h HeaderState) Extract(scope *pagi.Scope) string { return scope.Headers.Get(h.name()) }

// Inject implements State.
func (h HeaderState) Inject(_ *pagi.Scope, headers *pagi.Headers, token string, _ time.Duration) error {
	headers.Set(h.name(), token)
	return nil
}

// Clear implements State.
func (h HeaderState) Clear(_ *pagi.Scope, headers *pagi.Headers) { headers.Set(h.name(), "") }

func (h HeaderState) name() string {
	if h.Name == "" {
		return "x-session-id"
	}
	return strings.ToLower(h.Name)
}

// BearerState reads the token from "Authorization: Bearer token" (RFC 6750 section 2.1). It tells
// the client nothing: the application that makes a session hands out Session.ID itself, in the
// answer to a login, for example.
type BearerState struct{}

var _ State = BearerState{}

// Extract implements State.
func (BearerState) Extract(scope *pagi.Scope) string {
	scheme, token, ok := strings.Cut(scope.Headers.Get("authorization"), " ")
	if !ok || !pagi.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.Trim(token, " ")
}

// Inject implements State and does nothing.
func (BearerState) Inject(*pagi.Scope, *pagi.Headers, string, time.Duration) error { return nil }

// Clear implements State and does nothing.
func (BearerState) Clear(*pagi.Scope, *pagi.Headers) {}

// CallbackState is a State made of functions. Only ExtractFunc is required.
type CallbackState struct {
	ExtractFunc func(scope *pagi.Scope) string
	InjectFunc  func(scope *pagi.Scope, headers *pagi.Headers, token string, maxAge time.Duration) error
	ClearFunc   func(scope *pagi.Scope, headers *pagi.Headers)
}

var _ State = CallbackState{}

// Check reports a missing ExtractFunc.
func (c CallbackState) Check() error {
	if c.ExtractFunc == nil {
		return pagi.BadOption("extract", "the function is missing")
	}
	return nil
}

// Extract implements State.
func (c CallbackState) Extract(scope *pagi.Scope) string { return c.ExtractFunc(scope) }

// Inject implements State.
func (c CallbackState) Inject(scope *pagi.Scope, headers *pagi.Headers, token string, maxAge time.Duration) error {
	if c.InjectFunc == nil {
		return nil
	}
	return c.InjectFunc(scope, headers, token, maxAge)
}

// Clear implements State.
func (c CallbackState) Clear(scope *pagi.Scope, headers *pagi.Headers) {
	if c.ClearFunc != nil {
		c.ClearFunc(scope, headers)
	}
}
