package nethttp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

// drive runs app with one scripted request and returns what it sent.
func drive(t *testing.T, app pagi.App, scope *pagi.Scope, in ...pagi.Event) ([]pagi.Event, error) {
	t.Helper()
	var out []pagi.Event
	receive := func(context.Context) (pagi.Event, error) {
		if len(in) == 0 {
			return pagi.HTTPDisconnect{}, nil
		}
		ev := in[0]
		in = in[1:]
		return ev, nil
	}
	send := func(_ context.Context, ev pagi.Event) error {
		if b, ok := ev.(pagi.HTTPResponseBody); ok && b.Body != nil {
			b.Body = bytes.Clone(b.Body)
			ev = b
		}
		out = append(out, ev)
		return pagi.Validate(pagi.TypeHTTP, ev)
	}
	err := app.Serve(t.Context(), scope, receive, send)
	return out, err
}

func handle(f http.HandlerFunc) pagi.App { return App(f) }

func TestAppRequest(t *testing.T) {
	scope := &pagi.Scope{
		Type: pagi.TypeHTTP, HTTPVersion: "1.1", Method: "POST", Scheme: "https",
		Path: "/a b/c", RawPath: "/app/a%20b%2Fc", RootPath: "/app", QueryString: "x=1;2",
		Headers: pagi.Headers{{Name: "host", Value: "example.org"}, {Name: "x-a", Value: "1"}, {Name: "x-a", Value: "2"}, {Name: "content-length", Value: "3"}},
		Client:  pagi.Addr{Host: "::1", Port: 1234}, Server: pagi.Addr{Host: "192.0.2.1", Port: 443},
		Extensions: map[string]any{pagi.ExtTLS: &pagi.TLS{Version: 0x0304, CipherSuite: 0x1301}},
	}
	_, err := drive(t, handle(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		got := []any{r.Method, r.URL.Path, r.URL.EscapedPath(), r.URL.RawQuery, r.RequestURI, r.Host, r.Header["X-A"],
			r.ContentLength, r.RemoteAddr, r.Proto, string(body), err, r.TLS.Version, fmt.Sprint(r.Context().Value(http.LocalAddrContextKey))}
		want := []any{"POST", "/a b/c", "/a%20b%2Fc", "x=1;2", "/app/a%20b%2Fc?x=1;2", "example.org", []string{"1", "2"},
			int64(3), "[::1]:1234", "HTTP/1.1", "abc", nil, uint16(0x0304), "192.0.2.1:443"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if r.Header.Get("Host") != "" {
			t.Error("host stands among the headers")
		}
	}), scope, pagi.HTTPRequest{Body: []byte("ab"), More: true}, pagi.HTTPRequest{Body: []byte("c")})
	if err != nil {
		t.Error(err)
	}
}

