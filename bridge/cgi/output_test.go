//go:build unix

package cgi

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

func raw(output string) ask {
	return ask{root: "/cgi", target: "/cgi/raw.cgi?" + strings.ReplaceAll(url.QueryEscape(output), "+", "%20")}
}

const typ = "Content-Type: text/plain\n"

func TestOutputThatIsAResponse(t *testing.T) {
	text := []string{"content-type", "text/plain"}
	for name, c := range map[string]struct {
		output  string
		status  int
		headers []string
		body    string
	}{
		"LF":                       {typ + "\nbody", 200, text, "body"},
		"CRLF":                     {"Content-Type: text/plain\r\n\r\nbody", 200, text, "body"},
		"CRLF and LF":              {"Content-Type: text/plain\r\n\nbody\r\n\r\n", 200, text, "body\r\n\r\n"},
		"LF and CRLF by line":      {"X-A: 1\r\n" + typ + "X-B: 2\r\n\nbody", 200, []string{"x-a", "1", "content-type", "text/plain", "x-b", "2"}, "body"},
		"a response in the body":   {typ + "\nHTTP/1.1 500 No\r\nX-A: b\r\n\r\n", 200, text, "HTTP/1.1 500 No\r\nX-A: b\r\n\r\n"},
		"the lowest status":        {"Status: 200\n\nx", 200, nil, "x"},
		"the highest status":       {"Status: 999 A\tlong (reason)\n\nx", 999, nil, "x"},
		"no body":                  {typ + "\n", 200, text, ""},
		"a body of line ends":      {typ + "\n\n\n", 200, text, "\n\n"},
		"names in any case":        {"CONTENT-TYPE:text/plain\nsTATUS:   404   \n\nx", 404, text, "x"},
		"status with reason":       {"Status: 404 Not Found\n" + typ + "\nx", 404, text, "x"},
		"status alone":             {"Status: 204\n\n", 204, nil, ""},
		"status without type":      {"Status: 500 Oops\n\nbroken", 500, nil, "broken"},
		"an unusual status":        {"Status: 799 Ha\n" + typ + "\nx", 799, text, "x"},
		"the same status twice":    {"Status: 404\nStatus: 404\n" + typ + "\nx", 404, text, "x"},
		"204 with a body":          {"Status: 204\n" + typ + "\nx", 204, text, ""},
		"304 with a body":          {"Status: 304\n" + typ + "\nx", 304, text, ""},
		"redirect to another site": {"Location: https://example.com/x?y#z\n\n", 302, []string{"location", "https://example.com/x?y#z"}, ""},
		"redirect, with document":  {"Location: http://example.com/\nStatus: 303 See\n" + typ + "\ngo there", 303, append([]string{"location", "http://example.com/"}, text...), "go there"},
		"redirect, own status":     {"Status: 301\nLocation: /here\n\n", 301, []string{"location", "/here"}, ""},
		"path with more headers":   {"Location: /cgi/hello.cgi\nSet-Cookie: a=b\n\n", 302, []string{"location", "/cgi/hello.cgi", "set-cookie", "a=b"}, ""},
		"redirect to //host":       {"Location: //example.com/x\n\n", 302, []string{"location", "//example.com/x"}, ""},
		"redirect, relative":       {"Location: other.html\n\n", 302, []string{"location", "other.html"}, ""},
		"several cookies":          {"Set-Cookie: a=1\n" + typ + "Set-Cookie: b=2\n\nx", 200, []string{"set-cookie", "a=1", "content-type", "text/plain", "set-cookie", "b=2"}, "x"},
		"type twice, the last one": {"Content-Type: a/b\n" + typ + "\nx", 200, text, "x"},
		"an empty header":          {typ + "X-Empty:\n\nx", 200, append(text, "x-empty", ""), "x"},
		"UTF-8 in a header":        {typ + "X-Name: Zoë\n\nx", 200, append(text, "x-name", "Zoë"), "x"},
		"headers of the transport": {typ + "Connection: close\nTransfer-Encoding: identity\nKeep-Alive: 5\nUpgrade: x\nTrailer: y\n\nx", 200, text, "x"},
		"a chunked body":           {typ + "Transfer-Encoding: Chunked\n\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n", 200, text, "body"},
		"304 with chunks":          {"Status: 304\n" + typ + "Transfer-Encoding: chunked\n\n", 304, text, ""},
		"a bad name":               {typ + "X Y: z\n\nx", 200, text, "x"},
		"an empty name":            {typ + ": z\n\nx", 200, text, "x"},
		"a folded line":            {typ + "X-Y: z\r\n  more: x\r\n\tand y\r\n\r\nx", 200, append(text, "x-y", "z more: x and y"), "x"},
		"a fold of the first line": {" folded\n" + typ + "\nx", 200, text, "x"},
		"a folded Content-Type":    {"Content-Type:\n text/plain\n\nx", 200, text, "x"},
		"a CR before a name":       {typ + "\rX-Y: z\n\nx", 200, text, "x"},
		"a CR at a name's end":     {typ + "X-Y\r: z\n\nx", 200, text, "x"},
		"a CR inside a line":       {typ + "X-Y: a\rSet-Cookie: b\n\nx", 200, text, "x"},
		"a BEL inside a line":      {typ + "X-Y: a\x07b\n\nx", 200, text, "x"},
		"a NUL inside a line":      {typ + "X-Y: a\x00b\n\nx", 200, text, "x"},
		"a page of Python's cgitb": {"<!--: spam\nContent-Type: text/plain\n\n<body>", 200, text, "<body>"},
		"its length":               {typ + "Content-Length: 4\n\nbody", 200, append(text, "content-length", "4"), "body"},
		"more than its length":     {typ + "Content-Length: 2\n\nbody", 200, append(text, "content-length", "2"), "bo"},
		"binary":                   {typ + "\n\x00\xff\n\n\x00", 200, text, "\x00\xff\n\n\x00"},
		"a large header block":     {typ + "X-Pad: " + strings.Repeat("x", 30000) + "\n\nx", 200, append(text, "x-pad", strings.Repeat("x", 30000)), "x"},
	} {
		t.Run(name, func(t *testing.T) {
			res := do(t, build(t, CGI{}), raw(c.output))
			if res.err != nil || res.status != c.status || res.body != c.body || !res.complete {
				t.Errorf("status %d, body %q, complete %v, error %v", res.status, res.body, res.complete, res.err)
			}
			if diff := cmp.Diff(pagi.NewHeaders(c.headers...), append(pagi.Headers{}, res.headers...)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOutputThatIsNoResponseIs502(t *testing.T) {
	for name, c := range map[string]struct{ output, reason string }{
		"nothing":                  {"", "it wrote no output"},
		"text without headers":     {"hello world\n\nx", "is not a header line"},
		"no empty line":            {typ, "no end of headers"},
		"no line end at all":       {"Content-Type: text/plain", "no end of headers"},
		"an empty line first":      {"\n" + typ + "\nx", "an empty line came first"},
		"an empty CRLF line first": {"\r\nx", "an empty line came first"},
		"no type":                  {"X-Other: y\n\nx", "no Content-Type"},
		"a status that is a word":  {"Status: OK\n" + typ + "\nx", `bad Status, "OK"`},
		"a status of two digits":   {"Status: 20\n" + typ + "\nx", "bad Status"},
		"a status of four digits":  {"Status: 2000\n" + typ + "\nx", "bad Status"},
		"a negative status":        {"Status: -20\n" + typ + "\nx", "bad Status"},
		"an interim status":        {"Status: 100 Continue\n\n", "bad Status"},
		"an empty status":          {"Status:\n" + typ + "\nx", "bad Status"},
		"a status below 200":       {"Status: 199\n" + typ + "\nx", "bad Status"},
		"a status with a sign":     {"Status: +20\n" + typ + "\nx", "bad Status"},
		"1001 header fields":       {strings.Repeat("a:\n", 1000) + typ + "\nx", "more than 1000 header fields"},
		"a status line":            {"HTTP/1.1 200 OK\r\n" + typ + "\nx", "which only an NPH script sends"},
		"a status glued to text":   {"Status: 200OK\n" + typ + "\nx", "bad Status"},
		"two statuses":             {"Status: 200\nStatus: 404\n" + typ + "\nx", "two Status fields"},
		"two locations":            {"Location: /a\nLocation: /b\n\n", "two Location fields"},
		"a bad length":             {typ + "Content-Length: many\n\nx", "bad Content-Length"},
		"a negative length":        {typ + "Content-Length: -1\n\nx", "bad Content-Length"},
		"two lengths":              {typ + "Content-Length: 1\nContent-Length: 2\n\nx", "bad Content-Length"},
		"too large a header block": {typ + "X-Pad: " + strings.Repeat("x", 40000) + "\n\nx", "larger than 32768 bytes"},
		"a broken status":          {"Status: 404\x07\n" + typ + "\nx", "control character"},
		"a broken location":        {"Location: /a\x07\n\nx", "control character"},
		"another coding":           {typ + "Transfer-Encoding: gzip, chunked\n\nx", "only chunked"},
		"chunked and a length":     {typ + "Transfer-Encoding: chunked\nContent-Length: 1\n\nx", "both Transfer-Encoding and Content-Length"},
		"chunked without chunks":   {typ + "Transfer-Encoding: chunked\n\nx\n", "announced a chunked body"},
		"headers without an end":   {strings.Repeat("X-Pad: yes\n", 3500), "larger than 32768 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			res := do(t, build(t, CGI{}), raw(c.output))
			if res.statusError() != 502 || res.status != 0 {
				t.Fatalf("status %d, error %v; want a 502", res.status, res.err)
			}
			if text := res.err.Error(); !strings.Contains(text, c.reason) || !strings.Contains(text, "raw.cgi") || !strings.Contains(text, "pid ") {
				t.Errorf("the log would say: %s", text)
			}
		})
	}
}

func TestABrokenHeaderLineIsNamedInTheLog(t *testing.T) {
	for kind, req := range map[string]ask{"cgi": raw(typ + strings.Repeat("X Y: spam\n", 7) + "\nx"), "nph": nphRaw("HTTP/1.1 200 OK\n" + strings.Repeat("X Y: spam\n", 7) + "\nx")} {
		log := &testkit.Log{}
		res := do(t, build(t, CGI{Logger: log.Logger()}), req)
		const line = `level=WARN msg="a header line of a script is left out"`
		if res.status != 200 || strings.Count(log.String(), line) != 5 || !strings.Contains(log.String(), "X Y: spam") || !strings.Contains(log.String(), "raw.cgi") {
			t.Errorf("%s: %d, log %s", kind, res.status, log)
		}
	}
}

func TestAResponseShorterThanItsLengthIsCut(t *testing.T) {
	res := do(t, build(t, CGI{}), raw(typ+"Content-Length: 10\n\nbody"))
	if res.err == nil || res.complete || res.body != "body" || !strings.Contains(res.err.Error(), "6 bytes shorter") {
		t.Errorf("%+v", res)
	}
}

func TestHEADGetsNoBody(t *testing.T) {
	req := raw(typ + "Content-Length: 4\n\nbody")
	req.method = "HEAD"
	res := do(t, build(t, CGI{}), req)
	if res.err != nil || res.status != 200 || res.body != "" || !res.complete || res.headers.Get("content-length") != "4" {
		t.Errorf("%+v", res)
	}
}

// The block is found wherever a read happens to end.
func TestHeadersThatComeInPieces(t *testing.T) {
	for _, end := range []string{"\n", "\r\n"} {
		text := "Content-Type: text/plain" + end + "X-A: b" + end + end + "body\n\n"
		buf := make([]byte, 1024)
		block, rest, err := readHead(iotest.OneByteReader(strings.NewReader(text)), buf, len(buf))
		if err != nil || string(block) != "Content-Type: text/plain"+end+"X-A: b"+end || len(rest) != 0 {
			t.Errorf("%q: %q, %q, %v", end, block, rest, err)
		}
	}
}

func FuzzHead(f *testing.F) {
	for _, seed := range []string{"", "\n", "\r\n\r\n", "Content-Type: a\n\nx", "Status: 404\r\n\r\n", "Location: /\n\n", "a:b\n\r\n", ":\n\n"} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, output []byte, size int) {
		buf := make([]byte, 256)
		whole, rest, err := readHead(strings.NewReader(string(output)), buf, len(buf))
		if err != nil {
			return
		}
		kept := string(whole)
		if len(whole)+len(rest) > len(output) {
			t.Fatalf("more than was written: %q %q", whole, rest)
		}
		again, _, err := readHead(iotest.OneByteReader(strings.NewReader(string(output))), make([]byte, 256), 256)
		if err != nil || string(again) != kept {
			t.Fatalf("in pieces: %q, %v; at once: %q", again, err, kept)
		}
		h, err := parseHead([]byte(kept))
		if err != nil {
			return
		}
		if h.location == "" {
			if verr := pagi.Validate(pagi.TypeHTTP, pagi.HTTPResponseStart{Status: h.status, Headers: h.headers}); verr != nil {
				t.Fatal(fmt.Errorf("%q: %w", kept, verr))
			}
		}
	})
}
