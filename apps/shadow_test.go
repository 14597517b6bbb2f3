package apps_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// saying answers with a status, a content type and a body in two pieces.
func saying(status int, contentType, body string) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		if scope.Type == pagi.TypeLifespan {
			return pagi.Unsupported(scope)
		}
		half := len(body) / 2
		return errors.Join(
			send(ctx, pagi.HTTPResponseStart{Status: status, Headers: pagi.NewHeaders("content-type", contentType)}),
			send(ctx, pagi.HTTPResponseBody{Body: []byte(body[:half]), More: true}),
			send(ctx, pagi.HTTPResponseBody{Body: []byte(body[half:])}))
	})
}

func ExampleShadow() {
	found := make(chan string)
	app := &apps.Shadow{
		Apps:   []pagi.App{saying(200, "text/html", "<h1>Books</h1>"), saying(200, "text/html", "<h1>Book</h1>")},
		Logger: slog.New(slog.DiscardHandler), OnDifference: func(d apps.Difference) { found <- d.Target + ": " + d.What },
	}
	fmt.Println(pagitest.New(app).Get("/books").Text())
	fmt.Println(<-found)
	// Output:
	// <h1>Books</h1>
	// /books: body
}

// asker sends a request and returns the body of the answer.
type asker func(method, target string, headers ...string) string

// ask calls an application directly, because no real connection works in a bubble of synctest.
func ask(t *testing.T, app pagi.App, method, target string, headers ...string) string {
	path, query, _ := strings.Cut(target, "?")
	scope := &pagi.Scope{Type: pagi.TypeHTTP, Method: method, Path: path, RawPath: path, Target: target, QueryString: query, Headers: pagi.NewHeaders(headers...), Transport: nil}
	body := ""
	err := app.Serve(t.Context(), scope, nil, func(_ context.Context, ev pagi.Event) error {
		if piece, is := ev.(pagi.HTTPResponseBody); is {
			body += string(piece.Body)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return body
}

// shadowed serves requests until all copies have ended, and returns the differences.
func shadowed(t *testing.T, s *apps.Shadow, serve func(ask asker)) (all []apps.Difference) {
	t.Helper()
	var mu sync.Mutex
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	s.OnDifference = func(d apps.Difference) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, d)
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		serve(func(method, target string, headers ...string) string { return ask(t, s, method, target, headers...) })
		synctest.Wait()
	})
	return all
}

func TestShadowCompares(t *testing.T) {
	html := func(body string) pagi.App { return saying(200, "text/html", body) }
	redirect := func(to string) pagi.App { return &apps.Redirect{To: to} }
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	sendFile := pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		return errors.Join(send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "text/html")}), send(ctx, pagi.HTTPResponseBody{File: file, Length: pagi.ToEnd}))
	})
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		first, second pagi.App
		options       apps.ShadowOptions
		want          string
	}{
		"the same":                       {html("<p>a"), html("<p>a"), apps.ShadowOptions{}, ""},
		"another body":                   {html("<p>a"), html("<p>b"), apps.ShadowOptions{}, "body"},
		"a longer body":                  {html("<p>a"), html("<p>ab"), apps.ShadowOptions{}, "body"},
		"another body after the limit":   {html("<p>ab"), html("<p>ac"), apps.ShadowOptions{MaxBody: 4}, ""},
		"another length after the limit": {html("<p>ab"), html("<p>abc"), apps.ShadowOptions{MaxBody: 4}, "body"},
		"text that may differ":           {html("<p>a at 10:31"), html("<p>a at 9:04"), apps.ShadowOptions{Ignore: []string{`at \d+:\d+`}}, ""},
		"other text than may differ":     {html("<p>a at 10:31"), html("<p>b at 9:04"), apps.ShadowOptions{Ignore: []string{`at \d+:\d+`}}, "body"},
		"the same JSON":                  {saying(200, "application/json", `{"a":1,"b":[1.50]}`), saying(200, "application/json", ` {"b":[1.50], "a":1} `), apps.ShadowOptions{}, ""},
		"other JSON":                     {saying(200, "application/json", `{"a":1}`), saying(200, "application/json", `{"a":2}`), apps.ShadowOptions{}, "body"},
		"JSON that is none":              {saying(200, "application/json", `{"a":1} x`), saying(200, "application/json", `{"a":1}`), apps.ShadowOptions{}, "body"},
		"the same text that is not JSON": {saying(200, "text/plain", `{"a":1}`), saying(200, "text/plain", `{"a": 1}`), apps.ShadowOptions{}, "body"},
		"another status":                 {html("<p>a"), saying(404, "text/html", "<p>a"), apps.ShadowOptions{}, "status"},
		"another type":                   {html("<p>a"), saying(200, "text/plain", "<p>a"), apps.ShadowOptions{}, "header content-type"},
		"another target of a redirect":   {redirect("/a"), redirect("/b"), apps.ShadowOptions{}, "header location"},
		"headers of one's choice":        {html("<p>a"), saying(200, "text/plain", "<p>a"), apps.ShadowOptions{Headers: []string{"ETag"}}, ""},
		"a file":                         {sendFile, html("<p>a"), apps.ShadowOptions{}, ""},
		"a failure":                      {html("<p>a"), pagi.AppFunc(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { return broken }), apps.ShadowOptions{}, "failure"},
		"a panic":                        {html("<p>a"), pagi.AppFunc(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { panic("oh") }), apps.ShadowOptions{}, "failure"},
		"no answer":                      {html("<p>a"), pagi.AppFunc(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { return nil }), apps.ShadowOptions{}, "failure"},
		"an answer that is never complete": {html("<p>a"), pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, _ pagi.Send) error {
			<-ctx.Done()
			return ctx.Err()
		}), apps.ShadowOptions{}, "failure"},
	} {
		s := &apps.Shadow{Apps: []pagi.App{tc.first, tc.second}, ShadowOptions: tc.options}
		all := shadowed(t, s, func(ask asker) {
			ask("GET", "/page?q=1")
			time.Sleep(time.Minute) // in the bubble: until the time limit of a copy
		})
		got := ""
		for _, d := range all {
			got += d.What
			if d.Method != "GET" || d.Target != "/page?q=1" || d.Kept != "" {
				t.Errorf("%s: %+v", name, d)
			}
		}
		stats := s.Stats()
		if got != tc.want || stats.Compared != 1 || (stats.Different == 1) != (got != "") || (stats.Failed == 1) != (got == "failure") {
			t.Errorf("%s: %q, want %q; %+v", name, got, tc.want, stats)
		}
	}
}

