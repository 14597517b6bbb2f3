package apps_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// fastCGI starts a FastCGI application of package net/http/fcgi, and returns its address.
func fastCGI(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { _ = fcgi.Serve(l, h) }() // until the listener is closed
	return "fastcgi+unix:" + l.Addr().String()
}

func TestProxyFastCGI(t *testing.T) {
	url := fastCGI(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		env := fcgi.ProcessEnv(r)
		w.Header().Set("X-Saw", fmt.Sprintf("%s %s %d", r.Method, r.URL, r.ContentLength))
		w.Header().Set("Location", "/elsewhere")
		w.Header().Set("X-Headers", strings.Join([]string{r.Header.Get("X-Mine"), r.Header.Get("X-Forwarded-For"), r.Header.Get("Proxy"), r.Header.Get("X-Token"), env["MODE"]}, "|"))
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write(body)
	})
	c := mounted("/shop", &apps.Proxy{To: []string{url}, ProxyFastCGI: apps.ProxyFastCGI{Params: map[string]string{"MODE": "{method}"}},
		ProxyHeaders: apps.ProxyHeaders{RequestHeaders: apps.ProxyHeaderRules{Set: map[string]string{"x-token": "t"}}}})
	long := strings.Repeat("long", 50_000)
	h := pagitest.Header
	for _, tt := range []struct {
		method, target string
		options        []pagitest.Option
		saw, body      string
	}{
		{"GET", "/shop/a%20b?c=d", nil, "GET http://testserver/shop/a%20b?c=d 0", ""},
		{"POST", "/shop/", []pagitest.Option{pagitest.Body("hello")}, "POST http://testserver/shop/ 5", "hello"},
		{"POST", "/shop/", []pagitest.Option{pagitest.Body(long)}, "POST http://testserver/shop/ 200000", long},
		{"PUT", "/shop/", []pagitest.Option{pagitest.Chunks("one", "two")}, "PUT http://testserver/shop/ 6", "onetwo"},
		{"POST", "/shop/", []pagitest.Option{pagitest.Chunks(long, "end")}, "POST http://testserver/shop/ 200003", long + "end"},
		{"DELETE", "/shop/x", nil, "DELETE http://testserver/shop/x 0", ""},
	} {
		res := c.Do(tt.method, tt.target, append(tt.options, h("x-mine", "1"), h("x_mine", "2"), h("x-forwarded-for", "evil"), h("proxy", "evil"))...)
		if res.Err != nil || res.Status != http.StatusTeapot || res.Header("x-saw") != tt.saw || res.Text() != tt.body || res.Header("location") != "/elsewhere" || res.Header("x-headers") != "1|||t|"+tt.method {
			t.Errorf("%s %s: %v %d %q %q %.50q", tt.method, tt.target, res.Err, res.Status, res.Header("x-saw"), res.Header("x-headers"), res.Text())
		}
	}
	if res := c.Do("HEAD", "/shop/"); res.Err != nil || res.Status != http.StatusTeapot || res.Text() != "" {
		t.Errorf("HEAD: %d %q %v", res.Status, res.Text(), res.Err)
	}
}

// The responses of an application stream, and one whose client leaves ends.
func TestProxyFastCGIStreams(t *testing.T) {
	left := make(chan error, 1)
	url := fastCGI(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		var err error
		for err == nil {
			_, err = io.WriteString(w, "data: x\n\n")
			w.(http.Flusher).Flush()
		}
		left <- err
	})
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan struct{}, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- (&apps.Proxy{To: []string{url}, Logger: quiet}).Serve(ctx, &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Path: "/", HTTPVersion: "1.1"},
			func(context.Context) (pagi.Event, error) { return pagi.HTTPRequest{}, nil },
			func(_ context.Context, ev pagi.Event) error {
				if b, is := ev.(pagi.HTTPResponseBody); is && len(b.Body) > 0 {
					select {
					case got <- struct{}{}:
					default:
					}
				}
				return nil
			})
	}()
	testkit.Await(t, got)
	cancel()
	if err := testkit.Await(t, ended); !errors.Is(err, context.Canceled) {
		t.Errorf("the proxy returns %v", err)
	}
	testkit.Await(t, left)
}

