package pagi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// drive runs app with one scripted request and returns what it sent.
func drive(t *testing.T, app App, scope *Scope, in ...Event) ([]Event, error) {
	t.Helper()
	var out []Event
	receive := func(context.Context) (Event, error) {
		if len(in) == 0 {
			return HTTPDisconnect{}, nil
		}
		ev := in[0]
		in = in[1:]
		return ev, nil
	}
	send := func(_ context.Context, ev Event) error {
		if b, ok := ev.(HTTPResponseBody); ok && b.Body != nil {
			b.Body = bytes.Clone(b.Body)
			ev = b
		}
		out = append(out, ev)
		return Validate(TypeHTTP, ev)
	}
	err := app.Serve(t.Context(), scope, receive, send)
	return out, err
}

func handle(f http.HandlerFunc) App { return FromHTTP(f) }

func TestFromHTTPRequest(t *testing.T) {
	scope := &Scope{
		Type: TypeHTTP, HTTPVersion: "1.1", Method: "POST", Scheme: "https",
		Path: "/a b/c", RawPath: "/app/a%20b%2Fc", RootPath: "/app", QueryString: "x=1;2",
		Headers: Headers{{"host", "example.org"}, {"x-a", "1"}, {"x-a", "2"}, {"content-length", "3"}},
		Client:  Addr{"::1", 1234}, Server: Addr{"192.0.2.1", 443},
		Extensions: map[string]any{ExtTLS: &TLS{Version: 0x0304, CipherSuite: 0x1301}},
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
	}), scope, HTTPRequest{Body: []byte("ab"), More: true}, HTTPRequest{Body: []byte("c")})
	if err != nil {
		t.Error(err)
	}
}

