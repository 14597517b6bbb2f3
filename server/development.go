package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"

	"github.com/pagi-go/pagi-bridge/internal/errorpage"
	"github.com/pagi-go/pagi-bridge/internal/lint"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// development serves an application for its developer. A rule of the specification that the
// application breaks (see package internal/lint) is a failure, even if the application ignores the
// error of Send. A request that fails is answered with a page that says why.
type development struct{ app pagi.App }

// Serve implements pagi.App.
func (d development) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	checker := lint.New(scope)
	checker.Lenient = true
	var broken error // the first rule that was broken
	overlooked := func(err error) {
		if broken == nil {
			broken = fmt.Errorf("the application has overlooked that %w", err)
		}
	}
	checked := func(ctx context.Context, ev pagi.Event) error {
		v := checker.Send(ev)
		if v != nil && v.Rule == lint.HeaderCase { // the server would correct it
			overlooked(v)
			return v.Err
		}
		err := send(ctx, ev)
		var bad *pagi.EventError
		if errors.As(err, &bad) {
			overlooked(err)
		} else if v != nil && err == nil {
			overlooked(v)
		}
		return err
	}
	err := d.serve(ctx, scope, receive, checked)
	if v := checker.Returned(err, ctx.Err() != nil); v != nil && v.Rule == lint.ScopeChanged {
		overlooked(v)
	}
	if err == nil {
		err = broken
	}
	var asked *pagi.StatusError
	if err == nil || scope.Type != pagi.TypeHTTP || errors.As(err, &asked) {
		return err
	}
	return withPage(err, scope)
}

// serve turns a panic into an error.
func (d development) serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) (err error) {
	defer func() {
		if v := recover(); v != nil {
			if v == http.ErrAbortHandler {
				panic(v)
			}
			err = &pagi.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return d.app.Serve(ctx, scope, receive, send)
}

// pageError is a failure with the page that shows it.
type pageError struct {
	error
	page *pagi.StatusError
}

func (e *pageError) Unwrap() []error { return []error{e.error, e.page} }

func withPage(err error, scope *pagi.Scope) error {
	stack := ""
	var p *pagi.PanicError
	if errors.As(err, &p) {
		stack = string(p.Stack)
	}
	page, failed := errorpage.Render(errorpage.Failure{Status: http.StatusInternalServerError, Message: err.Error(), Stack: stack, Scope: scope})
	if failed != nil {
		return errors.Join(err, failed)
	}
	return &pageError{err, &pagi.StatusError{
		Status: http.StatusInternalServerError, Message: string(page),
		Headers: pagi.NewHeaders("content-type", errorpage.ContentType, "cache-control", "no-store"),
	}}
}