func TestProxyFastCGIScripts(t *testing.T) {
	// The package net/http/fcgi keeps some of the variables to itself.
	url := "fastcgi" + strings.TrimPrefix(rawBackend(t, func(conn net.Conn, r *bufio.Reader) {
		env := variables(r)
		text := strings.Join([]string{env["SCRIPT_NAME"], env["PATH_INFO"], env["SCRIPT_FILENAME"], env["DOCUMENT_ROOT"]}, " ")
		_, _ = io.WriteString(conn, stdout("Content-Type: text/plain\r\n\r\n"+text)+stop) // what is wrong shows at the client
	}), "http")
	for _, tt := range []struct {
		name      string
		options   apps.ProxyFastCGI
		path, saw string // "": 404
	}{
		{"a script of PHP", apps.ProxyFastCGI{Root: "/srv/www", SplitPath: ".php", Index: "index.php"}, "/m/a/b.php", "/m/a/b.php  /srv/www/a/b.php /srv/www"},
		{"a path behind it", apps.ProxyFastCGI{Root: "/srv/www", SplitPath: ".php", Index: "index.php"}, "/m/b.php/c/d.php", "/m/b.php /c/d.php /srv/www/b.php /srv/www"},
		{"a directory", apps.ProxyFastCGI{Root: "/srv/www", SplitPath: ".php", Index: "index.php"}, "/m/a/", "/m/a/index.php  /srv/www/a/index.php /srv/www"},
		{"the mount", apps.ProxyFastCGI{Root: "/srv/www", SplitPath: ".php", Index: "index.php"}, "/m/", "/m/index.php  /srv/www/index.php /srv/www"},
		{"a directory behind a script", apps.ProxyFastCGI{Root: "/srv/www", SplitPath: ".php", Index: "index.php"}, "/m/b.php/c/", "/m/b.php /c/ /srv/www/b.php /srv/www"},
		{"a slash behind a script", apps.ProxyFastCGI{Root: "/srv/www", SplitPath: ".php", Index: "index.php"}, "/m/b.php/", "/m/b.php / /srv/www/b.php /srv/www"},
		{"dots", apps.ProxyFastCGI{Root: "/srv/www", SplitPath: ".php"}, "/m/a/../b.php", "/m/b.php  /srv/www/b.php /srv/www"},
		{"an upload", apps.ProxyFastCGI{Root: "/srv/www", SplitPath: ".php"}, "/m/a.php.jpg", ""},
		{"a picture", apps.ProxyFastCGI{Root: "/srv/www", SplitPath: ".php", Index: "index.php"}, "/m/a.jpg", ""},
		{"a directory without an index", apps.ProxyFastCGI{Root: "/srv/www", SplitPath: ".php"}, "/m/a/", ""},
		{"the whole path", apps.ProxyFastCGI{Root: "/srv/cgi-bin"}, "/m/a.cgi", "/m/a.cgi  /srv/cgi-bin/a.cgi /srv/cgi-bin"},
	} {
		res := mounted("/m", &apps.Proxy{To: []string{url}, ProxyFastCGI: tt.options}).Get(tt.path)
		if tt.saw == "" && res.Status != 404 || tt.saw != "" && (res.Err != nil || res.Status != 200 || res.Text() != tt.saw) {
			t.Errorf("%s: %d %q %v", tt.name, res.Status, res.Text(), res.Err)
		}
	}
}

// rawFastCGI starts a server that answers each request with bytes, and closes.
func rawFastCGI(t *testing.T, answer string) string {
	url := rawBackend(t, func(conn net.Conn, r *bufio.Reader) {
		variables(r)
		_, _ = io.WriteString(conn, answer) // a proxy that has left needs no answer
	})
	return "fastcgi" + strings.TrimPrefix(url, "http")
}

// variables reads a request to its end, and returns its variables.
func variables(r *bufio.Reader) map[string]string {
	var params []byte
	for kind, length := byte(0), 1; kind != 5 || length != 0; { // until the end of the body
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil
		}
		kind, length = head[1], int(head[4])<<8|int(head[5])
		content := make([]byte, length+int(head[6]))
		if _, err := io.ReadFull(r, content); err != nil {
			return nil
		}
		if kind == 4 {
			params = append(params, content[:length]...)
		}
	}
	env := map[string]string{}
	for len(params) > 0 {
		var lengths [2]int
		for i := range lengths {
			if params[0] < 0x80 {
				lengths[i], params = int(params[0]), params[1:]
			} else {
				lengths[i], params = int(params[0]&0x7f)<<24|int(params[1])<<16|int(params[2])<<8|int(params[3]), params[4:]
			}
		}
		name, value := params[:lengths[0]], params[lengths[0]:lengths[0]+lengths[1]]
		env[string(name)], params = string(value), params[lengths[0]+lengths[1]:]
	}
	return env
}

