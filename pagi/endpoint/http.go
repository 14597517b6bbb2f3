package endpoint

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// HTTP is an application of http scopes that has a function for each method: those of one resource.
//
//	users := &Users{db}
//	app := endpoint.HTTP{Get: users.list, Post: users.create}
//
// A method without a function is answered with 405 and the header allow, OPTIONS with 204 and that
// header. HEAD calls Get, whose body the server leaves out. Scopes of other types are declined.
type HTTP struct {
	Get, Post, Put, Patch, Delete Func
	// Head is called for HEAD in place of Get.
	Head Func
	// Options is called for OPTIONS in place of the endpoint's own answer.
	Options Func
}

// Check reports an endpoint without any function.
func (h HTTP) Check() error {
	if len(h.Allowed()) == 1 && h.Options == nil {
		return errors.New("endpoint: no method has a function")
	}
	return nil
}

// Allowed returns the methods that are not answered with 405, sorted.
func (h HTTP) Allowed() []string {
	allowed := []string{http.MethodOptions}
	for _, method := range []string{http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodPatch, http.MethodPost, http.MethodPut} {
		if h.function(method) != nil {
			allowed = append(allowed, method)
		}
	}
	slices.Sort(allowed)
	return allowed
}

// function returns the function for a method; nil if there is none.
func (h HTTP) function(method string) Func {
	switch method {
	case http.MethodGet:
		return h.Get
	case http.MethodHead:
		if h.Head == nil {
			return h.Get
		}
		return h.Head
	case http.MethodPost:
		return h.Post
	case http.MethodPut:
		return h.Put
	case http.MethodPatch:
		return h.Patch
	case http.MethodDelete:
		return h.Delete
	case http.MethodOptions:
		return h.Options
	}
	return nil
}

// Serve implements pagi.App.
func (h HTTP) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type != pagi.TypeHTTP {
		return pagi.Unsupported(scope)
	}
	f := h.function(scope.Method)
	if f != nil {
		return f.Serve(ctx, scope, receive, send)
	}
	allow := strings.Join(h.Allowed(), ", ")
	if scope.Method == http.MethodOptions {
		return reply.Send(ctx, scope, send, http.StatusNoContent, pagi.NewHeaders("allow", allow), nil)
	}
	return reply.Status(ctx, scope, send, http.StatusMethodNotAllowed, "allow", allow)
}

// scopeType is that of the scopes that the endpoint serves; see RouteGroup.Endpoint.
func (h HTTP) scopeType() string { return pagi.TypeHTTP }
