package perlpagi_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/bridge/perlpagi"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// What a request can be answered with.
func TestHTTP(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "http.pl"})
	for target, want := range map[string]struct {
		status int
		body   string
	}{
		"/hello":                              {200, "hello\n"},
		"/no-such-page":                       {404, "no such page"},
		"/large":                              {200, strings.Repeat("x", 1_000_000)},
		"/pieces":                             {200, "piece 1\npiece 2\npiece 3\n"},
		"/early":                              {200, "done"},
		"/text":                               {200, "\xe9\xe9"},
		"/undef":                              {200, ""},
		"/numbers":                            {201, "3.25"},
		"/no-future":                          {500, ""},
		"/unawaited":                          {200, "not awaited"},
		"/later":                              {200, "IO::Async::Loop::Poll"},
		"/future-io":                          {200, "slept"},
		"/race":                               {200, "raced"},
		"/twice":                              {200, "waits"},
		"/file":                               {200, strings.Repeat("0123456789", 1000)},
		"/file?offset=9990":                   {200, "0123456789"},
		"/file?offset=5&length=7":             {200, "5678901"},
		"/file?length=0":                      {200, ""},
		"/file?offset=20000":                  {200, ""},
		"/fh?kind=plain":                      {200, strings.Repeat("plain file", 1000)},
		"/fh?kind=plain&length=0":             {200, ""},
		"/fh?kind=plain&offset=9995&length=9": {200, " file"},
		"/fh?kind=moved":                      {200, "456789"},
		"/fh?kind=memory":                     {200, "in memory"},
		"/fh?kind=memory&offset=3":            {200, "memory"},
		"/fh?kind=utf8":                       {200, "\xe9"},
		"/fh?kind=scalar":                     {200, "scalar"},
		"/fh?kind=scalar&offset=1&length=3":   {200, "cal"},
		"/fh?kind=tied":                       {200, "tied handle"},
		"/fh?kind=lines":                      {200, "one\ntwo\n"},
		"/fh?kind=lines&length=5":             {200, "one\nt"},
		"/fh?kind=pipe":                       {200, "from a pipe\n"},
	} {
		t.Run(target, func(t *testing.T) {
			r := m.Get(target)
			if want.status == 500 {
				if r.Err == nil && r.Status != 500 {
					t.Errorf("%d %q", r.Status, r.Text())
				}
				return
			}
			if target == "/later" && r.Err == nil && strings.HasPrefix(r.Text(), "IO::Async::Loop::") {
				return // the loop that the machine's IO::Async likes best
			}
			if strings.HasPrefix(target, "/fh?kind=plain&offset") {
				want.body = strings.Repeat("plain file", 1000)[9995:]
			}
			expect(t, r, want.status, want.body)
		})
	}
	expect(t, m.Post("/echo", pagitest.Body("a body")), 200, "a body")
	expect(t, m.Post("/echo", pagitest.Chunks("one ", "two ", "three")), 200, "one two three")
	expect(t, m.Post("/echo", pagitest.Body(strings.Repeat("large ", 100_000))), 200, strings.Repeat("large ", 100_000))
}

func TestHTTPHeadersAndTrailers(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "http.pl"})
	r := m.Get("/numbers")
	if r.Header("x-int") != "7" || r.Header("x-float") != "1.5" || r.Header("x-upper") != "yes" {
		t.Errorf("%v", r.Headers)
	}
	if r = m.Get("/trailers"); r.Err != nil || r.Text() != "body" || r.Trailers.Get("x-sum") != "4" {
		t.Errorf("%q %v %v", r.Text(), r.Trailers, r.Err)
	}
	if r = m.Get("/file-trailers"); r.Err != nil || r.Text() != "scalar" || r.Trailers.Get("x-sum") != "6" {
		t.Errorf("a file and trailers: %q %v %v", r.Text(), r.Trailers, r.Err)
	}
	if r = m.Get("/early"); len(r.Informational) != 1 || r.Informational[0].Status != 103 {
		t.Errorf("%+v", r.Informational)
	}
	flush := pagitest.Edit(func(s *pagi.Scope) { s.Extensions = map[string]any{"fullflush": map[string]any{}} })
	expect(t, m.Get("/flush", flush), 200, "one two")
	if r = m.Get("/flush", pagitest.Edit(func(s *pagi.Scope) { s.Extensions = nil })); r.Err == nil {
		t.Error("http.fullflush is taken from an application to which the extension was not offered")
	}
}

// A file that does not exist, and a handle that is closed, are exceptions of send.
func TestHTTPFilesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "http.pl"})
	for target, want := range map[string]string{
		"/file?name=/no/such/file": "/no/such/file: No such file or directory",
		"/file?name=/tmp":          "/tmp: is a directory",
		"/file?offset=-1":          "'offset' must be a whole number",
		"/fh?kind=wide":            "wide character",
		"/fh?kind=pipe&offset=3":   "an offset into something that cannot seek",
		"/closed":                  "http.response.start must come first",
	} {
		if r := m.Get(target); r.Err == nil || !strings.Contains(r.Err.Error(), want) {
			t.Errorf("%s: %d %q %v, want %s", target, r.Status, r.Text(), r.Err, want)
		}
	}
}

