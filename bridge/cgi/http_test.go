//go:build unix

package cgi_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	httpcgi "net/http/cgi"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/cgi"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
)

const scripts = "testdata/cgi-bin"

// serve mounts the scripts under /cgi-bin on a real socket.
func serve(t testing.TB, options cgi.CGI) *httptest.Server {
	t.Helper()
	options.Logger = slog.New(slog.DiscardHandler)
	app, err := options.Build()
	if err != nil {
		t.Fatal(err)
	}
	handler := nethttp.Handler(pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type == pagi.TypeHTTP {
			scope = scope.Mount("/cgi-bin")
		}
		return app.Serve(ctx, scope, receive, send)
	}))
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

func fetch(t *testing.T, req *http.Request) (int, http.Header, string) {
	t.Helper()
	res, body := testkit.Do(t, http.DefaultClient, req)
	return res.StatusCode, res.Header, body
}

func TestOverASocket(t *testing.T) {
	server := serve(t, cgi.CGI{Root: scripts})
	large := strings.Repeat("0123456789abcdef", 1<<16) // 1 MB
	digest := fmt.Sprintf("%x", sha256.Sum256([]byte(large)))
	for name, c := range map[string]struct {
		req    *http.Request
		status int
		body   string // what it begins with
	}{
		"a page":           {testkit.NewRequest(t, "GET", server.URL+"/cgi-bin/hello.cgi", nil), 200, "Hello from sh\n"},
		"HEAD":             {testkit.NewRequest(t, "HEAD", server.URL+"/cgi-bin/hello.cgi", nil), 200, ""},
		"an upload":        {testkit.NewRequest(t, "POST", server.URL+"/cgi-bin/sha.cgi", strings.NewReader(large)), 200, fmt.Sprintf("%d %s %d\n", len(large), digest, len(large))},
		"a chunked upload": {testkit.NewRequest(t, "POST", server.URL+"/cgi-bin/sha.cgi", io.MultiReader(strings.NewReader(large))), 200, fmt.Sprintf("%d %s %d\n", len(large), digest, len(large))},
		"an unread upload": {testkit.NewRequest(t, "POST", server.URL+"/cgi-bin/noread.cgi", strings.NewReader(large)), 200, "not interested\n"},
		"both ways":        {testkit.NewRequest(t, "POST", server.URL+"/cgi-bin/cat.cgi", strings.NewReader(large)), 200, large},
		"a missing script": {testkit.NewRequest(t, "GET", server.URL+"/cgi-bin/none.cgi", nil), 404, ""},
		"not executable":   {testkit.NewRequest(t, "GET", server.URL+"/cgi-bin/noexec.cgi", nil), 403, ""},
		"no response":      {testkit.NewRequest(t, "GET", server.URL+"/cgi-bin/raw.cgi?", nil), 502, ""},
		"a local redirect": {testkit.NewRequest(t, "POST", server.URL+"/cgi-bin/redirect.cgi?/cgi-bin/method.cgi?x", strings.NewReader("f=1")), 200, "GET /cgi-bin/method.cgi x [][] "},
	} {
		status, _, body := fetch(t, c.req)
		if status != c.status || !strings.HasPrefix(body, c.body) {
			t.Errorf("%s: %d, %.100q; want %d, %.100q", name, status, body, c.status, c.body)
		}
	}
}

func TestABrokenResponseCutsTheConnection(t *testing.T) {
	server := serve(t, cgi.CGI{Root: scripts})
	res, err := http.Get(server.URL + "/cgi-bin/crash.cgi")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the client takes %q for complete: %v", body, err)
	}
}

// What polite clients never send: paths a URL library would clean.
func TestRawPathsOverASocket(t *testing.T) {
	server := serve(t, cgi.CGI{Root: scripts})
	for _, path := range []string{
		"/cgi-bin/../../../../bin/sh", "/cgi-bin/%2e%2e/%2e%2e/etc/passwd", "/cgi-bin/..%2f..%2fbin%2fsh",
		"/cgi-bin/hello.cgi%00.txt", "/cgi-bin/.hidden.cgi", "/cgi-bin/sub%2Fdeep%2Fpath.cgi", "/cgi-bin//hello.cgi", "/cgi-bin/sub\\deep\\path.cgi",
	} {
		conn := testkit.Dial(t, server.Listener.Addr().String())
		conn.Say("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		line, _, _ := strings.Cut(conn.Rest(), "\r\n")
		if !strings.Contains(line, " 404 ") && !strings.Contains(line, " 403 ") && !strings.Contains(line, " 400 ") {
			t.Errorf("%s: %s", path, line)
		}
	}
}

func ExampleCGI() {
	app, err := cgi.CGI{
		Root: "testdata/cgi-bin",
		Env:  map[string]string{"SITE_NAME": "example"},
	}.Build()
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/cgi-bin/", http.StripPrefix("/cgi-bin", nethttp.Handler(app)))
	server := httptest.NewServer(mux)
	defer server.Close()

	res, err := http.Get(server.URL + "/cgi-bin/hello.cgi")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	fmt.Print(res.Status, "\n", string(body))
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// 200 OK
	// Hello from sh
}

// BenchmarkScript compares this package with net/http/cgi over the same kind of
// socket: go test -bench Script -cpu 2 ./bridge/cgi
func BenchmarkScript(b *testing.B) {
	root, err := filepath.Abs(scripts)
	if err != nil {
		b.Fatal(err)
	}
	for _, script := range []string{"hello.cgi", "env.cgi", "big.cgi?67108864"} {
		file, _, _ := strings.Cut(script, "?")
		peer := httptest.NewServer(&httpcgi.Handler{Path: filepath.Join(root, file), Root: "/cgi-bin/" + file, Stderr: os.Stderr})
		ours := serve(b, cgi.CGI{Root: scripts})
		for name, url := range map[string]string{"ours": ours.URL, "net_http_cgi": peer.URL} {
			b.Run(file+"/"+name, func(b *testing.B) {
				b.SetParallelism(4)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						res, err := http.Get(url + "/cgi-bin/" + script)
						if err != nil {
							b.Error(err)
							return
						}
						n, err := io.Copy(io.Discard, res.Body)
						if err != nil || res.StatusCode != 200 || n == 0 {
							b.Errorf("%d bytes, %d, %v", n, res.StatusCode, err)
						}
						if err := res.Body.Close(); err != nil {
							b.Error(err)
						}
					}
				})
			})
		}
		peer.Close()
	}
}
