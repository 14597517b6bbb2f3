package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func failing(err error) pagi.App {
	return pagi.AppFunc(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { return err })
}

func ExampleErrorHandler() {
	app := failing(&pagi.StatusError{Status: 410, Message: "This book is sold out."})
	res := pagitest.New(middleware.ErrorHandler{ContentType: "text/plain"}.Wrap(app)).Get("/")
	fmt.Print(res.Status, " ", res.Text())
	// Output: 410 This book is sold out.
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func TestErrorHandlerAnswersForFailures(t *testing.T) {
	broken := errors.New("secret <b>")
	panics := pagi.AppFunc(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { panic("oh <i>") })
	for name, tc := range map[string]struct {
		m        middleware.ErrorHandler
		app      pagi.App
		accept   string
		status   int
		typ      string
		has, not string
	}{
		"an error":                       {middleware.ErrorHandler{}, failing(broken), "", 500, "text/html; charset=utf-8", "<h1>500 Internal Server Error</h1>", "secret"},
		"a panic":                        {middleware.ErrorHandler{}, panics, "", 500, "text/html; charset=utf-8", "500 Internal", "oh"},
		"no response":                    {middleware.ErrorHandler{}, failing(nil), "", 500, "text/html; charset=utf-8", "500 Internal", "without"},
		"another status":                 {middleware.ErrorHandler{Status: 503}, failing(broken), "", 503, "text/html; charset=utf-8", "503 Service", "secret"},
		"the status of the error":        {middleware.ErrorHandler{}, failing(fmt.Errorf("x: %w", &pagi.StatusError{Status: 404, Message: "no <i>", Err: broken})), "", 404, "text/html; charset=utf-8", "no &lt;i&gt;", "secret"},
		"a status that is no error":      {middleware.ErrorHandler{}, failing(&pagi.StatusError{Status: 200}), "", 500, "text/html; charset=utf-8", "500", "secret"},
		"JSON, as the client likes it":   {middleware.ErrorHandler{}, failing(&pagi.StatusError{Status: 404, Message: "none"}), "application/json", 404, "application/problem+json", `{"detail":"none","status":404,"title":"Not Found"}`, "html"},
		"text, as the client likes it":   {middleware.ErrorHandler{}, failing(broken), "text/plain", 500, "text/plain; charset=utf-8", "Internal Server Error\n", "secret"},
		"nothing the client likes":       {middleware.ErrorHandler{}, failing(broken), "image/png", 500, "text/plain; charset=utf-8", "Internal Server Error\n", "secret"},
		"JSON, as the site likes it":     {middleware.ErrorHandler{ContentType: "application/json"}, failing(broken), "text/html", 500, "application/problem+json", `"status":500`, "secret"},
		"in development":                 {middleware.ErrorHandler{Development: true}, failing(broken), "text/html", 500, "text/html; charset=utf-8", "secret &lt;b&gt;", "<b>"},
		"in the environment development": {middleware.ErrorHandler{Environment: "development"}, failing(broken), "text/html", 500, "text/html; charset=utf-8", "secret", "<b>"},
		"a panic in development":         {middleware.ErrorHandler{Development: true}, panics, "", 500, "text/html; charset=utf-8", "error_handler_test.go", "<i>"},
		"JSON in development":            {middleware.ErrorHandler{Development: true}, panics, "application/json", 500, "application/problem+json", `"detail":"panic: oh`, "<i>"},
		"text in development":            {middleware.ErrorHandler{Development: true}, panics, "text/plain", 500, "text/plain; charset=utf-8", "goroutine", ""},
	} {
		tc.m.Logger = quiet
		told := 0
		tc.m.OnError = func(context.Context, *pagi.Scope, error) { told++ }
		var opts []pagitest.Option
		if tc.accept != "" {
			opts = append(opts, pagitest.Header("accept", tc.accept))
		}
		res := pagitest.New(tc.m.Wrap(tc.app)).Get("/", opts...)
		if res.Err != nil || res.Status != tc.status || res.Header("content-type") != tc.typ || !strings.Contains(res.Text(), tc.has) || tc.not != "" && strings.Contains(res.Text(), tc.not) || told != 1 {
			t.Errorf("%s: %v %d %v told %d times\n%s", name, res.Err, res.Status, res.Headers, told, res.Text())
		}
	}
}

func TestErrorHandlerKeepsTheHeadersOfAnError(t *testing.T) {
	err := &pagi.StatusError{Status: 429, Headers: pagi.NewHeaders("retry-after", "5", "content-type", "x/y")}
	res := pagitest.New(middleware.ErrorHandler{Logger: quiet}.Wrap(failing(err))).Get("/")
	if res.Err != nil || res.Status != 429 || res.Header("retry-after") != "5" || res.Header("content-type") != "text/html; charset=utf-8" {
		t.Errorf("%v %d %v", res.Err, res.Status, res.Headers)
	}
}

func TestErrorHandlerLeavesOtherThingsAlone(t *testing.T) {
	broken := errors.New("broken")
	told := 0
	h := middleware.ErrorHandler{Logger: quiet, OnError: func(context.Context, *pagi.Scope, error) { told++ }}
	begun := pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		return errors.Join(send(ctx, pagi.HTTPResponseStart{Status: 200}), broken)
	})
	var events []pagi.Event
	record := func(_ context.Context, ev pagi.Event) error { events = append(events, ev); return nil }
	scope := &pagi.Scope{Type: pagi.TypeHTTP}
	if err := h.Wrap(begun).Serve(t.Context(), scope, nil, record); !errors.Is(err, broken) || len(events) != 1 || told != 1 {
		t.Errorf("a response that has begun: %v, %v, told %d times", err, events, told)
	}
	left, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Wrap(failing(broken)).Serve(left, scope, nil, record); !errors.Is(err, broken) || len(events) != 1 {
		t.Errorf("a client that has left: %v, %v", err, events)
	}
	if err := h.Wrap(failing(pagi.Unsupported(scope))).Serve(t.Context(), scope, nil, record); !errors.Is(err, pagi.ErrUnsupported) || told != 1 {
		t.Errorf("a scope that is declined: %v, told %d times", err, told)
	}
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("panicked with %v", v)
		}
	}()
	abort := pagi.AppFunc(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { panic(http.ErrAbortHandler) })
	_ = h.Wrap(abort).Serve(t.Context(), scope, nil, record)
}

