package nethttp_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
)

// A PAGI application takes its place in a Go program's mux.
func ExampleHandler() {
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeHTTP {
			return pagi.Unsupported(scope)
		}
		if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
			return err
		}
		text := fmt.Sprintf("path %s, mounted at %s", scope.Path, scope.RootPath)
		return send(ctx, pagi.HTTPResponseBody{Body: []byte(text)})
	})
	mux := http.NewServeMux()
	mux.Handle("/old/", http.StripPrefix("/old", nethttp.Handler(app)))
	srv := httptest.NewServer(mux)
	defer srv.Close()

	res, err := http.Get(srv.URL + "/old/page")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	fmt.Println(string(body), err)
	// Output: path /page, mounted at /old <nil>
}

// A net/http handler becomes an application that middleware can be put around.
func ExampleApp() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello/{name}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Hello, %s", r.PathValue("name"))
	})
	stamp := pagi.MiddlewareFunc(func(next pagi.App) pagi.App {
		return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
			return next.Serve(ctx, scope, receive, func(ctx context.Context, ev pagi.Event) error {
				if start, ok := ev.(pagi.HTTPResponseStart); ok {
					start.Headers = start.Headers.Clone()
					start.Headers.Set("x-served-by", "pagi")
					ev = start
				}
				return send(ctx, ev)
			})
		})
	})
	srv := httptest.NewServer(nethttp.Handler(pagi.Chain(nethttp.App(mux), stamp)))
	defer srv.Close()

	res, err := http.Get(srv.URL + "/hello/Jo")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	fmt.Println(res.Header.Get("X-Served-By"), string(body), err)
	// Output: pagi Hello, Jo <nil>
}