// stdout and stop make records of an application.
func stdout(text string) string {
	return string([]byte{1, 6, 0, 1, byte(len(text) >> 8), byte(len(text)), 0, 0}) + text
}

const stop, overload = stopHead + "\x00\x00\x00\x00", stopHead + "\x02\x00\x00\x00"

const stopHead = "\x01\x03\x00\x01\x00\x08\x00\x00\x00\x00\x00\x00"

func TestProxyFastCGIBackendsThatFail(t *testing.T) {
	for name, tt := range map[string]struct {
		answer string
		status int
		cause  string
	}{
		"without an answer":           {"", 502, "ended before the request"},
		"that speak HTTP":             {"HTTP/1.1 400 Bad Request\r\n\r\n", 502, "malformed FastCGI record"},
		"without headers":             {stdout("Hello") + stop, 502, "EOF"},
		"with an empty head":          {stdout("\r\nHello\r\n\r\nworld") + stop, 502, "no headers"},
		"with a wrong status":         {stdout("Status: OK\r\n\r\n") + stop, 502, "Status"},
		"with two statuses":           {stdout("Status: 200\r\nStatus: 404\r\n\r\n") + stop, 502, "two headers"},
		"with a header that is none":  {stdout("Content-Type text/plain\r\n\r\n") + stop, 502, "malformed"},
		"that are overloaded":         {overload, 502, "overloaded"},
		"that break off in the body":  {stdout("Status: 200\r\n\r\nbegun"), 0, "broken off"},
		"with a body that is shorter": {stdout("Content-Length: 9\r\n\r\nshort") + stop, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var log testkit.Log
			res := pagitest.New(&apps.Proxy{To: []string{rawFastCGI(t, tt.answer)}, Logger: log.Logger()}).Get("/")
			if tt.status == 0 && res.Err == nil || tt.status != 0 && res.Status != tt.status {
				t.Errorf("%d %q %v", res.Status, res.Text(), res.Err)
			}
			if tt.cause != "" {
				log.WaitFor(t, tt.cause)
			}
		})
	}
	res := pagitest.New(&apps.Proxy{To: []string{rawFastCGI(t, stdout("Location: /x\n\n")+stop)}}).Get("/")
	if res.Status != 302 || res.Header("location") != "/x" {
		t.Errorf("a redirect: %d %v", res.Status, res.Headers)
	}
}

// An application may answer before it has got the body, and end.
func TestProxyFastCGIAnswersEarly(t *testing.T) {
	url := rawBackend(t, func(conn net.Conn, r *bufio.Reader) {
		if _, err := r.ReadByte(); err != nil {
			return
		}
		_, _ = io.WriteString(conn, stdout("Status: 403\r\n\r\nno")+stop) // what is wrong shows at the client
		_, _ = io.Copy(io.Discard, r)
	})
	c := testkit.Dial(t, served(t, &apps.Proxy{To: []string{"fastcgi" + strings.TrimPrefix(url, "http")}}))
	c.Say("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
	if res, body, err := c.Try("POST"); err != nil || res.StatusCode != 403 || body != "no" {
		t.Errorf("%v %q %v", res, body, err)
	}
}

// A client whose body is taken in first keeps no place at the backend while it is waited for.
func TestProxyFastCGITakesBodiesInWithoutAConnection(t *testing.T) {
	echo := fastCGI(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body) // a body that is not whole shows at the client
	})
	c := pagitest.New(&apps.Proxy{To: []string{echo}, Logger: quiet, ProxyLimits: apps.ProxyLimits{MaxConns: 1, ConnectTimeout: 50 * time.Millisecond}})
	slow := c.Begin("POST", "/", pagitest.Stream())
	for _, word := range []string{"a", "b"} { // the second one is taken once the first one was read
		if err := slow.Write(word); err != nil {
			t.Fatal(err)
		}
	}
	if res := c.Get("/"); res.Status != 200 {
		t.Errorf("another client: %d %v", res.Status, res.Err)
	}
	if err := slow.CloseBody(); err != nil {
		t.Error(err)
	}
	if res := slow.Finish(); res.Err != nil || res.Status != 200 || res.Text() != "ab" {
		t.Errorf("%d %q %v", res.Status, res.Text(), res.Err)
	}
}

