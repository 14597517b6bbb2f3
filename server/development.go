package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/errorpage"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// development serves an application for its developer. An event that breaks a rule of the
// specification is a failure, even if the application ignores the error of Send. Rules whose check
// costs time are checked, too. A request that fails is answered with a page that says why.
type development struct{ app pagi.App }

// Serve implements pagi.App.
func (d development) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	var broken error // the first rule that was broken
	checked := func(ctx context.Context, ev pagi.Event) error {
		err := checkNames(ev)
		if err == nil {
			err = send(ctx, ev)
		}
		var bad *pagi.EventError
		if broken == nil && errors.As(err, &bad) {
			broken = fmt.Errorf("the application has overlooked that %w", err)
		}
		return err
	}
	err := d.serve(ctx, scope, receive, checked)
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

// checkNames reports header names that are not in lower case, although the specification demands
// it.
func checkNames(ev pagi.Event) error {
	var headers pagi.Headers
	switch e := ev.(type) {
	case pagi.HTTPResponseStart:
		headers = e.Headers
	case pagi.HTTPResponseTrailers:
		headers = e.Headers
	case pagi.WebSocketAccept:
		headers = e.Headers
	case pagi.SSEStart:
		headers = e.Headers
	}
	for i := range headers {
		if name := headers[i].Name; name != strings.ToLower(name) {
			return &pagi.EventError{Type: ev.EventType(), Field: "headers", Problem: fmt.Sprintf("contains the name %q, which must be in lower case", name)}
		}
	}
	return nil
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
