package middleware

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// MethodOverride lets a POST stand for another method, because HTML forms know only GET and POST.
// The method is taken from a header, or else from a parameter of the query, or else from a field of
// the form. The application finds the method of the request as scopekey.OriginalMethod. It acts in
// http and sse scopes.
//
// A page of another site can send a POST with a query without asking (CORS asks before a DELETE,
// and before a POST with the header). An application that relies on that question loses it by this
// middleware, so it needs a check against forged requests. Both POST and the methods that it can
// stand for are checked there, in whatever order the two middleware are.
type MethodOverride struct {
	// Header is the header's name; "" means X-HTTP-Method-Override, "off" none.
	Header string `yaml:"header"`
	// Param is the name of the parameter; "" means _method, "off" none.
	Param string `yaml:"param"`
	// AllowedMethods are the methods that a POST may stand for; nil means PUT, PATCH and DELETE. A
	// POST that asks for another one stays a POST.
	AllowedMethods []string `yaml:"allowed_methods"`
	// Form looks for Param in URL-encoded forms, too. They are read for that, and handed on whole.
	// A multipart form is not read.
	Form bool `yaml:"form"`
	// MaxForm is the largest form; a larger one is answered 413. 0 means 1 MiB, a number below 0 no
	// limit.
	MaxForm int64 `yaml:"max_form" unit:"bytes" default:"1MiB" zero:"off"`
}

func init() { parts.Middleware[MethodOverride]("method_override") }

// Check reports a header or method that there cannot be, and a method that is safe: a POST that
// changes something must not pass for a request that changes nothing.
func (m MethodOverride) Check() error {
	var errs []error
	if m.Header != "off" {
		errs = append(errs, checkName("header", or(m.Header, "x-http-method-override")))
	}
	for _, method := range m.AllowedMethods {
		switch {
		case !headername.IsToken(method) || strings.ToUpper(method) != method:
			errs = append(errs, pagi.BadOption("allowed_methods", "%q is no method in upper case", method))
		case slices.Contains([]string{"GET", "HEAD", "OPTIONS", "TRACE", "CONNECT", "QUERY"}, method):
			errs = append(errs, pagi.BadOption("allowed_methods", "a POST must not stand for %s", method))
		}
	}
	if m.Form && m.Param == "off" {
		errs = append(errs, pagi.BadOption("form", "needs param"))
	}
	return errors.Join(errs...)
}

// Wrap puts m around next.
func (m MethodOverride) Wrap(next pagi.App) pagi.App {
	option.SetDefaults(&m)
	m.Header, m.Param = or(m.Header, "x-http-method-override"), or(m.Param, "_method")
	if m.AllowedMethods == nil {
		m.AllowedMethods = []string{"PUT", "PATCH", "DELETE"}
	}
	types := mediaTypes{urlEncoded}
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Method != "POST" || scope.Type == pagi.TypeWebSocket {
			return next.Serve(ctx, scope, receive, send)
		}
		inForm := m.Form && types.have(scope.Headers.Get("content-type"))
		if !(m.Header != "off" && scope.Headers.Has(m.Header)) && !(m.Param != "off" && scope.QueryString != "") && !inForm {
			return next.Serve(ctx, scope, receive, send)
		}
		r := request.New(ctx, scope, receive)
		r.Limits.Body = m.MaxForm
		method, err := m.asked(r, inForm)
		if err != nil {
			return err
		}
		scope = r.Scope()
		if method = strings.ToUpper(method); slices.Contains(m.AllowedMethods, method) {
			scope = scope.With(scopekey.OriginalMethod, scope.Method)
			scope.Method = method
		}
		return next.Serve(ctx, scope, r.Receive(), send)
	})
}

// asked returns the method that the request asks for, "" if for none.
func (m MethodOverride) asked(r *request.Request, inForm bool) (string, error) {
	if m.Header != "off" {
		if method, ok := r.Scope().Headers.Lookup(m.Header); ok {
			return strings.Trim(method, " \t"), nil
		}
	}
	if m.Param == "off" {
		return "", nil
	}
	if r.Scope().QueryString != "" {
		if query := r.Query(); query.Has(m.Param) {
			return query.Get(m.Param), nil
		}
	}
	if !inForm {
		return "", nil
	}
	fields, err := r.Form()
	return fields.Get(m.Param), err
}
