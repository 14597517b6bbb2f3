package request

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Method returns the HTTP method in upper case; "" in a websocket scope.
func (r *Request) Method() string { return r.scope.Method }

// Path returns the decoded path below the application's mount.
func (r *Request) Path() string { return r.scope.Path }

// Header returns the value of the first header called name, or "". Scope().Headers has them all.
func (r *Request) Header(name string) string { return r.scope.Headers.Get(name) }

// IsSafe reports whether the method is one that must not change anything: GET, HEAD, OPTIONS or TRACE
// (RFC 9110 section 9.2.1).
func (r *Request) IsSafe() bool {
	switch r.scope.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// IsSecure reports whether the client uses TLS, to this server or to a trusted proxy.
func (r *Request) IsSecure() bool {
	return r.scope.Scheme == "https" || r.scope.Scheme == "wss"
}

// IsAJAX reports whether the request has the header "X-Requested-With: XMLHttpRequest", as JavaScript
// libraries send it. Anybody can send it.
func (r *Request) IsAJAX() bool {
	return strings.EqualFold(r.Header("x-requested-with"), "XMLHttpRequest")
}

// IsJSON reports whether the body says it is JSON: application/json or a type that ends in "+json".
func (r *Request) IsJSON() bool {
	t, _ := r.ContentType()
	return t == "application/json" || strings.HasSuffix(t, "+json")
}

// IsForm reports whether the body says it is a form, URL-encoded or multipart.
func (r *Request) IsForm() bool {
	t, _ := r.ContentType()
	return t == "application/x-www-form-urlencoded" || t == "multipart/form-data"
}

// IsMultipart reports whether the body says it is a multipart form.
func (r *Request) IsMultipart() bool {
	t, _ := r.ContentType()
	return t == "multipart/form-data"
}

// IsDisconnected reports whether the client has gone, or the server has given the request up. It
// looks only; it receives nothing.
func (r *Request) IsDisconnected() bool { return r.DisconnectReason() != "" }

// DisconnectReason returns why the request ended abnormally, one of the standard reasons; "" while it
// runs and after it has completed.
func (r *Request) DisconnectReason() string {
	if c := r.scope.Connection; c != nil {
		return c.DisconnectReason()
	}
	var gone *pagi.DisconnectError
	if errors.As(context.Cause(r.ctx), &gone) {
		return gone.Reason
	}
	return ""
}

// State returns a value that the application stored in the state at startup. ok is false if there is
// none under key, or one of another type.
func State[T any](r *Request, key string) (value T, ok bool) {
	value, ok = r.scope.State[key].(T)
	return value, ok
}

// Stashed returns a value from the scope's Stash. ok is false if there is none under key, or one of
// another type.
func Stashed[T any](r *Request, key any) (value T, ok bool) {
	found, _ := r.scope.Stash.Get(key)
	value, ok = found.(T)
	return value, ok
}