func TestAppAtTheRootOfAMount(t *testing.T) {
	for target, want := range map[string]string{"/app": "/ / /app", "/app/": "/ / /app/", "/app?": "/ /? /app?"} {
		path, _, _ := strings.Cut(target, "?")
		scope := (&pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Path: path, RawPath: path, Target: target}).Mount("/app")
		_, err := drive(t, handle(func(w http.ResponseWriter, r *http.Request) {
			if got := r.URL.Path + " " + r.URL.RequestURI() + " " + r.RequestURI; got != want {
				t.Errorf("%s: %s, want %s", target, got, want)
			}
		}), scope, pagi.HTTPRequest{})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestAppBodyPresence(t *testing.T) {
	for _, tt := range []struct {
		name, method, length string
		in                   []pagi.Event
		want                 int64
		body                 string
		err                  error
	}{
		{"GET without a length has none", "GET", "", nil, 0, "", nil},
		{"length 0", "POST", "0", nil, 0, "", nil},
		{"POST without a length and without a body", "POST", "", []pagi.Event{pagi.HTTPRequest{}}, 0, "", nil},
		{"POST of unknown length", "POST", "", []pagi.Event{pagi.HTTPRequest{Body: []byte("a"), More: true}, pagi.HTTPRequest{}}, -1, "a", nil},
		{"client leaves", "POST", "5", []pagi.Event{pagi.HTTPRequest{Body: []byte("a"), More: true}, pagi.HTTPDisconnect{}}, 5, "a", request.ErrDisconnected},
	} {
		t.Run(tt.name, func(t *testing.T) {
			scope := &pagi.Scope{Type: pagi.TypeHTTP, Method: tt.method, Path: "/"}
			if tt.length != "" {
				scope.Headers = pagi.NewHeaders("content-length", tt.length)
			}
			_, err := drive(t, handle(func(w http.ResponseWriter, r *http.Request) {
				b, err := io.ReadAll(r.Body)
				if r.ContentLength != tt.want || string(b) != tt.body || !errors.Is(err, tt.err) || (r.Body == http.NoBody) != (tt.want == 0) {
					t.Errorf("length %d, body %q, %v", r.ContentLength, b, err)
				}
			}), scope, tt.in...)
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAppResponse(t *testing.T) {
	big := strings.Repeat("x", writerBuffer)
	text := pagi.NewHeaders("content-type", "text/plain; charset=utf-8")
	for _, tt := range []struct {
		name string
		h    http.HandlerFunc
		want []pagi.Event
	}{
		{"nothing is 200", func(w http.ResponseWriter, r *http.Request) {},
			[]pagi.Event{pagi.HTTPResponseStart{Status: 200, Headers: pagi.Headers{}}, pagi.HTTPResponseBody{}}},
		{"small body is one event, its type guessed", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "a"); io.WriteString(w, "b") },
			[]pagi.Event{pagi.HTTPResponseStart{Status: 200, Headers: text}, pagi.HTTPResponseBody{Body: []byte("ab")}}},
		{"large body streams", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "a"); io.WriteString(w, big) },
			[]pagi.Event{pagi.HTTPResponseStart{Status: 200, Headers: text, Trailers: true}, pagi.HTTPResponseBody{Body: []byte("a"), More: true},
				pagi.HTTPResponseBody{Body: []byte(big), More: true}, pagi.HTTPResponseBody{}, pagi.HTTPResponseTrailers{Headers: pagi.Headers{}}}},
		{"status, headers, no second status", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Add("X-B", "1")
			w.Header().Add("X-B", "2")
			w.Header().Set("A", "3")
			w.WriteHeader(404)
			w.WriteHeader(500)
			w.Header().Set("Late", "1")
		}, []pagi.Event{pagi.HTTPResponseStart{Status: 404, Headers: pagi.Headers{{Name: "a", Value: "3"}, {Name: "x-b", Value: "1"}, {Name: "x-b", Value: "2"}}}, pagi.HTTPResponseBody{}}},
		{"flush", func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).Flush()
			io.WriteString(w, "a")
			w.(http.Flusher).Flush()
		}, []pagi.Event{pagi.HTTPResponseStart{Status: 200, Headers: pagi.Headers{}, Trailers: true}, pagi.HTTPResponseBody{More: true},
			pagi.HTTPResponseBody{Body: []byte("a"), More: true}, pagi.HTTPResponseBody{}, pagi.HTTPResponseTrailers{Headers: pagi.Headers{}}}},
		{"interim response", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "<x>")
			w.WriteHeader(103)
			w.Header().Del("Link")
			w.WriteHeader(204)
			if _, err := io.WriteString(w, "x"); err != http.ErrBodyNotAllowed {
				t.Errorf("write: %v", err)
			}
		}, []pagi.Event{pagi.HTTPResponseInformational{Status: 103, Headers: pagi.NewHeaders("link", "<x>")},
			pagi.HTTPResponseStart{Status: 204, Headers: pagi.Headers{}}, pagi.HTTPResponseBody{}}},
		{"trailers, declared and not", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-A")
			w.Header().Set("Content-Type", "x/y")
			io.WriteString(w, "a")
			w.Header().Set("X-A", "1")
			w.Header().Set(http.TrailerPrefix+"X-B", "2")
		}, []pagi.Event{pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "x/y", "trailer", "X-A"), Trailers: true},
			pagi.HTTPResponseBody{Body: []byte("a")}, pagi.HTTPResponseTrailers{Headers: pagi.NewHeaders("x-a", "1", "x-b", "2")}}},
		{"trailers nobody declared", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "x/y")
			io.WriteString(w, "a")
			w.Header().Set(http.TrailerPrefix+"X-B", "2")
		}, []pagi.Event{pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "x/y"), Trailers: true},
			pagi.HTTPResponseBody{Body: []byte("a")}, pagi.HTTPResponseTrailers{Headers: pagi.NewHeaders("x-b", "2")}}},
		{"more than content-length", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1")
			w.Header().Set("Content-Type", "x/y")
			io.WriteString(w, "a")
			if _, err := io.WriteString(w, "b"); err != http.ErrContentLength {
				t.Errorf("write: %v", err)
			}
		}, []pagi.Event{pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-length", "1", "content-type", "x/y")}, pagi.HTTPResponseBody{Body: []byte("a")}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			scope := &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Path: "/", Extensions: map[string]any{pagi.ExtFullFlush: struct{}{}, pagi.ExtInformational: struct{}{}}}
			got, err := drive(t, handle(tt.h), scope)
			if err != nil {
				t.Error(err)
			}
			for i, ev := range got {
				if b, ok := ev.(pagi.HTTPResponseBody); ok && len(b.Body) == 0 {
					b.Body = nil
					got[i] = b
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAppDeclinesOtherScopes(t *testing.T) {
	for _, typ := range []string{pagi.TypeLifespan, pagi.TypeSSE} {
		if _, err := drive(t, handle(nil), &pagi.Scope{Type: typ}); !errors.Is(err, pagi.ErrUnsupported) {
			t.Errorf("%s: %v", typ, err)
		}
	}
}

func TestAppSendsFilesAsEvents(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 10_000)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f.txt"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, rng, method string
		want              []byte
		events            int // file events
	}{
		{"whole", "", "GET", content, 1},
		{"range", "bytes=10-49999", "GET", content[10:50_000], 1},
		{"head", "", "HEAD", nil, 0},
		{"several ranges", "bytes=0-9,100-109", "GET", nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := 0
			counted := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
				return handle(http.FileServer(http.Dir(dir)).ServeHTTP).Serve(ctx, scope, receive, func(ctx context.Context, ev pagi.Event) error {
					if b, ok := ev.(pagi.HTTPResponseBody); ok && b.FH != nil {
						files++
					}
					return send(ctx, ev)
				})
			})
			srv := httptest.NewServer(&Adapter{Engine: &engine.Handler{App: counted, Timeouts: engine.Timeouts{WriteTimeout: time.Minute}}})
			defer srv.Close()
			r, err := http.NewRequest(tt.method, srv.URL+"/f.txt", nil)
			if err != nil {
				t.Fatal(err)
			}
			if tt.rng != "" {
				r.Header.Set("Range", tt.rng)
			}
			res, err := srv.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || tt.want != nil && !bytes.Equal(body, tt.want) || res.StatusCode >= 300 {
				t.Errorf("%v, %d bytes, %v", res, len(body), err)
			}
			if files != tt.events {
				t.Errorf("%d file events", files)
			}
		})
	}
}

func TestRoundTripThroughBothBridges(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo/{name}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Name", r.PathValue("name"))
		io.Copy(w, r.Body)
	})
	mux.HandleFunc("/abort", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	log := &testkit.Log{}
	srv := httptest.NewServer(&Adapter{Engine: &engine.Handler{
		App: App(mux), Logger: slog.New(slog.DiscardHandler),
		Observers: []engine.Observer{engine.ObserverFunc(func(r *engine.Record) { fmt.Fprintln(log, r.Reason) })},
	}})
	defer srv.Close()
	body := strings.Repeat("hello ", 10_000)
	res, err := srv.Client().Post(srv.URL+"/echo/jo", "text/plain", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || string(got) != body || res.Header.Get("X-Name") != "jo" {
		t.Errorf("%v, %d bytes, %v", res, len(got), err)
	}
	if _, err := srv.Client().Get(srv.URL + "/abort"); err == nil {
		t.Error("abort was not seen")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, "GET", srv.URL+"/wait", nil)
	if _, err := srv.Client().Do(r); err == nil {
		t.Error("wait answered")
	}
	testkit.Eventually(t, "the end of the waiting handler", func() bool { return strings.Contains(log.String(), pagi.ReasonClientClosed) })
}