func TestShadowCopiesSafeRequestsOnly(t *testing.T) {
	var mu sync.Mutex
	var copies []string
	second := pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		mu.Lock()
		copies = append(copies, s.Method+" "+s.RootPath+s.Path+"?"+s.QueryString+" "+s.Headers.Get("cookie")+" "+s.Headers.Get("x-shadow"))
		mu.Unlock()
		ev, err := receive(ctx)
		if body, is := ev.(pagi.HTTPRequest); !is || len(body.Body) > 0 || body.More {
			t.Errorf("the copy has the body %v, %v", ev, err)
		}
		completed := make(chan struct{})
		s.Connection.OnComplete(func() { close(completed) })
		if !s.Connection.IsConnected() || s.Connection.ResponseStarted() || s.Transport != nil {
			t.Error("the copy's connection")
		}
		err = saying(200, "text/plain", "ok").Serve(ctx, s, receive, send)
		<-completed
		return err
	})
	s := &apps.Shadow{Apps: []pagi.App{saying(200, "text/plain", "ok"), second}}
	different := shadowed(t, s, func(ask asker) {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"} {
			ask(method, "/x?y", "cookie", "a=b")
			synctest.Wait()
		}
	})
	if diff := cmp.Diff([]string{"GET /x?y a=b 1", "HEAD /x?y a=b 1"}, copies); diff != "" || len(different) > 0 {
		t.Errorf("%v %s", different, diff)
	}
}

func TestShadowNeverKeepsTheClientWaiting(t *testing.T) {
	var release chan struct{}
	stuck := pagi.AppFunc(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { <-release; return nil })
	s := &apps.Shadow{Apps: []pagi.App{saying(200, "text/plain", "ok"), stuck}, ShadowOptions: apps.ShadowOptions{Concurrency: 1, Queue: 2}}
	all := shadowed(t, s, func(ask asker) {
		release = make(chan struct{})
		for range 5 {
			if body := ask("GET", "/"); body != "ok" {
				t.Errorf("the answer is %q", body)
			}
		}
		synctest.Wait()
		if stats := s.Stats(); stats.Dropped != 2 || stats.Compared != 0 {
			t.Errorf("%+v", stats)
		}
		close(release)
	})
	if stats := s.Stats(); stats.Compared != 3 || len(all) != 3 {
		t.Errorf("%+v, %d differences", stats, len(all))
	}
}