func TestHTTPScope(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "http.pl"})
	r := m.Get("/scope?a=%C3%A9&b", pagitest.Header("x-one", "1"), pagitest.Header("x-one", "2"))
	var scope struct {
		Type, Method, Path, Scheme string
		Query                      string `json:"query_string"`
		Root                       string `json:"root_path"`
		Headers                    [][2]string
		Objects                    []string
		PAGI                       map[string]any `json:"pagi"`
		State                      map[string]any
	}
	if err := r.JSON(&scope); err != nil {
		t.Fatal(err, r.Text())
	}
	got := []string{scope.Type, scope.Method, scope.Path, scope.Scheme, scope.Query, scope.Root, strings.Join(scope.Objects, " "),
		fmt.Sprint(scope.PAGI)}
	want := []string{"http", "GET", "/scope", "http", "a=%C3%A9&b", "", "pagi.connection pagi.transport", "map[spec_version:0.3 version:0.3]"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	n := 0
	for _, h := range scope.Headers {
		if h[0] == "x-one" {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%v", scope.Headers)
	}
}

// State is copied for each scope: a key of its own stays there, what a reference leads to is shared.
func TestState(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "http.pl"})
	for i := 1; i <= 2; i++ {
		expect(t, m.Get("/state"), 200, fmt.Sprintf(`{"private":1,"shared":{"count":%d,"is_worker":1,"worker":"1"}}`, i))
	}
}

func TestConnectionObject(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "http.pl"})
	expect(t, m.Get("/connection"), 200, "1001")
	eventually(t, m, "complete 011")
	expect(t, m.Get("/twice"), 200, "waits")
	eventually(t, m, "http.disconnect")
	r := m.Get("/leave", pagitest.DisconnectAfter(2, pagi.ReasonClientClosed))
	if r.Text() != "first" {
		t.Errorf("%q %v", r.Text(), r.Err)
	}
	eventually(t, m, "future client_closed,callback client_closed 0,http.disconnect 998 http.request 1,sent")
	expect(t, m.Get("/die-callback"), 200, "done")
	eventually(t, m, "second callback")
	m.log.WaitFor(t, "a callback has failed", "dead in a callback")
}

// eventually waits until the application's callbacks have told something.
func eventually(t *testing.T, m *mounted, want string) {
	t.Helper()
	got := ""
	t.Cleanup(func() {
		if got != want {
			t.Logf("the application has told %q", got)
		}
	})
	testkit.Eventually(t, want, func() bool {
		if more := m.Get("/told").Text(); more != "" {
			got = strings.TrimPrefix(got+","+more, ",")
		}
		return got == want
	})
}

func TestHTTPFailures(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "http.pl"})
	for target, want := range map[string]string{
		"/die":        "dead at once",
		"/die-plain":  "a plain death",
		"/die-failed": "a failed Future",
		"/die-object": "My::Error",
		"/wide":       "wide character in 'body', which must be bytes",
		"/psgi":       "It looks like a PSGI application",
	} {
		r := m.Get(target)
		var status *pagi.StatusError
		if !errors.As(r.Err, &status) || status.Status != 500 || !strings.Contains(r.Err.Error(), want) {
			t.Errorf("%s: %v", target, r.Err)
		}
	}
	if r := m.Get("/die-later"); r.Err == nil || r.Text() != "some" {
		t.Errorf("%q %v", r.Text(), r.Err)
	}
	expect(t, m.Get("/die-after"), 200, "done")
	m.log.WaitFor(t, "the application failed after its answer", "dead after the answer")
	expect(t, m.Get("/hello"), 200, "hello\n") // the worker goes on
}

// In development the client gets the exception, and where it was thrown.
func TestDevelopmentShowsTheException(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "http.pl", Environment: "development"})
	if r := m.Get("/die"); r.Status != 500 || !strings.Contains(r.Text(), "dead at once") {
		t.Errorf("%d %s", r.Status, r.Text())
	}
	r := m.Get("/duplicate")
	if r.Status != 200 || r.Err == nil || !strings.Contains(r.Err.Error(), "the response was started already") || !strings.Contains(r.Err.Error(), "http.pl line ") {
		t.Errorf("%d %v", r.Status, r.Err)
	}
}

// Elsewhere what comes too late or twice is dropped, and logged once.
func TestLenientOrder(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "http.pl"})
	for range 3 {
		expect(t, m.Get("/duplicate"), 200, "first")
	}
	m.log.WaitFor(t, "http.response.start: the response was started already")
	if n := strings.Count(m.log.String(), "http.response.start: the response was started already"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	want := `an event must be a hash reference
an event must have a type
http.nonsense is no event that an application can send
sse.send is no event of a scope of type http
http.response.body: http.response.start must come first
http.response.start: 'status' is missing
http.response.start: 'status' must be a number from 200 to 999, is 'ok'
http.response.start: 'status' must be a number from 200 to 999, is '100'
http.response.start: 'headers' must be a list of pairs
http.response.start: 'headers' must be a list of pairs, each a name and a value
http.response.start: 'headers' has no value for 'a'
http.response.start: 'headers' has a name that is not a token (RFC 9110 section 5.1)
http.response.start: 'headers' has a control character in the value of 'a'
http.response.start: wide character in 'headers', which must be bytes
`
	got := m.Get("/refused").Text()
	var lines []string
	for line := range strings.Lines(got) {
		line, _, _ = strings.Cut(line, " at ")
		lines = append(lines, line+"\n")
	}
	if diff := cmp.Diff(want, strings.Join(lines, "")); diff != "" {
		t.Error(diff)
	}
}

// An application that goes on for too long after its client has left is cancelled.
func TestDisconnectGrace(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "http.pl", DisconnectGrace: 50e6})
	m.Get("/endless", pagitest.DisconnectAfter(2, pagi.ReasonClientClosed))
	m.log.WaitFor(t, "goes on 0.05 s after its client has left, and is cancelled")
	idle(t, m)
	expect(t, m.Get("/hello"), 200, "hello\n")
}
