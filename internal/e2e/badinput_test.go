package e2e

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// echoApp answers what it was asked and misbehaves on demand.
const echoApp = `sub {
	my $e = shift;
	my $p = $e->{PATH_INFO};
	die "out of cheese\n" if $p eq '/die';
	exit 3 if $p eq '/exit';
	return 'nonsense' if $p eq '/garbage';
	sleep 60 if $p eq '/sleep';
	return sub { my $w = $_[0]->([200, []]); $w->write('part'); die "torn\n" } if $p eq '/torn';
	my $body = do { local $/; readline $e->{'psgi.input'} };
	$body = '' if !defined $body;
	[200, ['Content-Type' => 'text/plain'], ["$e->{REQUEST_METHOD} $p $e->{QUERY_STRING} [$body] ", join ',', sort grep /^HTTP_/, keys %$e]];
}`

// Requests that well-behaved clients never send.
func TestBadRequests(t *testing.T) {
	g := serve(t, "-w", "1", "--max-body-size", "1000", "-e", echoApp)
	for _, c := range []struct {
		name, request string
		status        int
		body          string // what the answer must contain
		closes        bool
	}{
		{"a good one", "GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n", 200, "GET /a b []", false},
		{"a body", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 200, "[abc]", false},
		{"a WebSocket, which PSGI does not know", "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", 403, "Forbidden", true},
		{"a WebSocket of another version", "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n\r\n", 426, "", true},
		{"a chunked body", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", 200, "[abc]", false},
		{"no request line", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, "", true},
		{"a request line of two words", "GET /\r\n\r\n", 400, "", true},
		{"a version of the future", "GET / HTTP/7.0\r\nHost: x\r\n\r\n", 505, "", true},
		{"no host", "GET / HTTP/1.1\r\n\r\n", 400, "", true},
		{"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "", true},
		{"a space before the colon", "GET / HTTP/1.1\r\nHost: x\r\nX-A : 1\r\n\r\n", 400, "", true},
		{"a NUL in a header", "GET / HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n", 400, "", true},
		{"a header without a colon", "GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n", 400, "", true},
		{"both framings", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "", true},
		{"two lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400, "", true},
		{"a length that is no number", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc", 400, "", true},
		{"an unknown transfer coding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: brotli\r\n\r\n", 501, "", true},
		{"too many headers", "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: 1\r\n", 200) + "\r\n", 431, "", true},
		{"a head too large", "GET / HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("x", 40<<10) + "\r\n\r\n", 431, "", true},
		{"a declared body over the limit", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n", 413, "", true},
		{"a chunked body over the limit", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3ea\r\n" + strings.Repeat("x", 1002) + "\r\n0\r\n\r\n", 413, "", true},
		{"a proxy header", "GET / HTTP/1.1\r\nHost: x\r\nProxy: evil\r\n\r\n", 200, "[] HTTP_CONNECTION,HTTP_HOST", false},
		{"an underscore in a name", "GET / HTTP/1.1\r\nHost: x\r\nX_Forwarded_For: me\r\n\r\n", 200, "[] HTTP_CONNECTION,HTTP_HOST", false},
		{"an app that dies", "GET /die HTTP/1.1\r\nHost: x\r\n\r\n", 500, "", false},
		{"a worker that dies", "POST /exit HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 502, "", false},
		{"an answer that is none", "GET /garbage HTTP/1.1\r\nHost: x\r\n\r\n", 502, "", false},
		{"and all is well again", "GET /again HTTP/1.1\r\nHost: x\r\n\r\n", 200, "GET /again", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, body, err := g.raw(strings.Replace(c.request, "Host: x\r\n", "Host: x\r\nConnection: close\r\n", 1))
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != c.status || !strings.Contains(body, c.body) {
				t.Errorf("%d %q, want %d with %q", res.StatusCode, body, c.status, c.body)
			}
			if c.closes && !res.Close {
				t.Error("the connection is kept")
			}
			if c.status >= 400 && strings.Contains(body, "cheese") {
				t.Errorf("the client sees the application's error: %q", body)
			}
		})
	}
	for _, line := range []string{"out of cheese", "exit status 3", "returned the string 'nonsense'", "--max-body-size", "--max-header-count", "--max-header-size"} {
		g.Log.WaitFor(t, line)
	}
}

// An answer that breaks off must look broken.
func TestTornAnswer(t *testing.T) {
	g := serve(t, "-w", "1", "-e", echoApp)
	_, body, err := g.raw("GET /torn HTTP/1.1\r\nHost: x\r\n\r\n")
	if !errors.Is(err, io.ErrUnexpectedEOF) || body != "part" {
		t.Errorf("%q, %v", body, err)
	}
	g.Log.WaitFor(t, "torn")
}

func TestDevelopmentPageIsShown(t *testing.T) {
	g := serve(t, "-w", "1", "-E", "development", "-e", echoApp)
	res, body := g.get("/die")
	if res.StatusCode != 500 || !strings.Contains(body, "out of cheese") || !strings.Contains(res.Header.Get("Content-Type"), "text/html") {
		t.Errorf("%d %q", res.StatusCode, body)
	}
}

func siteFile(t *testing.T, content string) string {
	t.Helper()
	return filepath.Join(testkit.Tree(t, map[string]string{"site.yaml": content}), "site.yaml")
}

// With one worker, a queue of one, and a worker that sleeps.
func TestBusyAndTimeLimits(t *testing.T) {
	indented := strings.ReplaceAll(echoApp, "\n", "\n        ")
	g := serveProgram(t, program, "-c", siteFile(t, fmt.Sprintf(`
listen: ["127.0.0.1:0"]
mounts:
  - path: /
    psgi:
      code: |
        %s
    workers: 1
    queue_size: 1
    queue_timeout: 300ms
    request_timeout: 1s
`, indented)))
	done := make(chan int, 2)
	for range 2 {
		go func() {
			res, _, err := g.raw("POST /sleep HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			if err != nil {
				t.Error(err)
				done <- 0
				return
			}
			if res.StatusCode == 503 && res.Header.Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
			done <- res.StatusCode
		}()
	}
	got := []int{<-done, <-done}
	if fmt.Sprint(got) != "[503 504]" {
		t.Errorf("%v, want the queued one 503 and the running one 504", got)
	}
	if res, _ := g.get("/"); res.StatusCode != 200 {
		t.Errorf("afterwards: %d", res.StatusCode)
	}
}

// A client that sends its head or its body drop by drop gets no worker.
func TestSlowClients(t *testing.T) {
	g := serve(t, "-w", "1", "--header-timeout", "1", "--body-timeout", "1", "-e", echoApp)
	for name, request := range map[string]string{
		"head": "GET / HTTP/1.1\r\nHost:",
		"body": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res, _, err := g.raw(request)
			if err == nil && res.StatusCode != 408 {
				t.Errorf("%d", res.StatusCode)
			}
			if err != nil && name == "body" {
				t.Errorf("no 408: %v", err)
			}
			if res, _ := g.get("/free"); res.StatusCode != 200 {
				t.Errorf("the worker was tied up: %d", res.StatusCode)
			}
		})
	}
}