func TestShadowSkipsWhatTheSecondApplicationDoesNotHave(t *testing.T) {
	s := &apps.Shadow{Apps: []pagi.App{saying(200, "text/plain", "ok"), saying(404, "text/plain", "no")}, ShadowOptions: apps.ShadowOptions{Skip: []int{404}}}
	all := shadowed(t, s, func(ask asker) { ask("GET", "/") })
	if stats := s.Stats(); len(all) > 0 || stats != (apps.ShadowStats{Skipped: 1}) {
		t.Errorf("%v, %+v", all, stats)
	}
}

func TestShadowSample(t *testing.T) {
	s := &apps.Shadow{Apps: []pagi.App{saying(200, "text/plain", "ok"), saying(200, "text/plain", "ok")}, ShadowOptions: apps.ShadowOptions{Sample: 20, Queue: 10_000}}
	shadowed(t, s, func(ask asker) {
		for range 2000 {
			ask("GET", "/")
		}
	})
	if n := s.Stats().Compared; n < 250 || n > 600 {
		t.Errorf("20 percent of 2000 are %d", n)
	}
}

func TestShadowKeepsBothVersions(t *testing.T) {
	dir := t.TempDir()
	s := &apps.Shadow{Apps: []pagi.App{saying(200, "text/plain", "one"), saying(200, "text/plain", "two")}, ShadowOptions: apps.ShadowOptions{Dir: dir, MaxKept: 2}}
	log := &testkit.Log{}
	s.Logger = log.Logger()
	all := shadowed(t, s, func(ask asker) {
		for range 3 {
			ask("GET", "/x", "cookie", "secret", "accept", "text/plain")
			synctest.Wait()
		}
	})
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 6 || len(all) != 3 || all[0].Kept == "" || all[2].Kept != "" {
		t.Fatalf("%v %v %v", files, all, err)
	}
	for suffix, want := range map[string]string{"-first": "200\ncontent-type: text/plain\n\none", "-second": "200\ncontent-type: text/plain\n\ntwo"} {
		if text, err := os.ReadFile(all[0].Kept + suffix); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v", suffix, text, err)
		}
	}
	text, err := os.ReadFile(all[0].Kept + "-request")
	if err != nil || !strings.HasPrefix(string(text), "GET /x\n") || !strings.Contains(string(text), "cookie: (left out)\n") || !strings.Contains(string(text), "accept: text/plain\n") || !strings.Contains(string(text), "differs: body\n") {
		t.Errorf("%q, %v", text, err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	log.WaitFor(t, "answers differ", "what=body", "target=/x", "kept="+all[0].Kept)
}

func TestShadowEndsItsCopiesBeforeTheSecondApplication(t *testing.T) {
	var mu sync.Mutex
	var order []string
	note := func(what string) { mu.Lock(); defer mu.Unlock(); order = append(order, what) }
	begun := make(chan struct{})
	second := lifespan.Hooks{Shutdown: []func(context.Context, map[string]any) error{func(context.Context, map[string]any) error { note("second ends"); return nil }}}.Wrap(
		pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, _ pagi.Send) error {
			if s.Type == pagi.TypeLifespan {
				return pagi.Unsupported(s)
			}
			lost := make(chan string, 1)
			s.Connection.OnDisconnect(func(reason string) { lost <- reason })
			close(begun)
			<-ctx.Done()
			note("copy ends: " + <-lost)
			return ctx.Err()
		}))
	s := &apps.Shadow{Apps: []pagi.App{saying(200, "text/plain", "ok"), second}, OnDifference: func(apps.Difference) { t.Error("a copy that the end has cut counts") }}
	c := pagitest.New(s)
	if err := c.Startup(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Get("/")
	<-begun
	if err := c.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"copy ends: server_shutdown", "second ends"}, order); diff != "" {
		t.Error(diff)
	}
}

func TestShadowOptions(t *testing.T) {
	ok := saying(200, "text/plain", "ok")
	for want, s := range map[string]*apps.Shadow{
		"shadow: needs two applications: the one that answers, and the one that is compared with it": {Apps: []pagi.App{ok}},
		"sample: must be more than 0 and at most 100 percent, is 101":                                {Apps: []pagi.App{ok, ok}, ShadowOptions: apps.ShadowOptions{Sample: 101}},
		"ignore: error parsing regexp: missing closing ): `(`":                                       {Apps: []pagi.App{ok, ok}, ShadowOptions: apps.ShadowOptions{Ignore: []string{"("}}},
		"queue: must not be negative":                                                                {Apps: []pagi.App{ok, ok}, ShadowOptions: apps.ShadowOptions{Queue: -1}},
		"dir: stat /nowhere: no such file or directory":                                              {Apps: []pagi.App{ok, ok}, ShadowOptions: apps.ShadowOptions{Dir: "/nowhere"}},
	} {
		if err := s.Check(); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