// A request with a body goes to another backend if it has not got a connection.
func TestProxyFastCGITriesAnotherBackendWithTheBody(t *testing.T) {
	echo := fastCGI(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body) // a body that is not whole shows at the client
	})
	missing := "fastcgi+unix:" + filepath.Join(t.TempDir(), "missing")
	// The backends take turns, so that one of two requests begins with the missing one.
	c := pagitest.New(&apps.Proxy{To: []string{missing, echo}, Logger: quiet, ProxyHealth: apps.ProxyHealth{MaxFails: -1}, ProxyLimits: apps.ProxyLimits{ResponseTimeout: time.Second}})
	long := strings.Repeat("long", 50_000)
	for want, body := range map[string]pagitest.Option{"hello": pagitest.Body("hello"), "onetwo": pagitest.Chunks("one", "two"), long + "end": pagitest.Chunks(long, "end")} {
		for range 2 {
			if res := c.Post("/", body); res.Err != nil || res.Status != 200 || res.Text() != want {
				t.Errorf("%.20q: %d %.20q %v", want, res.Status, res.Text(), res.Err)
			}
		}
	}
}

// The time in which the client is waited for is none of the backend's.
func TestProxyFastCGITimeLimits(t *testing.T) {
	const limit = time.Second
	limits := apps.ProxyLimits{ResponseTimeout: limit, IdleTimeout: limit}
	silent := func(l net.Listener) {
		answerAll(l, func(_ net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) }) // until the proxy has gone
	}
	echo := func(l net.Listener) {
		_ = fcgi.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // until the listener is closed
			body, err := io.ReadAll(r.Body)
			fmt.Fprint(w, string(body), err)
		}))
	}
	for _, tt := range []struct {
		name   string
		serve  func(net.Listener)
		pause  time.Duration // of the client
		status int
		body   string
	}{
		{"an application without an answer", silent, 0, 504, "Gateway Timeout\n"},
		{"a slow client", echo, 3 * limit, 200, "ab<nil>"},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			c := piped(t, &apps.Proxy{To: []string{"fastcgi://backend:9000"}, ProxyLimits: limits, Logger: quiet}, tt.serve)
			c.Say("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n")
			for _, piece := range []string{"a", "b"} {
				time.Sleep(tt.pause)
				c.Say(piece)
			}
			if res, body := c.Response("POST"); res.StatusCode != tt.status || body != tt.body {
				t.Errorf("%d %q", res.StatusCode, body)
			}
		})
	}
}

// program starts a FastCGI program that listens on the socket that it gets as its standard input.
func program(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed", name)
	}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	t.Cleanup(func() { l.Close() })
	cmd := exec.Command(name, args...)
	var says bytes.Buffer
	cmd.Stdin, cmd.Stderr, cmd.WaitDelay = f, &says, time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL) // it may have ended
		_ = cmd.Wait()                          // it was killed
		if says.Len() > 0 {
			t.Log(says.String())
		}
	})
	return "fastcgi+unix:" + socket
}

func TestProxyFastCGIWrap(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.cgi"), []byte("#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n%s %s ' \"$REQUEST_METHOD\" \"$QUERY_STRING\"\ncat\necho oops >&2\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	var log testkit.Log
	c := pagitest.New(&apps.Proxy{To: []string{program(t, "/usr/sbin/fcgiwrap", "-f")}, ProxyFastCGI: apps.ProxyFastCGI{Root: dir}, Logger: log.Logger()})
	for range 3 {
		if res := c.Post("/a.cgi?x=y", pagitest.Body("hello")); res.Err != nil || res.Status != 200 || res.Text() != "POST x=y hello" {
			t.Errorf("%d %q %v", res.Status, res.Text(), res.Err)
		}
	}
	log.WaitFor(t, "oops")
	if res := c.Get("/missing.cgi"); res.Status != 404 && res.Status != 403 {
		t.Errorf("%d %q", res.Status, res.Text())
	}
}

