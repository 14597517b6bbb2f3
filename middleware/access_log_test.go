package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func ExampleAccessLog() {
	app := middleware.AccessLog{Format: "%m %U%q %s %b", Output: os.Stdout}.Wrap(hello)
	pagitest.New(app).Get("/books?page=2")
	// Output: GET /books?page=2 200 5
}

func TestAccessLog(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("twelve bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	opened, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	http := pagi.Scope{Type: pagi.TypeHTTP}
	for name, tc := range map[string]struct {
		scope        pagi.Scope
		app          pagi.App
		format, want string
	}{
		"combined":               {http, hello, "", `192.0.2.7 - ann [TIME] "POST /m/x?q=1 HTTP/1.1" 200 5 "http://a/\"b" "curl"`},
		"common":                 {http, hello, "common", `192.0.2.7 - ann [TIME] "POST /m/x?q=1 HTTP/1.1" 200 5`},
		"atoms":                  {http, hello, "%h %{c}a %A %p %v %H %{content-type}o %{k}C", "192.0.2.7 10.0.0.1 127.0.0.1 80 h HTTP/1.1 text/plain v"},
		"a file":                 {http, answering(pagi.HTTPResponseStart{Status: 206}, pagi.HTTPResponseBody{File: file, Offset: 2, Length: pagi.ToEnd}), "%s %b", "206 10"},
		"a part of an open file": {http, answering(pagi.HTTPResponseStart{Status: 206}, pagi.HTTPResponseBody{FH: opened, Offset: 2, Length: 3}), "%s %b", "206 3"},
		"a whole open file":      {http, answering(pagi.HTTPResponseStart{Status: 200}, pagi.HTTPResponseBody{FH: opened, Length: pagi.ToEnd}), "%s %b", "200 12"},
		"more than a file has":   {http, answering(pagi.HTTPResponseStart{Status: 200}, pagi.HTTPResponseBody{FH: opened, Offset: 10, Length: 9}), "%s %b", "200 2"},
		"nothing of a file":      {http, answering(pagi.HTTPResponseStart{Status: 200}, pagi.HTTPResponseBody{FH: opened}), "%s %b", "200 -"},
		"a failure":              {http, failing(errors.New("x")), "%s %b", "500 -"},
		"a failure with status":  {http, failing(&pagi.StatusError{Status: 404}), "%s %b", "404 -"},
		"an event stream":        {pagi.Scope{Type: pagi.TypeSSE}, answering(pagi.SSEStart{}, pagi.SSESend{Data: "four"}), "%m %s %b", "POST 200 4"},
		"a refused stream":       {pagi.Scope{Type: pagi.TypeSSE}, answering(pagi.SSEHTTPResponseStart{Status: 404}, pagi.SSEHTTPResponseBody{Body: []byte("x")}), "%s %b", "404 1"},
		"a WebSocket":            {pagi.Scope{Type: pagi.TypeWebSocket}, answering(pagi.WebSocketAccept{}, pagi.WebSocketSend{Text: "abc"}, pagi.WebSocketClose{Code: 1001}), "%s %b", "101 3"},
		"a refused WebSocket":    {pagi.Scope{Type: pagi.TypeWebSocket}, answering(pagi.WebSocketClose{}), "%s %b", "403 -"},
		"a denied WebSocket":     {pagi.Scope{Type: pagi.TypeWebSocket}, answering(pagi.WebSocketHTTPResponseStart{Status: 401}, pagi.WebSocketHTTPResponseBody{Body: []byte("no")}), "%s %b", "401 2"},
	} {
		scope := tc.scope
		scope.Method, scope.HTTPVersion, scope.RootPath, scope.Path, scope.QueryString = "POST", "1.1", "/m", "/x", "q=1"
		scope.Client, scope.Server, scope.Notes = pagi.Addr{Host: "10.0.0.1", Port: 1}, pagi.Addr{Host: "127.0.0.1", Port: 5000}, &pagi.LogNotes{}
		scope.Headers = pagi.NewHeaders("host", "h", "referer", `http://a/"b`, "user-agent", "curl", "cookie", "j=u; k=v", "x-forwarded-for", "192.0.2.7")
		var log bytes.Buffer
		m := middleware.AccessLog{Format: tc.format, Output: &log}
		app := middleware.ReverseProxy{TrustedProxies: []string{"10.0.0.1"}, Headers: []string{"x-forwarded-for"}}.Wrap(m.Wrap(tc.app))
		scope.Notes.SetUser("ann")
		_ = app.Serve(t.Context(), &scope, nil, func(context.Context, pagi.Event) error { return nil })
		got := regexp.MustCompile(`\[\d\d/.*? [+-]\d{4}\]`).ReplaceAllString(log.String(), "[TIME]")
		if want := tc.want + "\n"; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	checkFails(t, middleware.AccessLog{Format: "x"}, `format: access log format "x" is none of common, clf, combined, json, tiny, and has no % in it`)
	checkFails(t, middleware.AccessLog{File: "/nowhere/log"}, "file: stat /nowhere: no such file or directory")
}

// An application may leave a goroutine behind that sends while the line is written.
func TestAccessLogBesideALateSend(t *testing.T) {
	var late sync.WaitGroup
	app := pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		late.Go(func() {
			for range 100 {
				_ = send(ctx, pagi.HTTPResponseBody{Body: []byte("x"), More: true})
			}
		})
		return send(ctx, pagi.HTTPResponseStart{Status: 200})
	})
	var log bytes.Buffer
	m := middleware.AccessLog{Format: "%s %b", Output: &log}
	if err := m.Wrap(app).Serve(t.Context(), &pagi.Scope{Type: pagi.TypeHTTP}, nil, func(context.Context, pagi.Event) error { return nil }); err != nil {
		t.Error(err)
	}
	late.Wait()
	if !strings.HasPrefix(log.String(), "200 ") {
		t.Errorf("%q", log.String())
	}
}

func TestAccessLogFollowsItsFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	c := pagitest.New(middleware.AccessLog{Format: "%U", File: name}.Wrap(hello))
	c.Get("/one")
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(testkit.Patience)
	for path := "/two"; ; {
		c.Get(path)
		if text, err := os.ReadFile(name); err == nil && strings.Contains(string(text), "/two\n") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no new file was begun")
		}
	}
	if text, err := os.ReadFile(name + ".1"); err != nil || !strings.HasPrefix(string(text), "/one\n") {
		t.Errorf("%q, %v", text, err)
	}
}

func TestAccessLogTellsOfItsFailureOnce(t *testing.T) {
	log := &testkit.Log{}
	c := pagitest.New(middleware.AccessLog{Output: failingWriter{}, Logger: log.Logger()}.Wrap(hello))
	for range 3 {
		c.Get("/").Expect(t, 200, "hello")
	}
	if n := strings.Count(log.String(), "access log cannot be written"); n != 1 {
		t.Errorf("told %d times: %s", n, log.String())
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("no space") }
