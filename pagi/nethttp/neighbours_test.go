package nethttp_test

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
)

// recoverer answers in the place of a handler that panics, as chi's does; that one prints the stack.
func recoverer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// neighbours is a mux of handlers that people mount: chi's router with its middleware, and net/http's
// own.
func neighbours(t *testing.T) http.Handler {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(body)
		w.(http.Flusher).Flush()
		w.Header().Set("X-Sum", "42")
	}))
	t.Cleanup(backend.Close)
	to, err := url.Parse(backend.URL)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := chi.NewRouter()
	r.Use(chimiddleware.RequestID, recoverer, chimiddleware.Compress(5, "text/html"))
	r.Get("/users/{id:[0-9]+}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "user %s", chi.URLParam(r, "id"))
	})
	r.Get("/page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, strings.Repeat("<p>hello</p>", 100))
	})
	r.Get("/flush", func(w http.ResponseWriter, _ *http.Request) {
		for i := range 3 {
			fmt.Fprintln(w, i)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
		}
	})
	r.Get("/panic", func(http.ResponseWriter, *http.Request) { panic("a bug") })
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, ErrorLog: log.New(io.Discard, "", 0)}
	r.Handle("/proxy/*", proxy)
	r.Mount("/files", http.StripPrefix("/files", http.FileServer(http.Dir(dir))))
	return r
}

// Handlers of chi and of net/http answer below both bridges as they do below net/http alone.
func TestHandlersOfOthers(t *testing.T) {
	handler := neighbours(t)
	plain := httptest.NewServer(handler)
	defer plain.Close()
	bridged := httptest.NewServer(nethttp.Handler(nethttp.App(handler)))
	defer bridged.Close()
	wrapped := httptest.NewServer(nethttp.Handler(nethttp.Wrap(nethttp.App(handler), chimiddleware.NoCache)))
	defer wrapped.Close()
	for name, c := range map[string]struct {
		method, path, body string
		header             [2]string
	}{
		"a route of chi":            {"GET", "/users/7", "", [2]string{}},
		"no route of chi":           {"GET", "/users/x", "", [2]string{}},
		"the wrong method":          {"DELETE", "/users/7", "", [2]string{}},
		"a compressed page":         {"GET", "/page", "", [2]string{"Accept-Encoding", "gzip"}},
		"HEAD of a page":            {"HEAD", "/files/a.txt", "", [2]string{}},
		"flushes":                   {"GET", "/flush", "", [2]string{}},
		"a panic that is caught":    {"GET", "/panic", "", [2]string{}},
		"a file":                    {"GET", "/files/a.txt", "", [2]string{}},
		"a range of a file":         {"GET", "/files/a.txt", "", [2]string{"Range", "bytes=2-4"}},
		"two ranges":                {"GET", "/files/a.txt", "", [2]string{"Range", "bytes=0-0,9-9"}},
		"a range that is not there": {"GET", "/files/a.txt", "", [2]string{"Range", "bytes=20-"}},
		"a listing":                 {"GET", "/files/", "", [2]string{}},
		"a redirect of FileServer":  {"GET", "/files/a.txt/", "", [2]string{}},
		"a proxy":                   {"POST", "/proxy/x", strings.Repeat("body ", 20_000), [2]string{}},
		"a proxied small body":      {"PUT", "/proxy/x?y", "body", [2]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			answer := func(base string) string {
				r, err := http.NewRequest(c.method, base+c.path, strings.NewReader(c.body))
				if err != nil {
					t.Fatal(err)
				}
				if c.header[0] != "" {
					r.Header.Set(c.header[0], c.header[1])
				}
				res, err := http.DefaultTransport.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				body, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				for _, varies := range []string{"Date", "X-Request-Id", "Expires", "Cache-Control", "Pragma", "X-Accel-Expires"} {
					res.Header.Del(varies)
				}
				text := string(body)
				if _, boundary, multipart := strings.Cut(res.Header.Get("Content-Type"), "boundary="); multipart {
					text = strings.ReplaceAll(text, boundary, "BOUNDARY")
					res.Header.Set("Content-Type", "multipart/byteranges")
				}
				return fmt.Sprint(res.StatusCode, res.Header, res.Trailer, res.ContentLength, text)
			}
			want := answer(plain.URL)
			if got := answer(bridged.URL); got != want {
				t.Errorf("bridged:\n%.500s\nwant\n%.500s", got, want)
			}
			if got := answer(wrapped.URL); got != want {
				t.Errorf("wrapped:\n%.500s\nwant\n%.500s", got, want)
			}
		})
	}
}

// The client sends its body only when the handler asks for it.
func TestContinueOfAHandler(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = io.Copy(w, r.Body)
	})
	for name, app := range map[string]pagi.App{
		"App":  nethttp.App(handler),
		"Wrap": nethttp.Wrap(nethttp.App(handler), chimiddleware.NoCache),
	} {
		srv := httptest.NewServer(nethttp.Handler(app))
		for path, want := range map[string]bool{"/": true, "/refuse": false} {
			continued := false
			trace := &httptrace.ClientTrace{Got100Continue: func() { continued = true }}
			r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "POST", srv.URL+path, strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Expect", "100-continue")
			res, err := (&http.Transport{ExpectContinueTimeout: 1 << 40}).RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || continued != want || want && string(body) != "body" || !want && res.StatusCode != 403 {
				t.Errorf("%s of %s: %d %q, continued %v, %v", path, name, res.StatusCode, body, continued, err)
			}
		}
		srv.Close()
	}
}

// An http scope's connection cannot be hijacked, and the handler is told so.
func TestHijackOutsideAHandshake(t *testing.T) {
	var hijack error
	srv := httptest.NewServer(nethttp.Handler(nethttp.App(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var c net.Conn
		var b *bufio.ReadWriter
		if c, b, hijack = http.NewResponseController(w).Hijack(); c != nil || b != nil {
			t.Error("a connection in spite of the error")
		}
	}))))
	defer srv.Close()
	res, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if hijack == nil || res.StatusCode != 200 {
		t.Errorf("%v, %d", hijack, res.StatusCode)
	}
}
