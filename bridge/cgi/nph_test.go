//go:build unix

package cgi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi"
)

func nphRaw(output string) ask {
	r := raw(output)
	r.target = strings.Replace(r.target, "/raw.cgi", "/nph-raw.cgi", 1)
	return r
}

func TestNPHOutputThatIsAResponse(t *testing.T) {
	text := []string{"content-type", "text/plain"}
	for name, c := range map[string]struct {
		output  string
		status  int
		headers []string
		body    string
	}{
		"a document":               {"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nbody", 200, text, "body"},
		"LF and HTTP/1.0":          {"HTTP/1.0 404 Not Found\nContent-Type: text/plain\n\nbody", 404, text, "body"},
		"HTTP/2":                   {"HTTP/2.0 200 OK\r\n\r\nx", 200, nil, "x"},
		"HTTP/2, short":            {"HTTP/2 200 OK\r\n\r\nx", 200, nil, "x"},
		"HTTP/3":                   {"HTTP/3.0 200 OK\r\n\r\nx", 200, nil, "x"},
		"a bad name":               {"HTTP/1.1 200 OK\r\nX Y: z\r\nContent-Type: text/plain\r\n\r\nx", 200, text, "x"},
		"no reason":                {"HTTP/1.1 299\r\n\r\nbody", 299, nil, "body"},
		"an empty reason":          {"HTTP/1.1 299 \r\n\r\nbody", 299, nil, "body"},
		"an unusual status":        {"HTTP/1.1 999 What\r\n\r\n", 999, nil, ""},
		"no type, no body":         {"HTTP/1.1 204 No\r\n\r\nx", 204, nil, ""},
		"Status is a plain field":  {"HTTP/1.1 201 Yes\r\nStatus: 500\r\n\r\nx", 201, []string{"status", "500"}, "x"},
		"Location is a plain one":  {"HTTP/1.1 200 Yes\r\nLocation: /cgi/hello.cgi\r\n\r\nx", 200, []string{"location", "/cgi/hello.cgi"}, "x"},
		"headers of the transport": {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\nKeep-Alive: 5\r\n\r\nx", 200, text, "x"},
		"its length":               {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nbody", 200, []string{"content-length", "2"}, "bo"},
		"a chunked body":           {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n", 200, nil, "abcdefg"},
		"after interim responses":  {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx", 200, nil, "x"},
	} {
		t.Run(name, func(t *testing.T) {
			res := do(t, build(t, CGI{}), nphRaw(c.output))
			if res.err != nil || res.status != c.status || res.body != c.body || !res.complete {
				t.Errorf("status %d, body %q, complete %v, error %v", res.status, res.body, res.complete, res.err)
			}
			if diff := cmp.Diff(pagi.NewHeaders(c.headers...), append(pagi.Headers{}, res.headers...)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNPHOutputThatIsNoResponseIs502(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, c := range map[string]struct{ output, reason string }{
		"nothing":                  {"", "it wrote no output"},
		"the header of a CGI":      {typ + "\nx", "no status line"},
		"an empty line first":      {"\r\n" + ok + "\r\nx", "no status line"},
		"another protocol":         {"HTTP/4 200 OK\r\n\r\nx", "no status line"},
		"another version":          {"HTTP/1.2 200 OK\r\n\r\nx", "no status line"},
		"two digits":               {"HTTP/1.1 20 OK\r\n\r\nx", "no status line"},
		"four digits":              {"HTTP/1.1 2000 OK\r\n\r\nx", "no status line"},
		"a word":                   {"HTTP/1.1 OK\r\n\r\nx", "no status line"},
		"a sign":                   {"HTTP/1.1 +20 OK\r\n\r\nx", "no status line"},
		"a status too small":       {"HTTP/1.1 099 OK\r\n\r\nx", "no status line"},
		"a switch of protocols":    {"HTTP/1.1 101 Switching\r\n\r\nx", "no status line"},
		"no end of the head":       {ok, "no end of headers"},
		"a broken length":          {ok + "Content-Length: 1\x07\r\n\r\nx", "contains a control character"},
		"another coding":           {ok + "Transfer-Encoding: gzip, chunked\r\n\r\nx", "only chunked"},
		"chunked twice":            {ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "only chunked"},
		"chunked and a length":     {ok + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\nx", "both Transfer-Encoding and Content-Length"},
		"two lengths":              {ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", "bad Content-Length"},
		"too large a head":         {ok + "X-Pad: " + strings.Repeat("x", 40000) + "\r\n\r\nx", "larger than 32768 bytes"},
		"only interim responses":   {"HTTP/1.1 103 Early\r\n\r\n", "it wrote no output"},
		"interim without an end":   {strings.Repeat("HTTP/1.1 102 Wait\r\n\r\n", 200), "more than 100 interim"},
		"a status line of a CGI, ": {typ + ok + "\r\nx", "no status line"},
	} {
		t.Run(name, func(t *testing.T) {
			res := do(t, build(t, CGI{}), nphRaw(c.output))
			if res.statusError() != 502 || res.status != 0 || !strings.Contains(res.err.Error(), c.reason) {
				t.Errorf("status %d, error %v; want a 502 with %q", res.status, res.err, c.reason)
			}
		})
	}
}

func TestAnNPHBodyThatBreaksOffIsCut(t *testing.T) {
	for _, output := range []string{"Transfer-Encoding: chunked\r\n\r\n5\r\nabc", "Transfer-Encoding: chunked\r\n\r\nnot a chunk\r\n", "Content-Length: 9\r\n\r\nabc"} {
		res := do(t, build(t, CGI{}), nphRaw("HTTP/1.1 200 OK\r\n"+output))
		if res.err == nil || res.complete || res.status != 200 {
			t.Errorf("%q: %+v", output, res)
		}
	}
}

// The head goes out before there is a body, each piece of it at once.
func TestNPHOutputIsNotBuffered(t *testing.T) {
	l := begin(t, build(t, CGI{BodyBuffer: -1}), ask{method: "POST", target: "/nph-lines.cgi"})
	l.feed("", true)
	start, is := l.next().(pagi.HTTPResponseStart)
	if !is || start.Status != 200 || start.Headers.Get("x-own") != "yes" {
		t.Fatalf("%#v", start)
	}
	if b, is := l.next().(pagi.HTTPResponseBody); !is || len(b.Body) > 0 || !b.More {
		t.Errorf("after the head: %#v", b)
	}
	for i := range 3 {
		l.feed(fmt.Sprintf("line %d\n", i), true)
		l.text(fmt.Sprintf("got line %d\n", i))
	}
	l.feed("", false)
	if err := l.end(); err != nil {
		t.Error(err)
	}
}

func TestWhichScriptsAreNPH(t *testing.T) {
	whole, block := "HTTP/1.1 202 Yes\n\nx", "Status: 203\n\nx"
	for _, c := range []struct {
		option string
		req    ask
		status int
	}{
		{"", nphRaw(whole), 202}, {"", raw(block), 203},
		{"auto", nphRaw(whole), 202}, {"auto", raw(block), 203},
		{"on", raw(whole), 202}, {"on", nphRaw(whole), 202},
		{"off", nphRaw(block), 203}, {"off", raw(block), 203},
	} {
		if res := do(t, build(t, CGI{NPH: c.option}), c.req); res.err != nil || res.status != c.status {
			t.Errorf("nph %q, %s: %d, %v", c.option, c.req.target, res.status, res.err)
		}
	}
	res := do(t, build(t, CGI{}), raw(whole))
	if res.statusError() != 502 || !strings.Contains(res.err.Error(), "only an NPH script sends (option nph)") {
		t.Errorf("a status line from an ordinary script: %v", res.err)
	}
}

// A HEAD request gets no body from these scripts either.
func TestHEADOfAnNPHScript(t *testing.T) {
	req := nphRaw("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody")
	req.method = "HEAD"
	if res := do(t, build(t, CGI{}), req); res.err != nil || res.status != 200 || res.body != "" || !res.complete {
		t.Errorf("%+v", res)
	}
}