func TestErrorHandlerAnswersInOtherScopes(t *testing.T) {
	h := middleware.ErrorHandler{Logger: quiet, Status: 503}
	for _, typ := range []string{pagi.TypeSSE, pagi.TypeWebSocket} {
		status := 0
		send := func(_ context.Context, ev pagi.Event) error {
			switch e := ev.(type) {
			case pagi.SSEHTTPResponseStart:
				status = e.Status
			case pagi.WebSocketHTTPResponseStart:
				status = e.Status
			}
			return pagi.Validate(typ, ev)
		}
		scope := &pagi.Scope{Type: typ, Extensions: map[string]any{pagi.ExtDenialResponse: struct{}{}}}
		if err := h.Wrap(failing(errors.New("x"))).Serve(t.Context(), scope, nil, send); err != nil || status != 503 {
			t.Errorf("%s: %v, %d", typ, err, status)
		}
	}
}

func TestErrorPages(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"404.html": "<p>page of 404", "5xx.html": "<p>page of 5xx"})
	h := middleware.ErrorHandler{
		Pages: map[string]string{"404": filepath.Join(dir, "404.html"), "5xx": filepath.Join(dir, "5xx.html")},
		Paths: map[string]string{"403": "/errors/403", "410": "/gone", "4xx": "/errors/nothing"}, Logger: quiet,
	}
	respond := func(status int, body string) pagi.App {
		return answering(pagi.HTTPResponseStart{Status: status, Headers: pagi.NewHeaders("content-type", "text/plain", "content-length", fmt.Sprint(len(body)), "etag", `"x"`, "set-cookie", "a=b")},
			pagi.HTTPResponseBody{Body: []byte(body[:1]), More: true}, pagi.HTTPFullFlush{}, pagi.HTTPResponseBody{Body: []byte(body[1:])})
	}
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		switch scope.Path {
		case "/errors/403":
			if scope.Method != "GET" || scope.QueryString != "" || scope.Headers.Has("content-type") || scope.Headers.Has("if-none-match") {
				t.Errorf("the page is asked for with %v", scope)
			}
			return answering(pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "text/html")}, pagi.HTTPResponseBody{Body: []byte("<p>page by the application")}).Serve(ctx, scope, receive, send)
		case "/errors/nothing", "/gone":
			return respond(410, "gone itself").Serve(ctx, scope, receive, send)
		case "/fails":
			return errors.New("broken")
		}
		status := 0
		if _, err := fmt.Sscanf(scope.Path, "/%d", &status); err != nil {
			return err
		}
		return respond(status, "the application's own").Serve(ctx, scope, receive, send)
	})
	for name, tc := range map[string]struct {
		path, accept string
		development  bool
		status       int
		typ, body    string
	}{
		"a good response":                      {"/200", "", false, 200, "text/plain", "the application's own"},
		"a page in a file":                     {"/404", "", false, 404, "text/html; charset=utf-8", "<p>page of 404"},
		"a page of a class":                    {"/502", "", false, 502, "text/html; charset=utf-8", "<p>page of 5xx"},
		"a page of a failure":                  {"/fails", "", false, 500, "text/html; charset=utf-8", "<p>page of 5xx"},
		"a client that does not accept it":     {"/404", "application/json", false, 404, "text/plain", "the application's own"},
		"a page by the application":            {"/403", "", false, 403, "text/html", "<p>page by the application"},
		"a page by the application that fails": {"/410", "text/plain", false, 410, "text/plain; charset=utf-8", "Gone\n"},
		"failures in development":              {"/502", "", true, 502, "text/plain", "the application's own"},
		"other pages in development":           {"/404", "", true, 404, "text/html; charset=utf-8", "<p>page of 404"},
	} {
		m := h
		m.Development = tc.development
		if err := m.Check(); err != nil {
			t.Fatal(err)
		}
		opts := []pagitest.Option{pagitest.Body("x"), pagitest.Header("content-type", "text/x"), pagitest.Header("if-none-match", `"y"`)}
		if tc.accept != "" {
			opts = append(opts, pagitest.Header("accept", tc.accept))
		}
		res := pagitest.New(m.Wrap(app)).Post(tc.path+"?q", opts...)
		if res.Err != nil || res.Status != tc.status || res.Header("content-type") != tc.typ || res.Text() != tc.body {
			t.Errorf("%s: %v %d %v %q", name, res.Err, res.Status, res.Headers, res.Text())
		}
		if replaced := !strings.Contains(tc.body, "own"); tc.path != "/fails" && (res.Header("set-cookie") != "a=b" || replaced == res.Headers.Has("etag")) {
			t.Errorf("%s: %v", name, res.Headers)
		}
	}
	for want, m := range map[string]middleware.ErrorHandler{
		`pages: "200" must be a status from 400 to 599, 4xx or 5xx`:                   {Pages: map[string]string{"200": "/x"}},
		`pages: 404: / is no file`:                                                    {Pages: map[string]string{"404": "/"}},
		`pages: 404: stat /nowhere: no such file or directory`:                        {Pages: map[string]string{"404": "/nowhere"}},
		`paths: "x" must begin with a slash`:                                          {Paths: map[string]string{"404": "x"}},
		`content_type: "text/xml" is none of text/html, application/json, text/plain`: {ContentType: "text/xml"},
		`status: must be 400 to 599, is 200`:                                          {Status: 200},
	} {
		checkFails(t, m, want)
	}
}

// The goroutine that reads a WebSocket and the one that writes both close it.
func TestErrorHandlerOfAnApplicationWithTwoGoroutines(t *testing.T) {
	app := pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		if err := send(ctx, pagi.WebSocketAccept{}); err != nil {
			return err
		}
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() { _ = send(ctx, pagi.WebSocketClose{}) }) // the second one may fail
		}
		both.Wait()
		return nil
	})
	if ws := pagitest.New(middleware.ErrorHandler{}.Wrap(app)).WebSocket("/"); !ws.Accepted || ws.Finish() != nil {
		t.Error("the WebSocket was not accepted")
	}
}