func TestFromHTTPBodyPresence(t *testing.T) {
	for _, tt := range []struct {
		name, method, length string
		in                   []Event
		want                 int64
		body                 string
		err                  error
	}{
		{"GET without a length has none", "GET", "", nil, 0, "", nil},
		{"length 0", "POST", "0", nil, 0, "", nil},
		{"POST without a length and without a body", "POST", "", []Event{HTTPRequest{}}, 0, "", nil},
		{"POST of unknown length", "POST", "", []Event{HTTPRequest{Body: []byte("a"), More: true}, HTTPRequest{}}, -1, "a", nil},
		{"client leaves", "POST", "5", []Event{HTTPRequest{Body: []byte("a"), More: true}, HTTPDisconnect{}}, 5, "a", ErrDisconnected},
	} {
		t.Run(tt.name, func(t *testing.T) {
			scope := &Scope{Type: TypeHTTP, Method: tt.method, Path: "/"}
			if tt.length != "" {
				scope.Headers = NewHeaders("content-length", tt.length)
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

func TestFromHTTPResponse(t *testing.T) {
	big := strings.Repeat("x", writerBuffer)
	text := NewHeaders("content-type", "text/plain; charset=utf-8")
	for _, tt := range []struct {
		name string
		h    http.HandlerFunc
		want []Event
	}{
		{"nothing is 200", func(w http.ResponseWriter, r *http.Request) {},
			[]Event{HTTPResponseStart{Status: 200, Headers: Headers{}}, HTTPResponseBody{}}},
		{"small body is one event, its type guessed", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "a"); io.WriteString(w, "b") },
			[]Event{HTTPResponseStart{Status: 200, Headers: text}, HTTPResponseBody{Body: []byte("ab")}}},
		{"large body streams", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "a"); io.WriteString(w, big) },
			[]Event{HTTPResponseStart{Status: 200, Headers: text, Trailers: true}, HTTPResponseBody{Body: []byte("a"), More: true},
				HTTPResponseBody{Body: []byte(big), More: true}, HTTPResponseBody{}, HTTPResponseTrailers{Headers: Headers{}}}},
		{"status, headers, no second status", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Add("X-B", "1")
			w.Header().Add("X-B", "2")
			w.Header().Set("A", "3")
			w.WriteHeader(404)
			w.WriteHeader(500)
			w.Header().Set("Late", "1")
		}, []Event{HTTPResponseStart{Status: 404, Headers: Headers{{"a", "3"}, {"x-b", "1"}, {"x-b", "2"}}}, HTTPResponseBody{}}},
		{"flush", func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).Flush()
			io.WriteString(w, "a")
			w.(http.Flusher).Flush()
		}, []Event{HTTPResponseStart{Status: 200, Headers: Headers{}, Trailers: true}, HTTPResponseBody{More: true},
			HTTPResponseBody{Body: []byte("a"), More: true}, HTTPResponseBody{}, HTTPResponseTrailers{Headers: Headers{}}}},
		{"interim response", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "<x>")
			w.WriteHeader(103)
			w.Header().Del("Link")
			w.WriteHeader(204)
			if _, err := io.WriteString(w, "x"); err != http.ErrBodyNotAllowed {
				t.Errorf("write: %v", err)
			}
		}, []Event{HTTPResponseInformational{Status: 103, Headers: NewHeaders("link", "<x>")},
			HTTPResponseStart{Status: 204, Headers: Headers{}}, HTTPResponseBody{}}},
		{"trailers, declared and not", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-A")
			w.Header().Set("Content-Type", "x/y")
			io.WriteString(w, "a")
			w.Header().Set("X-A", "1")
			w.Header().Set(http.TrailerPrefix+"X-B", "2")
		}, []Event{HTTPResponseStart{Status: 200, Headers: NewHeaders("content-type", "x/y", "trailer", "X-A"), Trailers: true},
			HTTPResponseBody{Body: []byte("a")}, HTTPResponseTrailers{Headers: NewHeaders("x-a", "1", "x-b", "2")}}},
		{"trailers nobody declared", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "x/y")
			io.WriteString(w, "a")
			w.Header().Set(http.TrailerPrefix+"X-B", "2")
		}, []Event{HTTPResponseStart{Status: 200, Headers: NewHeaders("content-type", "x/y"), Trailers: true},
			HTTPResponseBody{Body: []byte("a")}, HTTPResponseTrailers{Headers: NewHeaders("x-b", "2")}}},
		{"more than content-length", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1")
			w.Header().Set("Content-Type", "x/y")
			io.WriteString(w, "a")
			if _, err := io.WriteString(w, "b"); err != http.ErrContentLength {
				t.Errorf("write: %v", err)
			}
		}, []Event{HTTPResponseStart{Status: 200, Headers: NewHeaders("content-length", "1", "content-type", "x/y")}, HTTPResponseBody{Body: []byte("a")}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			scope := &Scope{Type: TypeHTTP, Method: "GET", Path: "/", Extensions: plainExtensions}
			got, err := drive(t, handle(tt.h), scope)
			if err != nil {
				t.Error(err)
			}
			for i, ev := range got {
				if b, ok := ev.(HTTPResponseBody); ok && len(b.Body) == 0 {
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

func TestFromHTTPDeclinesOtherScopes(t *testing.T) {
	for _, typ := range []string{TypeLifespan, TypeWebSocket} {
		if _, err := drive(t, handle(nil), &Scope{Type: typ}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", typ, err)
		}
	}
}

func TestFromHTTPSendsFilesAsEvents(t *testing.T) {
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
			counted := AppFunc(func(ctx context.Context, scope *Scope, receive Receive, send Send) error {
				return handle(http.FileServer(http.Dir(dir)).ServeHTTP).Serve(ctx, scope, receive, func(ctx context.Context, ev Event) error {
					if b, ok := ev.(HTTPResponseBody); ok && b.FH != nil {
						files++
					}
					return send(ctx, ev)
				})
			})
			srv := httptest.NewServer(&HTTPHandler{App: counted, WriteTimeout: time.Minute})
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
	srv := httptest.NewServer(&HTTPHandler{App: FromHTTP(mux), Logger: discard, Done: func(r *HTTPRecord) { fmt.Fprintln(log, r.Reason) }})
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
	testkit.Eventually(t, "the end of the waiting handler", func() bool { return strings.Contains(log.String(), ReasonClientClosed) })
}
