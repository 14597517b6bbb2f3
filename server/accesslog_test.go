package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

func TestAccessFormats(t *testing.T) {
	record := &pagi.HTTPRecord{
		Request: &http.Request{
			Method: "GET", RequestURI: "/a%20b?x=1", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			RemoteAddr: "192.0.2.7:4711", Host: "example.org",
			Header: http.Header{"Referer": {"http://e/"}, "User-Agent": {`Evil "1.0\` + "\r\n192.0.2.8 - - fake\x7f\xff"}},
		},
		Status: 200, Bytes: 1234,
		Begin:    time.Date(2026, 2, 10, 12, 34, 56, 0, time.UTC),
		Duration: 1234567 * time.Microsecond,
	}
	visitor := *record
	visitor.Request = record.Request.WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443}))
	visitor.Request.Header = http.Header{"Cookie": {`a=one; b=t"wo`}}
	other := *record
	other.Request = &http.Request{Method: "GET", RequestURI: "*", Proto: "HTTP/2.0", ProtoMajor: 2, RemoteAddr: "@", Header: http.Header{}}
	other.Status, other.Bytes = 0, 0
	v6 := other
	v6.Request = &http.Request{RemoteAddr: "[2001:db8::1]:80"}
	closed := other
	closed.Request, closed.Status, closed.Reason = &http.Request{RemoteAddr: "@"}, 101, pagi.ReasonIdleTimeout
	closed.Close = &pagi.HTTPClose{Code: 1001, Reason: "idle for too long"}
	const common = `192.0.2.7 - - [10/Feb/2026:12:34:56 +0000] "GET /a%20b?x=1 HTTP/1.1" 200 1234`
	for _, tt := range []struct {
		format string
		rec    *pagi.HTTPRecord
		want   string
	}{
		{"", record, common},
		{"common", record, common},
		{"clf", record, `192.0.2.7 - - [10/Feb/2026:12:34:56 +0000] "GET /a%20b?x=1" 200 1.235s`},
		{"json", record, `{"time":"2026-02-10T12:34:56Z","client":"192.0.2.7","method":"GET","path":"/a%20b","query":"x=1","protocol":"HTTP/1.1",` +
			`"status":200,"bytes":1234,"seconds":1.234567,"referer":"http://e/","user_agent":"Evil \"1.0\\\r\n192.0.2.8 - - fake` + "\x7f" + `\ufffd","host":"example.org"}`},
		{"json", &v6, `{"time":"2026-02-10T12:34:56Z","client":"2001:db8::1","status":499,"bytes":0,"seconds":1.234567}`},
		{"json", &closed, `{"time":"2026-02-10T12:34:56Z","status":101,"bytes":0,"seconds":1.234567,"reason":"idle_timeout","close_code":1001,"close_reason":"idle for too long"}`},
		{"%a %v %P", record, "192.0.2.7 example.org " + strconv.Itoa(os.Getpid())},
		{"%V %{ms}T %{us}T %{s}T %{a}C %{b}C %{none}C", &visitor, "example.org 1234 1234567 1 one t\\\"wo -"},
		{"%A %p", &visitor, "192.0.2.1 443"},
		{"%A %p %{x}o", &other, "- - -"},
		{"combined", record, common + ` "http://e/" "Evil \"1.0\\\x0d\x0a192.0.2.8 - - fake\x7f\xff"`},
		{"tiny", record, "GET /a%20b?x=1 200 1234567us"},
		{"%h %l %u %m %U %q %H %s %>s %b %B %d %D %T %% %{host}i %{x-none}i end", record,
			"192.0.2.7 - - GET /a%20b ?x=1 HTTP/1.1 200 200 1234 1234 1.235 1234567 1 % example.org - end"},
		{"%h %H %U%q %s %b %B", &other, "- HTTP/2 * 499 - 0"},
		{"%h", &v6, "2001:db8::1"},
		{`"%r" %m %U %q %H.`, &v6, `"-" - -  -.`},
	} {
		t.Run(tt.format, func(t *testing.T) {
			f, err := ParseAccessFormat(tt.format)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(f.Append(nil, tt.rec)); got != tt.want+"\n" {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	for _, bad := range []string{"%", "%Z", "%{x", "%{x}e", "%{x}", "%{min}T"} {
		if _, err := ParseAccessFormat(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestAccessLogIsFlushedPeriodicallyAndAtTheEnd(t *testing.T) {
	x := launch(t, &Server{App: echo, AccessLogFormat: "%m %U %s %B"})
	x.request("GET /first HTTP/1.1\r\nHost: x\r\n\r\n").Response("GET")
	testkit.Eventually(t, "the first line", func() bool { return x.access.String() == "GET /first 200 7\n" })
	x.request("POST /second HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n").Response("GET")
	x.stop()
	if got := x.access.String(); got != "GET /first 200 7\nPOST /second 413 25\n" {
		t.Errorf("log %q", got)
	}
}

// What only the connection and the response know is told for both ways to serve a request.
func TestAccessLogOfConnectionAndResponse(t *testing.T) {
	onH2(t, func(t *testing.T, launch func(*Server) (*site, *peer)) {
		tagged := pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
			if err := send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("X-Request-ID", "abc")}); err != nil {
				return err
			}
			return send(ctx, pagi.HTTPResponseBody{Body: []byte("x")})
		})
		x, p := launch(&Server{App: tagged, AccessLogFormat: "%A:%p %{X-Request-Id}o %{x-none}o"})
		p.request(1, "GET", true)
		if got := p.answer(1); got != "200 x" {
			t.Fatal(got)
		}
		want := x.addr + " abc -\n"
		if x.server.TLSCert == "" { // without TLS: HTTP/1, too
			x.request(ask).Response("GET")
			want += want
		}
		testkit.Eventually(t, "the lines", func() bool { return x.access.String() == want })
	})
}

// Requests that no application sees are in it, with what is known of them.
func TestAccessLogOfRequestsTurnedDown(t *testing.T) {
	const h = "Host: x\r\n"
	for _, tt := range []struct{ name, request, want string }{
		{"no host", "GET /a HTTP/1.1\r\n\r\n", `127.0.0.1 "GET /a HTTP/1.1" 400 12`},
		{"ambiguous", "POST /b HTTP/1.1\r\n" + h + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", `127.0.0.1 "POST /b HTTP/1.1" 400 12`},
		{"a broken target", "GET /%zz HTTP/1.1\r\n" + h + "\r\n", `127.0.0.1 "GET /%zz HTTP/1.1" 400 12`},
		{"a line that would forge another", "GET /\"\x01 HTTP/1.1\r\n" + h + "\r\n", `127.0.0.1 "GET /\"\x01 HTTP/1.1" 400 12`},
		{"no request at all", "\x16\x03\x01\r\n\r\n", `127.0.0.1 "-" 400 12`},
		{"too slow", "GET /c HTTP/1.1\r\n" + h, `127.0.0.1 "GET /c HTTP/1.1" 408 16`},
		{"too slow in its first line", "GET /c", `127.0.0.1 "-" 408 16`},
		{"an unknown expectation", "GET /d HTTP/1.1\r\n" + h + "Expect: wonders\r\n\r\n", `127.0.0.1 "GET /d HTTP/1.1" 417 19`},
		{"too large", "GET /e HTTP/1.1\r\n" + h + "A: " + strings.Repeat("x", DefaultMaxHeaderSize) + "\r\n\r\n", `127.0.0.1 "GET /e HTTP/1.1" 431 32`},
		{"too long", "GET /" + strings.Repeat("x", DefaultMaxHeaderSize) + " HTTP/1.1\r\n" + h + "\r\n", `127.0.0.1 "-" 414 21`},
		{"an unknown coding", "POST /f HTTP/1.1\r\n" + h + "Transfer-Encoding: gzip\r\n\r\n", `127.0.0.1 "POST /f HTTP/1.1" 501 16`},
		{"an unknown version", "GET /g HTTP/3.0\r\n" + h + "\r\n", `127.0.0.1 "GET /g HTTP/3.0" 505 27`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := launch(t, &Server{App: echo, AccessLogFormat: `%h "%r" %s %B`, HeaderTimeout: 100 * time.Millisecond})
			c := x.request(tt.request)
			res, _ := c.Response("GET")
			_ = c.Close() // lets the server close at once
			if _, err := http.ParseTime(res.Header.Get("Date")); err != nil {
				t.Error(err)
			}
			x.stop()
			if got := x.access.String(); got != tt.want+"\n" {
				t.Errorf("logged %s", got)
			}
		})
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestAccessLogThatCannotBeWrittenIsReportedOnce(t *testing.T) {
	log := &testkit.Log{}
	a := newAccessLog(slog.New(slog.NewTextHandler(log, nil)))
	a.set(&Server{AccessLog: failingWriter{}, AccessLogFormat: "tiny"})
	for range 3 {
		a.record(&pagi.HTTPRecord{Request: &http.Request{RequestURI: strings.Repeat("x", accessBuffer)}})
	}
	a.record(&pagi.HTTPRecord{Request: &http.Request{}})
	if err := a.close(); err == nil {
		t.Error("no error at the end")
	}
	if n := strings.Count(log.String(), "disk full"); n != 1 {
		t.Errorf("reported %d times", n)
	}
}
