//go:build unix

package cgi

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi"
)

func TestAResponseIsKeptUntilItIsComplete(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	application := build(t, CGI{BufferOutput: new(true)})
	large := strings.Repeat("0123456789abcdef", 6_000)
	text := []string{"content-type", "text/plain"}
	for name, c := range map[string]struct {
		method, output string
		status         int
		headers        []string
		body           string
	}{
		"a document":      {"GET", typ + "\nbody", 200, append(text, "content-length", "4"), "body"},
		"no body":         {"GET", typ + "\n", 200, append(text, "content-length", "0"), ""},
		"a large one":     {"GET", typ + "\n" + large, 200, append(text, "content-length", strconv.Itoa(len(large))), large},
		"HEAD":            {"HEAD", typ + "\nbody", 200, append(text, "content-length", "4"), ""},
		"its own length":  {"GET", typ + "Content-Length: 2\n\nbody", 200, append(text, "content-length", "2"), "bo"},
		"no content":      {"GET", "Status: 204\n\nbody", 204, nil, ""},
		"a local address": {"GET", "Location: /cgi/raw.cgi?Status:%20299%0A%0Ax\n\n", 299, []string{"content-length", "1"}, "x"},
	} {
		req := raw(c.output)
		req.method = c.method
		res := do(t, application, req)
		if res.err != nil || res.status != c.status || res.body != c.body || !res.complete {
			t.Errorf("%s: status %d, body %.20q, complete %v, error %v", name, res.status, res.body, res.complete, res.err)
		}
		if diff := cmp.Diff(pagi.NewHeaders(c.headers...), append(pagi.Headers{}, res.headers...)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v %v", left, err)
	}
}

func TestAKeptResponseThatFailsIsAStatus(t *testing.T) {
	application := build(t, CGI{BufferOutput: new(true), OutputSize: 2000})
	for target, want := range map[string]string{
		"/crash.cgi": "signal: killed",
		raw(typ + "Content-Length: 10\n\nbody").target[len("/cgi"):]:     "6 bytes shorter",
		raw(typ + "\n" + strings.Repeat("x", 3000)).target[len("/cgi"):]: "option output_size",
	} {
		res := do(t, application, ask{target: target})
		if res.statusError() != 502 || res.status != 0 || !strings.Contains(res.err.Error(), want) {
			t.Errorf("%.40s: %+v", target, res)
		}
	}
	if res := do(t, application, nphRaw("HTTP/1.1 200 OK\n\nx")); len(res.pieces) != 1 || res.headers.Has("content-length") {
		t.Errorf("an NPH script's response: %+v", res)
	}
}

// A client that takes its time with the response holds no place.
func TestASlowReaderOfAKeptResponseHoldsNoPlace(t *testing.T) {
	application := build(t, CGI{BufferOutput: new(true), Concurrency: 1, QueueTimeout: -1})
	l := begin(t, application, ask{target: "/hello.cgi"})
	l.feed("", false)
	if _, is := l.next().(pagi.HTTPResponseStart); !is {
		t.Fatal("no start")
	}
	if res := do(t, application, ask{target: "/hello.cgi"}); res.status != 200 {
		t.Errorf("beside it: %+v", res)
	}
	if err := l.end(); err != nil {
		t.Error(err)
	}
}
