//go:build unix

package cgi

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestASlowClientHoldsNoPlace(t *testing.T) {
	application := build(t, CGI{Concurrency: 1, QueueTimeout: -1, BodyBuffer: 10, Chunked: ChunkedStream})
	for range 3 {
		slow := begin(t, application, ask{method: "POST", target: "/cat.cgi"})
		slow.feed("x", true)
		slow.feed("y", true) // who takes this has dealt with the first
	}
	if res := do(t, application, ask{target: "/hello.cgi"}); res.status != 200 {
		t.Errorf("beside slow clients: %+v", res)
	}
	large := begin(t, application, ask{method: "POST", target: "/cat.cgi"})
	large.feed("0123456789", true) // as much as is taken in
	large.feed("x", true)
	if res := do(t, application, ask{target: "/hello.cgi"}); res.statusError() != 503 {
		t.Errorf("beside a body that is streamed: %+v", res)
	}
}

// TestBodiesAroundTheBuffer takes every way a body can go: nothing, memory, a file,
// either with a rest that is streamed.
func TestBodiesAroundTheBuffer(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	for _, limit := range []int64{-1, 100, 100_000} {
		application := build(t, CGI{BodyBuffer: limit, Chunked: ChunkedStream})
		for _, size := range []int{0, 99, 100, 250, 65_537, 150_000, 1 << 20} {
			for _, chunked := range []bool{false, true} {
				body := strings.Repeat("0123456789abcdefg", size/17+1)[:size]
				length := fmt.Sprint(size)
				if chunked && int64(size/2) >= limit || size == 0 {
					length = "unknown"
				}
				res := do(t, application, ask{method: "POST", target: "/sha.cgi", body: body, chunked: chunked})
				if want := fmt.Sprintf("%d %x %s\n", size, sha256.Sum256([]byte(body)), length); res.body != want || res.err != nil {
					t.Errorf("limit %d, chunked %v: %q, want %q; %v", limit, chunked, res.body, want, res.err)
				}
			}
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v %v", left, err)
	}
}

func TestBodiesWithoutALength(t *testing.T) {
	body := strings.Repeat("0123456789", 30_000)
	for name, c := range map[string]struct {
		options CGI
		length  string // "": refused
	}{
		"spooled by default":            {CGI{BodyBuffer: 1000}, fmt.Sprint(len(body))},
		"spooled":                       {CGI{BodyBuffer: -1, Chunked: ChunkedSpool}, fmt.Sprint(len(body))},
		"streamed":                      {CGI{BodyBuffer: 1000, Chunked: ChunkedStream}, "unknown"},
		"streamed, but it came at once": {CGI{Chunked: ChunkedStream}, fmt.Sprint(len(body))},
		"streamed by body_buffer":       {CGI{BodyBuffer: -1}, "unknown"},
		"refused":                       {CGI{Chunked: ChunkedRefuse}, ""},
	} {
		res := do(t, build(t, c.options), ask{method: "POST", target: "/sha.cgi", body: body, chunked: true})
		if c.length == "" {
			if res.statusError() != 411 {
				t.Errorf("%s: %+v", name, res)
			}
			continue
		}
		if want := fmt.Sprintf("%d %x %s\n", len(body), sha256.Sum256([]byte(body)), c.length); res.body != want || res.err != nil {
			t.Errorf("%s: %q, want %q; %v", name, res.body, want, res.err)
		}
	}
	refusing := build(t, CGI{Chunked: ChunkedRefuse})
	if res := do(t, refusing, ask{method: "POST", target: "/sha.cgi", body: "x"}); res.status != 200 {
		t.Errorf("a body with a length: %+v", res)
	}
	if res := do(t, refusing, ask{target: "/sha.cgi"}); res.status != 200 {
		t.Errorf("no body: %+v", res)
	}
}
