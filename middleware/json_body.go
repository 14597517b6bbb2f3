package middleware

import (
	"bytes"
	"context"
	"net/http"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// JSONBody reads request bodies of JSON before the application is called. The application finds the
// value in the scope as scopekey.ParsedBody, of the types that encoding/json gives an any, and the
// bytes as scopekey.RawBody. It can also receive the body, or read it by package request. It acts
// in http and sse scopes.
//
// A body that is malformed or too deep is answered 400 with its place, one that is too large 413. A
// body of another type is left alone. Numbers are float64, so whole numbers above 2^53 lose digits:
// decode RawBody for those.
type JSONBody struct {
	// MaxSize is the largest body; 0 means 1 MiB, a number below 0 no limit.
	MaxSize int64 `yaml:"max_size" unit:"bytes" default:"1MiB" zero:"off"`
	// ContentTypes are the media types that are JSON; nil means application/json and "*+json".
	ContentTypes []string `yaml:"content_types"`
	// MaxDepth is how deep arrays and objects may be nested, at most 10000; 0 means 200.
	MaxDepth int `yaml:"max_depth" default:"200" zero:"must be more than 0"`
	// Required answers 415 to a request with a body of another type.
	Required bool `yaml:"required"`
}

func init() { parts.Middleware[JSONBody]("json_body") }

// Check reports a type that is none and a depth that cannot be.
func (m JSONBody) Check() error {
	if m.MaxDepth < 0 || m.MaxDepth > 10000 {
		return pagi.BadOption("max_depth", "must be 1 to 10000, is %d", m.MaxDepth)
	}
	return checkMediaTypes("content_types", m.ContentTypes)
}

// Wrap puts m around next.
func (m JSONBody) Wrap(next pagi.App) pagi.App {
	option.SetDefaults(&m)
	if m.ContentTypes == nil {
		m.ContentTypes = []string{"application/json", "*+json"}
	}
	types := mediaTypes(m.ContentTypes)
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		contentType := scope.Headers.Get("content-type")
		isJSON := types.have(contentType)
		if scope.Type == pagi.TypeWebSocket || !isJSON && !m.Required {
			return next.Serve(ctx, scope, receive, send)
		}
		r := request.New(ctx, scope, receive)
		r.Limits.Body, r.Limits.JSONDepth = m.MaxSize, m.MaxDepth
		if !isJSON && contentType != "" && !mayLackBody(scope.Method) {
			return m.wrongType()
		}
		raw, err := r.Bytes()
		if err != nil {
			return err
		}
		empty := len(bytes.TrimSpace(raw)) == 0
		if !isJSON && len(raw) > 0 {
			return m.wrongType()
		}
		scope = r.Scope()
		if isJSON && !(empty && mayLackBody(scope.Method)) {
			var value any
			if err := m.decode(ctx, r, &value); err != nil {
				return err
			}
			scope = scope.With(scopekey.ParsedBody, value)
		}
		return next.Serve(ctx, scope.With(scopekey.RawBody, raw), r.Receive(), send)
	})
}

// decode decodes the body, which r has read, whatever the name of its type is.
func (m JSONBody) decode(ctx context.Context, r *request.Request, value *any) error {
	if r.IsJSON() {
		return r.JSON(value)
	}
	scope := r.Scope().Clone()
	scope.Headers = edited(scope.Headers, func(h *pagi.Headers) { h.Set("content-type", "application/json") })
	same := request.New(ctx, scope, r.Receive())
	same.Limits = r.Limits
	return same.JSON(value)
}

func (m JSONBody) wrongType() error {
	list := strings.Join(m.ContentTypes, ", ")
	return &pagi.StatusError{Status: http.StatusUnsupportedMediaType, Message: "The body must be JSON: " + list}
}

// mayLackBody reports whether clients send a Content-Type with that method though there is no body.
func mayLackBody(method string) bool {
	switch method {
	case "GET", "HEAD", "DELETE", "OPTIONS":
		return true
	}
	return false
}
