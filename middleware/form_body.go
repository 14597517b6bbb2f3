package middleware

import (
	"context"

	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// FormBody reads URL-encoded forms before the application is called. The application finds the
// fields in the scope as scopekey.ParsedBody, a request.Values, and the bytes as scopekey.RawBody.
// It can also receive the body, or read it by package request. It acts in http and sse scopes.
//
// A form that is too large, or has too many fields, is answered 413. A body of another type is left
// alone; package request reads multipart forms.
type FormBody struct {
	// MaxSize is the largest form; 0 means 1 MiB, a number below 0 no limit.
	MaxSize int64 `yaml:"max_size" unit:"bytes" default:"1MiB" zero:"off"`
	// MaxFields is how many fields a form may have; 0 means 1000, a number below 0 no limit.
	MaxFields int `yaml:"max_fields" default:"1000" zero:"off"`
	// Strict answers 400 to a form with malformed percent-encoding or text that is not UTF-8. By
	// default they stay in the fields as they are.
	Strict bool `yaml:"strict"`
}

func init() { parts.Middleware[FormBody]("form_body") }

// Check reports nothing: all values of the options are possible.
func (m FormBody) Check() error { return nil }

const urlEncoded = "application/x-www-form-urlencoded"

// Wrap puts m around next.
func (m FormBody) Wrap(next pagi.App) pagi.App {
	option.SetDefaults(&m)
	types := mediaTypes{urlEncoded}
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type == pagi.TypeWebSocket || !types.have(scope.Headers.Get("content-type")) {
			return next.Serve(ctx, scope, receive, send)
		}
		r := request.New(ctx, scope, receive)
		r.Limits.Body, r.Limits.Fields = m.MaxSize, m.MaxFields
		parse := r.Form
		if m.Strict {
			parse = r.FormStrict
		}
		fields, err := parse()
		if err != nil {
			return err
		}
		raw, err := r.Bytes()
		if err != nil {
			return err
		}
		scope = r.Scope().With(scopekey.ParsedBody, fields).With(scopekey.RawBody, raw)
		return next.Serve(ctx, scope, r.Receive(), send)
	})
}
