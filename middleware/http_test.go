package middleware_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	chi "github.com/go-chi/chi/v5/middleware"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// seen is an application that keeps its scope and answers with text.
type seen struct {
	scope *pagi.Scope
	value any
}

func (s *seen) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type == pagi.TypeSSE {
		return pagi.Unsupported(scope)
	}
	s.scope, s.value = scope, ctx.Value(chi.RequestIDKey)
	if scope.Path == "/panic" {
		panic("a bug")
	}
	if scope.Path == "/teapot" {
		return &pagi.StatusError{Status: 418, Message: "short and stout"}
	}
	if err := send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "text/plain")}); err != nil {
		return err
	}
	return send(ctx, pagi.HTTPResponseBody{Body: []byte(strings.Repeat("hello ", 1000))})
}

// realIP does what chi's RealIP does, for a proxy that is trusted.
func realIP(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ip := r.Header.Get("X-Real-IP"); ip != "" {
			r.RemoteAddr, r.URL.Scheme = ip, "https"
		}
		next.ServeHTTP(w, r)
	})
}

func TestMiddlewareOfOthersInAChain(t *testing.T) {
	t.Run("a changed request", func(t *testing.T) {
		app := &seen{}
		client := pagitest.New(pagi.Chain(app, middleware.HTTP(chi.RequestID), middleware.HTTP(realIP), middleware.HTTP(chi.StripSlashes), middleware.HTTP(chi.SetHeader("X-Out", "1"))))
		client.RootPath = "/mounted"
		res := client.Get("/a%20b/?q=1", pagitest.Header("x-real-ip", "192.0.2.7"), pagitest.Edit(func(s *pagi.Scope) {
			s.Stash.Set("key", "shared")
			*s = *s.With("app.value", 7)
		}))
		if res.Err != nil || res.Status != 200 || res.Header("x-out") != "1" {
			t.Fatalf("%d, %v, %v", res.Status, res.Headers, res.Err)
		}
		s := app.scope
		if s.Path != "/a b" || s.RootPath != "/mounted" || s.QueryString != "q=1" || s.Target != "/mounted/a%20b/?q=1" || s.Client.Host != "192.0.2.7" || s.Scheme != "https" {
			t.Errorf("%+v", s)
		}
		if v, _ := s.Stash.Get("key"); v != "shared" || s.Value("app.value") != 7 {
			t.Error("the scope's values are lost")
		}
		if id, _ := app.value.(string); id == "" {
			t.Error("the value in the request's context is lost")
		}
	})
	t.Run("nothing changed", func(t *testing.T) {
		app := &seen{}
		client := pagitest.New(middleware.HTTP(func(h http.Handler) http.Handler { return h }).Wrap(app))
		client.RootPath = "/mounted"
		res := client.Get("/", pagitest.Edit(func(s *pagi.Scope) { s.Path, s.RawPath, s.Target = "", "/mounted", "/mounted" }))
		if s := app.scope; res.Err != nil || s.Path != "" || s.RootPath != "/mounted" || s.Client.Port == 0 || s.Server.Port == 0 {
			t.Errorf("%+v, %v", s, res.Err)
		}
	})
	t.Run("a prefix cut off", func(t *testing.T) {
		app := &seen{}
		res := pagitest.New(middleware.HTTP(func(h http.Handler) http.Handler { return http.StripPrefix("/api", h) }).Wrap(app)).Get("/api/users")
		if s := app.scope; res.Err != nil || s.Path != "/users" || s.RootPath != "/api" {
			t.Errorf("%+v, %v", s, res.Err)
		}
	})
	t.Run("a changed response", func(t *testing.T) {
		res := pagitest.New(middleware.HTTP(chi.Compress(5)).Wrap(&seen{})).Get("/", pagitest.Header("accept-encoding", "gzip"))
		if res.Err != nil || res.Header("content-encoding") != "gzip" {
			t.Fatalf("%v, %v", res.Headers, res.Err)
		}
		r, err := gzip.NewReader(bytes.NewReader(res.Body))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil || string(text) != strings.Repeat("hello ", 1000) {
			t.Errorf("%d bytes, %v", len(text), err)
		}
	})
	t.Run("its own answer", func(t *testing.T) {
		app := &seen{}
		res := pagitest.New(middleware.HTTP(chi.BasicAuth("here", map[string]string{"ann": "secret"})).Wrap(app)).Get("/")
		if res.Err != nil || res.Status != 401 || res.Header("www-authenticate") == "" || app.scope != nil {
			t.Errorf("%d, %v, %v", res.Status, res.Headers, res.Err)
		}
	})
	t.Run("a limit of the body", func(t *testing.T) {
		var got error
		app := pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
			for {
				ev, err := receive(ctx)
				if piece, ok := ev.(pagi.HTTPRequest); err != nil || !ok || !piece.More {
					got = err
					return err
				}
			}
		})
		res := pagitest.New(middleware.HTTP(func(h http.Handler) http.Handler { return http.MaxBytesHandler(h, 10) }).Wrap(app)).Post("/", pagitest.Body(strings.Repeat("x", 1000)))
		if res.Status != 413 {
			t.Errorf("%d, %v, %v", res.Status, got, res.Err)
		}
	})
}

