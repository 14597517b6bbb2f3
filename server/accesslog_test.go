package server

import (
	"errors"
	"log/slog"
	"net/http"
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
	other := *record
	other.Request = &http.Request{Method: "GET", RequestURI: "*", Proto: "HTTP/2.0", ProtoMajor: 2, RemoteAddr: "@", Header: http.Header{}}
	other.Status, other.Bytes = 0, 0
	v6 := other
	v6.Request = &http.Request{RemoteAddr: "[2001:db8::1]:80"}
	const common = `192.0.2.7 - - [10/Feb/2026:12:34:56 +0000] "GET /a%20b?x=1 HTTP/1.1" 200 1234`
	for _, tt := range []struct {
		format string
		rec    *pagi.HTTPRecord
		want   string
	}{
		{"", record, common},
		{"common", record, common},
		{"clf", record, common},
		{"combined", record, common + ` "http://e/" "Evil \"1.0\\\x0d\x0a192.0.2.8 - - fake\x7f\xff"`},
		{"tiny", record, "GET /a%20b?x=1 200 1234567us"},
		{"%h %l %u %m %U %q %H %s %>s %b %B %d %D %T %% %{host}i %{x-none}i end", record,
			"192.0.2.7 - - GET /a%20b ?x=1 HTTP/1.1 200 200 1234 1234 1.235 1234567 1 % example.org - end"},
		{"%h %H %U%q %s %b %B", &other, "- HTTP/2 * 499 - 0"},
		{"%h", &v6, "2001:db8::1"},
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
	for _, bad := range []string{"%", "%Z", "%{x", "%{x}o", "%{x}"} {
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

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestAccessLogThatCannotBeWrittenIsReportedOnce(t *testing.T) {
	log := &testkit.Log{}
	f, err := ParseAccessFormat("tiny")
	if err != nil {
		t.Fatal(err)
	}
	a := newAccessLog(failingWriter{}, f, slog.New(slog.NewTextHandler(log, nil)))
	a.start()
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
