package accesslog

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

func TestAccessFormats(t *testing.T) {
	record := &engine.Record{
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
	closed.Close = &engine.Closing{Code: 1001, Reason: "idle for too long"}
	const common = `192.0.2.7 - - [10/Feb/2026:12:34:56 +0000] "GET /a%20b?x=1 HTTP/1.1" 200 1234`
	for _, tt := range []struct {
		format string
		rec    *engine.Record
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
			f, err := ParseFormat(tt.format)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(f.Append(nil, tt.rec)); got != tt.want+"\n" {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	for _, bad := range []string{"%", "%Z", "%{x", "%{x}e", "%{x}", "%{min}T"} {
		if _, err := ParseFormat(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestAccessLogThatCannotBeWrittenIsReportedOnce(t *testing.T) {
	log := &testkit.Log{}
	a := New(slog.New(slog.NewTextHandler(log, nil)))
	a.Set(Options{Writer: failingWriter{}, Format: "tiny"})
	for range 3 {
		a.RequestDone(&engine.Record{Request: &http.Request{RequestURI: strings.Repeat("x", bufferSize)}})
	}
	a.RequestDone(&engine.Record{Request: &http.Request{}})
	a.Close()
	if n := strings.Count(log.String(), "disk full"); n != 1 {
		t.Errorf("reported %d times", n)
	}
}

// stuck takes nothing until it is released.
type stuck struct {
	testkit.Log
	release chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.release
	return s.Log.Write(p)
}

// TestAStuckAccessLogDelaysNoRequest has requests, a reload and a stop not wait for
// what takes no line.
func TestAStuckAccessLogDelaysNoRequest(t *testing.T) {
	log := &testkit.Log{}
	w := &stuck{release: make(chan struct{})}
	a := New(slog.New(slog.NewTextHandler(log, nil)))
	a.Set(Options{Writer: w, Format: "tiny"})
	const enough = 100 // more than there is room for
	record := &engine.Record{Request: &http.Request{RequestURI: strings.Repeat("x", bufferSize)}}
	for range enough {
		a.RequestDone(record)
	}
	if !strings.Contains(log.String(), "lines are lost") {
		t.Errorf("nothing is told: %s", log)
	}
	close(w.release)
	log.WaitFor(t, "access log is written again", "lost=")
	a.Close()
	var lost int
	_, after, _ := strings.Cut(log.String(), "lost=")
	if _, err := fmt.Sscan(after, &lost); err != nil {
		t.Fatal(err)
	}
	if written := strings.Count(w.String(), "\n"); written+lost != enough {
		t.Errorf("%d lines written, %d lost", written, lost)
	}

	w = &stuck{release: make(chan struct{})}
	a = New(slog.New(slog.NewTextHandler(log, nil)))
	a.Set(Options{Writer: w, Format: "tiny"})
	a.RequestDone(record)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.Set(Options{Writer: &testkit.Log{}, Format: "tiny"})
		a.Close()
	}()
	testkit.Await(t, ended)
	close(w.release)
	log.WaitFor(t, "the end of the access log is lost")
}
