//go:build unix

package cgi_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/cgi"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// What a script writes can not become a second response on the connection.
func TestResponseSplittingOverASocket(t *testing.T) {
	server := serve(t, cgi.CGI{Root: scripts})
	const inner = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Forged: yes\r\n\r\nforged"
	for name, c := range map[string]struct {
		script, output string
		status         int
	}{
		"a bare CR in a value":         {"raw.cgi", "Content-Type: text/plain\nX-A: b\rX-Forged: yes\n\nx", 200},
		"a NUL in a value":             {"raw.cgi", "Content-Type: text/plain\nX-A: b\x00X-Forged: yes\n\nx", 200},
		"a bare CR in a status":        {"raw.cgi", "Status: 200 OK\rX-Forged: yes\n\nx", 502},
		"a CR in an address":           {"raw.cgi", "Location: http://a/\rX-Forged: yes\n\n", 502},
		"CRLF in a local address":      {"raw.cgi", "Location: /elsewhere%0d%0aX-Forged:%20yes\n\n", 302},
		"more than its length":         {"raw.cgi", "Content-Type: text/plain\nContent-Length: 2\n\nok" + inner, 200},
		"a coding of its own":          {"raw.cgi", "Content-Type: text/plain\nTransfer-Encoding: chunked\n\n0\r\n\r\n" + inner, 200},
		"no body by its status":        {"raw.cgi", "Status: 304\n\n" + inner, 304},
		"a chunked NPH body":           {"nph-raw.cgi", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner, 200},
		"an NPH body beyond its end":   {"nph-raw.cgi", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + inner, 200},
		"two lengths of an NPH script": {"nph-raw.cgi", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 60\r\n\r\nok" + inner, 502},
	} {
		conn := testkit.Dial(t, server.Listener.Addr().String())
		target := "/cgi-bin/" + c.script + "?" + strings.ReplaceAll(url.QueryEscape(c.output), "+", "%20")
		conn.Say("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n")
		res, _ := conn.Response("GET")
		if res.StatusCode != c.status || res.Header.Get("X-Forged") != "" {
			t.Errorf("%s: %d, %v", name, res.StatusCode, res.Header)
		}
		if res.Close {
			continue // nothing can follow
		}
		conn.Say("GET /cgi-bin/hello.cgi HTTP/1.1\r\nHost: x\r\n\r\n")
		if res, body := conn.Response("GET"); res.StatusCode != 200 || body != "Hello from sh\n" {
			t.Errorf("%s: the next response is %d %v %q", name, res.StatusCode, res.Header, body)
		}
	}
}

// A client can set no variable but HTTP_ ones of honest names.
func TestVariablesCannotBeForgedOverASocket(t *testing.T) {
	server := serve(t, cgi.CGI{Root: scripts})
	conn := testkit.Dial(t, server.Listener.Addr().String())
	conn.Say("GET /cgi-bin/env.cgi HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" +
		"Proxy: http://forged/\r\nPROXY: forged\r\nX_Forwarded_For: forged\r\nAuthorization: Basic forged\r\n" +
		"Remote-User: honest\r\nPath: honest\r\nLd-Preload: honest\r\nX.Forged: forged\r\nX'Forged: forged\r\nX-Shell: () { :; }; echo honest\r\n\r\n")
	res, body := conn.Response("GET")
	if res.StatusCode != 200 || strings.Contains(body, "forged") {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	for variable := range strings.SplitSeq(body, "\x00") {
		if name, value, _ := strings.Cut(variable, "="); strings.HasSuffix(value, "honest") && !strings.HasPrefix(name, "HTTP_") {
			t.Errorf("a header became %s", variable)
		}
	}
	for _, header := range []string{"X A: b", "X-A : b", "X-A\x00: b", "X-A=b: c"} {
		conn := testkit.Dial(t, server.Listener.Addr().String())
		conn.Say("GET /cgi-bin/env.cgi HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + header + "\r\n\r\n")
		if line, _, _ := strings.Cut(conn.Rest(), "\r\n"); !strings.Contains(line, " 400 ") {
			t.Errorf("%q: %s", header, line)
		}
	}
}

// A body is what Content-Length says, whatever the client sends.
func TestContentLengthsThatLie(t *testing.T) {
	server := serve(t, cgi.CGI{Root: scripts})
	address := server.Listener.Addr().String()
	conn := testkit.Dial(t, address)
	conn.Say("POST /cgi-bin/cat.cgi HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /cgi-bin/hello.cgi HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, body := conn.Response("POST"); body != "abc" {
		t.Errorf("a body longer than its length: %q", body)
	}
	if _, body := conn.Response("GET"); body != "Hello from sh\n" {
		t.Errorf("what comes behind it: %q", body)
	}
	for _, head := range []string{"Content-Length: 3\r\nContent-Length: 4", "Content-Length: -3", "Content-Length: 3x", "Content-Length: 99999999999999999999"} {
		conn := testkit.Dial(t, address)
		conn.Say("POST /cgi-bin/cat.cgi HTTP/1.1\r\nHost: x\r\n" + head + "\r\n\r\nabcdef")
		if line, _, _ := strings.Cut(conn.Rest(), "\r\n"); !strings.Contains(line, " 400 ") && !strings.Contains(line, " 413 ") {
			t.Errorf("%q: %s", head, line)
		}
	}
}