// An error of the application is returned, whatever the middleware has made of the response.
func TestMiddlewareOfOthersAndErrors(t *testing.T) {
	client := pagitest.New(middleware.HTTP(chi.SetHeader("X-Out", "1")).Wrap(&seen{}))
	res := client.Get("/teapot")
	var status *pagi.StatusError
	if res.Status != 418 || !errors.As(res.Err, &status) {
		t.Errorf("%d, %v", res.Status, res.Err)
	}
	res = client.Get("/panic")
	var panicked *pagi.PanicError
	if res.Status != 500 || !errors.As(res.Err, &panicked) || panicked.Value != "a bug" {
		t.Errorf("%d, %v", res.Status, res.Err)
	}
}

// The application runs on after http.TimeoutHandler has answered, but not after Serve has returned.
func TestATimeoutOfOthers(t *testing.T) {
	started, ended := false, false
	app := pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, _ pagi.Send) error {
		started = true
		<-ctx.Done()
		ended = true
		return nil
	})
	chain := middleware.HTTP(func(h http.Handler) http.Handler { return http.TimeoutHandler(h, 20*time.Millisecond, "too slow") }).Wrap(app)
	res := pagitest.New(chain).Get("/")
	if res.Status != 503 || res.Text() != "too slow" || started != ended { // on a busy machine it may never start
		t.Errorf("%d %q, %v, started %v, ended %v", res.Status, res.Text(), res.Err, started, ended)
	}
}

// Event streams and WebSockets pass through middleware that knows neither.
func TestMiddlewareOfOthersAndOtherScopes(t *testing.T) {
	types := make(chan string, 10)
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		types <- scope.Type
		if scope.Headers.Get("x-chain") != "1" {
			t.Error("the middleware was left out")
		}
		switch scope.Type {
		case pagi.TypeSSE:
			for _, ev := range []pagi.Event{pagi.SSEStart{}, pagi.SSESend{Data: "tick"}, pagi.SSEClose{}} {
				if err := send(ctx, ev); err != nil {
					return err
				}
			}
			return nil
		case pagi.TypeWebSocket:
			if _, err := receive(ctx); err != nil {
				return err
			}
			if err := send(ctx, pagi.WebSocketAccept{}); err != nil {
				return err
			}
			ev, err := receive(ctx)
			if err != nil {
				return err
			}
			return send(ctx, pagi.WebSocketSend{Text: "got " + ev.(pagi.WebSocketReceive).Text})
		}
		return pagi.Unsupported(scope)
	})
	mark := middleware.HTTP(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Set("X-Chain", "1")
			h.ServeHTTP(w, r)
		})
	})
	client := pagitest.New(mark.Wrap(app))
	stream := client.Events("/")
	if ev, ok := stream.Next(); !ok || ev.Data != "tick" {
		t.Errorf("%+v, %v", ev, ok)
	}
	if res := stream.Finish(); res.Err != nil || <-types != pagi.TypeSSE {
		t.Errorf("%v", res.Err)
	}
	ws := client.WebSocket("/")
	if err := ws.SendText("hello"); err != nil {
		t.Fatal(err)
	}
	if text, err := ws.ReceiveText(); text != "got hello" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if err := ws.Finish(); err != nil || <-types != pagi.TypeWebSocket {
		t.Error(err)
	}
}

func TestTheLifespanPassesMiddlewareOfOthers(t *testing.T) {
	started := false
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		started = scope.Type == pagi.TypeLifespan
		return pagi.Unsupported(scope)
	})
	pagitest.Start(t, middleware.HTTP(chi.NoCache).Wrap(app))
	if !started {
		t.Error("the application was not started")
	}
}

func ExampleHTTP() {
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
			return err
		}
		return send(ctx, pagi.HTTPResponseBody{Body: []byte("hello")})
	})
	chain := pagi.Chain(app, middleware.HTTP(chi.BasicAuth("here", map[string]string{"ann": "secret"})))
	client := pagitest.New(chain)
	fmt.Println(client.Get("/").Status)
	fmt.Println(client.Get("/", pagitest.Header("authorization", "Basic YW5uOnNlY3JldA==")).Text())
	// Output:
	// 401
	// hello
}