const perlFCGI = `
use strict; use warnings; use FCGI;
my $count = 0;
my $request = FCGI::Request();
while ($request->Accept >= 0) {
	$count++;
	read STDIN, my $body, $ENV{CONTENT_LENGTH} || 0;
	print "Status: 201 Created\r\nContent-Type: text/plain\r\n\r\n$$ $count $ENV{SCRIPT_NAME}|$ENV{PATH_INFO} ", length $body;
	print STDERR "told" if $count == 1;
}
`

func TestProxyFastCGIOfPerl(t *testing.T) {
	if exec.Command("perl", "-MFCGI", "-e", "1").Run() != nil {
		t.Skip("the Perl module FCGI (libfcgi-perl) is not installed")
	}
	var log testkit.Log
	c := mounted("/app", &apps.Proxy{To: []string{program(t, "perl", "-e", perlFCGI)}, Logger: log.Logger()})
	for i := range 5 {
		res := c.Post("/app/x", pagitest.Body(strings.Repeat("b", i*50_000)))
		if want := fmt.Sprintf(" %d /app|/x %d", i+1, i*50_000); res.Err != nil || res.Status != 201 || !strings.HasSuffix(res.Text(), want) {
			t.Errorf("%d %q %v, want %q", res.Status, res.Text(), res.Err, want)
		}
	}
	log.WaitFor(t, "told")
	// No connection is kept, so that the one process serves all.
	var all sync.WaitGroup
	for range 5 {
		x := c.Begin("GET", "/app/x")
		all.Go(func() {
			if res := x.Finish(); res.Err != nil || res.Status != 201 {
				t.Errorf("%d %q %v", res.Status, res.Text(), res.Err)
			}
		})
	}
	all.Wait()
}

func TestProxyFastCGIOfPHP(t *testing.T) {
	fpm, err := filepath.Glob("/usr/sbin/php-fpm*")
	if err != nil || len(fpm) == 0 {
		t.Skip("php-fpm is not installed")
	}
	dir := t.TempDir()
	socket, config := filepath.Join(dir, "s"), filepath.Join(dir, "fpm.conf")
	for name, text := range map[string]string{
		config:                          fmt.Sprintf("[global]\nerror_log = %s/log\ndaemonize = no\n[www]\nlisten = %s\npm = static\npm.max_children = 2\nuser = %d\ngroup = %d\n", dir, socket, os.Getuid(), os.Getgid()),
		filepath.Join(dir, "index.php"): `<?php header("X-Info: " . ($_SERVER["PATH_INFO"] ?? "")); echo $_SERVER["SCRIPT_NAME"], " ", $_POST["a"] ?? "none", " ", $_SERVER["REMOTE_ADDR"];`,
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(fpm[0], "-R", "-n", "-F", "-y", config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it ends its children; it may have ended itself
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(testkit.Patience); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Fatalf("php-fpm does not listen: %s", log)
		}
	}
	c := mounted("/blog", &apps.Proxy{To: []string{"fastcgi+unix:" + socket}, ProxyFastCGI: apps.ProxyFastCGI{Root: dir, SplitPath: ".php", Index: "index.php"}, Logger: quiet})
	from := pagitest.Edit(func(s *pagi.Scope) { s.Client = pagi.Addr{Host: "192.0.2.1"} })
	form := []pagitest.Option{from, pagitest.Body("a=b"), pagitest.Header("content-type", "application/x-www-form-urlencoded")}
	if res := c.Get("/blog/", from); res.Status != 200 || res.Text() != "/blog/index.php none 192.0.2.1" {
		t.Errorf("%d %q %v", res.Status, res.Text(), res.Err)
	}
	if res := c.Post("/blog/index.php/x/y", form...); res.Status != 200 || res.Text() != "/blog/index.php b 192.0.2.1" || res.Header("x-info") != "/x/y" {
		t.Errorf("%d %q %q %v", res.Status, res.Text(), res.Header("x-info"), res.Err)
	}
	if res := c.Get("/blog/none.php"); res.Status != 404 {
		t.Errorf("a script that is not there: %d", res.Status)
	}
}
