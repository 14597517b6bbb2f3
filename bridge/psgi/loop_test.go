package psgi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/bridge/internal/leased"
	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest/socket"
	"github.com/pagi-go/pagi-bridge/server"
)

// looped is an application in workers with an event loop, and its client.
type looped struct {
	*pagitest.Client
	app  pagi.App
	log  *testkit.Log
	file string // a file of 10,000 bytes, of which the applications know
}

// loop starts an application of testdata behind a server with a socket. The client is that of the server.
func loop(t *testing.T, o PSGI) *looped {
	t.Helper()
	m := loopInMemory(t, o, func(l *looped) pagitest.Carrier {
		return socket.New(t, func(s *server.Server) { s.Logger = l.log.Logger() })
	})
	return m
}

// loopInMemory is loop without a server, for tests in which a client is slow.
func loopInMemory(t *testing.T, o PSGI, via func(*looped) pagitest.Carrier) *looped {
	t.Helper()
	needModules(t, []string{"IO::Async::Loop"})
	m := &looped{log: &testkit.Log{}, file: o.Env["FILE"]}
	if m.file == "" {
		m.file = filepath.Join(t.TempDir(), "file")
	}
	if err := os.WriteFile(m.file, []byte(strings.Repeat("0123456789", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if o.App == "" && o.Code == "" {
		o.App = "testdata/loop.psgi"
	}
	if o.Workers == 0 {
		o.Workers = 1
	}
	if o.Loop == "" {
		o.Loop = "true"
	}
	if o.Crew == nil {
		o.Crew = leased.Maker()
	}
	o.Logger, o.Env = m.log.Logger(), map[string]string{"FILE": m.file}
	app, err := o.Build()
	if err != nil {
		t.Fatal(err)
	}
	m.app = app
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", m.log)
		}
	})
	var carriers []pagitest.Carrier
	if via != nil {
		carriers = append(carriers, via(m))
	}
	m.Client = pagitest.Start(t, app, carriers...)
	return m
}

// told waits until the application's callbacks have told something.
func (m *looped) told(t *testing.T, want string) {
	t.Helper()
	got := ""
	testkit.Eventually(t, want, func() bool {
		if more := m.Get("/told").Text(); more != "" {
			got = strings.TrimPrefix(got+","+more, ",")
		}
		return got == want
	})
}

// is checks the status and the body of an answer that is complete.
func is(t *testing.T, r *pagitest.Response, status int, body string) {
	t.Helper()
	if r.Err != nil || r.Status != status || r.Text() != body {
		t.Errorf("%d %.200q, error %v; want %d %.200q", r.Status, r.Text(), r.Err, status, body)
	}
}

func TestLoopAnswers(t *testing.T) {
	t.Parallel()
	m := loop(t, PSGI{})
	for target, want := range map[string]struct {
		status int
		body   string
	}{
		"/":           {200, "hello\n"},
		"/no-page":    {404, "no page /no-page"},
		"/large":      {200, strings.Repeat("x", 1_000_000)},
		"/undef":      {200, "a"},
		"/fold":       {200, "folded"},
		"/long":       {200, "too "},
		"/204":        {204, ""},
		"/304":        {304, ""},
		"/line":       {404, "status line"},
		"/chunked":    {200, "chunked"},
		"/later":      {200, "later"},
		"/now":        {200, "at once"},
		"/file":       {200, strings.Repeat("0123456789", 1000)},
		"/late-file":  {200, strings.Repeat("0123456789", 1000)},
		"/memory":     {200, "in memory"},
		"/utf8":       {200, "\xe9"},
		"/pipe":       {200, "piped\n"},
		"/closed":     {200, ""},
		"/lines":      {200, "one\ntwo\n"},
		"/many-lines": {200, strings.Repeat("x", 2_000_000)},
		"/tied":       {200, "tied handle"},
		"/writer":     {200, "tick 1\ntick 2\ntick 3\n"},
		"/writer-now": {200, "12345"},
		"/poll":       {200, strings.Repeat("y", 100_000)},
		"/early":      {200, "after 103"},
		"/errors":     {200, "logged"},
		"/timer-dies": {200, "ok"},
		"/twice":      {200, "once"},
	} {
		t.Run(target, func(t *testing.T) { is(t, m.Get(target), want.status, want.body) })
	}
	m.log.WaitFor(t, "level=WARN", "to psgi.errors")
	m.log.WaitFor(t, "level=INFO", "to psgix.logger")
	m.log.WaitFor(t, "level=ERROR", "an exception in a callback of the event loop: dead in a timer")
	m.log.WaitFor(t, "level=WARN", "the answer is longer than its Content-Length")
	if r := m.Get("/fold"); r.Header("x-fold") != "one two" || r.Header("x-end") != "end" {
		t.Errorf("%v", r.Headers)
	}
	if r := m.Get("/early"); len(r.Informational) != 1 || r.Informational[0].Status != 103 {
		t.Errorf("%+v", r.Informational)
	}
	if r := m.Head("/large"); r.Err != nil || r.Status != 200 || len(r.Body) != 0 {
		t.Errorf("%+v", r)
	}
	if r := m.Get("/short"); r.Err == nil {
		t.Error("an answer that is shorter than its Content-Length passes")
	}
	told := strings.Split(m.Get("/told").Text(), ",")
	slices.Sort(told)
	if diff := cmp.Diff([]string{"closed", "closed", "poll 1", "the responder was called twice\n"}, told); diff != "" {
		t.Error(diff)
	}
}

// What an application has done wrong is in the log, and the worker goes on.
func TestLoopErrors(t *testing.T) {
	t.Parallel()
	m := loop(t, PSGI{})
	for target, want := range map[string]string{
		"/die":          "dead at once",
		"/die-delayed":  "dead in the delayed response",
		"/never":        "has dropped its responder without calling it",
		"/two":          "returned an array of 2 elements",
		"/status":       "returned the status 'many'",
		"/headers":      "for headers; PSGI wants an array of names and values",
		"/string":       "returned the string 'a string'; PSGI wants",
		"/body-hash":    "for a body; PSGI wants an array or an object with getline",
		"/wide":         "wide character in the response body",
		"/late-wrong":   "gave the responder the string 'nothing'",
		"/no-such-file": "cannot read",
	} {
		r := m.Get(target)
		if r.Status != 500 && target != "/no-such-file" {
			t.Errorf("%s: status %d", target, r.Status)
		}
		m.log.WaitFor(t, "path="+target, "psgi: ", want)
	}
	for target, want := range map[string]string{"/dropped-writer": "did not close its writer", "/die-poll": "dead in poll_cb"} {
		if r := m.Get(target); r.Err == nil {
			t.Errorf("%s: the answer is taken for a complete one: %d %q", target, r.Status, r.Text())
		}
		m.log.WaitFor(t, "path="+target, want)
	}
	is(t, m.Get("/"), 200, "hello\n")
	if s := m.status(); len(s.Workers) != 1 || s.Launched != 1 {
		t.Errorf("%+v", s)
	}
}

func (m *looped) status() status.Backend {
	return m.app.(interface{ Status() status.Backend }).Status()
}

// The environment is that of other workers, but for what an event loop has.
func TestLoopEnvironment(t *testing.T) {
	t.Parallel()
	m := loopInMemory(t, PSGI{}, nil)
	other := mount(t, PSGI{App: "testdata/loop.psgi"})
	lines := func(text string) []string {
		return slices.DeleteFunc(strings.Split(strings.TrimSpace(text), "\n"), func(line string) bool { return strings.HasPrefix(line, "HTTP_HOST=") })
	}
	edit := pagitest.Edit(func(s *pagi.Scope) {
		s.Client, s.Server, s.RawPath, s.Target = pagi.Addr{Host: "192.0.2.7", Port: 4711}, pagi.Addr{Host: "127.0.0.1", Port: 5000}, "/environ", ""
		s.Headers = append(pagi.NewHeaders("host", "example.test"), pagi.NewHeaders("x-one", "1", "x-one", "2", "x_two", "3", "proxy", "no", "content-type", "text/plain")...)
	})
	got := lines(m.Get("/environ?a=%20b", edit).Text())
	want := lines(other.do(call{path: "/environ", query: "a=%20b", headers: pagi.NewHeaders("x-one", "1", "x-one", "2", "x_two", "3", "proxy", "no", "content-type", "text/plain")}).body)
	own := []string{"psgi.nonblocking=1", "psgix.output.buffered=1", "psgix.output.guard=1"}
	theirs := []string{"psgi.nonblocking=", "psgix.harakiri=1"}
	for _, line := range own {
		if !slices.Contains(got, line) {
			t.Errorf("%s is missing", line)
		}
	}
	got = slices.DeleteFunc(got, func(line string) bool { return slices.Contains(own, line) })
	want = slices.DeleteFunc(want, func(line string) bool { return slices.Contains(theirs, line) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if r := m.Get("/a\x00b"); r.Status != 400 {
		t.Errorf("a path with a NUL: %d", r.Status)
	}
}

func TestLoopBodies(t *testing.T) {
	t.Parallel()
	m := loop(t, PSGI{})
	for _, size := range []int{5, 65536, 65537, 3_000_000} {
		body := strings.Repeat("b", size)
		where := "memory"
		if size > 65536 {
			where = "file"
		}
		for _, send := range []pagitest.Option{pagitest.Body(body), pagitest.Chunks(body[:size/2], body[size/2:])} {
			r := m.Post("/body", send)
			is(t, r, 200, body)
			if r.Header("x-file") != where || r.Header("x-length") != fmt.Sprint(size) || r.Header("x-again") != "bbbbb" {
				t.Errorf("%d bytes: %v", size, r.Headers)
			}
		}
	}
	if r := m.Get("/body"); r.Text() != "" || r.Header("x-length") != "" {
		t.Errorf("%q %v", r.Text(), r.Headers)
	}
}

// One worker has hundreds of requests that wait for one another.
func TestLoopServesManyAtOnce(t *testing.T) {
	t.Parallel()
	m := loop(t, PSGI{})
	const n = 300
	var clients sync.WaitGroup
	for range n {
		clients.Go(func() { is(t, m.Get(fmt.Sprintf("/together?%d", n)), 200, "together") })
	}
	clients.Wait()
}

func TestLoopCleanup(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	t.Run("run", func(t *testing.T) {
		m := loop(t, PSGI{Env: map[string]string{"FILE": file}})
		is(t, m.Get("/cleanup"), 200, "ok")
		m.told(t, "cleaned /cleanup")
		is(t, m.Get("/late-cleanup"), 200, "ok")
		m.told(t, "cleaned late")
		is(t, m.Get("/slow-cleanup"), 200, "ok")
	})
	if _, err := os.Stat(file + ".cleaned"); err != nil {
		t.Errorf("the worker has not waited for its cleanup handler: %v", err)
	}
}

// A client that leaves ends its request: the guard is dropped, and the writer does nothing.
func TestLoopClientsThatLeave(t *testing.T) {
	t.Parallel()
	m := loopInMemory(t, PSGI{}, nil)
	x := m.Begin("GET", "/guard")
	for ev, ok := x.Next(); ok; ev, ok = x.Next() {
		if body, is := ev.(pagi.HTTPResponseBody); is && string(body.Body) == "first" {
			break
		}
	}
	x.Disconnect(pagi.ReasonClientClosed)
	_ = x.Finish() // that the client has left
	m.told(t, "guard dropped")
	is(t, m.Get("/guarded"), 200, "wrote 0")
	x = m.Begin("GET", "/together?2")
	testkit.Eventually(t, "the application has the responder", func() bool { return m.Get("/waiting").Text() == "1" })
	x.Disconnect(pagi.ReasonClientClosed)
	_ = x.Finish()
	testkit.Eventually(t, "no request runs", func() bool { return m.status().Running == 0 })
	is(t, m.Get("/together?2"), 200, "together") // the responder of the other one does nothing
}

// A client that does not read stops poll_cb, and cuts off an application that does not look.
func TestLoopBackPressure(t *testing.T) {
	t.Parallel()
	m := loopInMemory(t, PSGI{MaxBuffered: 1 << 20}, nil)
	x := m.Begin("GET", "/poll?500", pagitest.SlowReader(65536, 16384))
	polled, before := "", ""
	testkit.Eventually(t, "poll_cb is called no more", func() bool {
		before, polled = polled, m.Get("/polled").Text()
		return polled == before && polled != "0"
	})
	if len(polled) > 2 {
		t.Errorf("%s pieces of 10,000 bytes for a client that does not read", polled)
	}
	n := 0
	for ev, ok := x.Next(); ok; ev, ok = x.Next() {
		if body, is := ev.(pagi.HTTPResponseBody); is {
			n += len(body.Body)
		}
	}
	if r := x.Finish(); r.Err != nil || n != 5_000_000 {
		t.Errorf("%d bytes, %v", n, r.Err)
	}
	_ = m.Get("/told")
	x = m.Begin("GET", "/pour", pagitest.SlowReader(65536, 16384))
	testkit.Eventually(t, "the application is cut off", func() bool { return strings.HasPrefix(m.Get("/told").Text(), "poured 1") })
	if r := x.Finish(); r.Err == nil || !strings.Contains(r.Err.Error(), "more than max_buffered, 1048576 bytes") {
		t.Errorf("%v", r.Err)
	}
}

func TestLoopWebSocket(t *testing.T) {
	t.Parallel()
	m := loop(t, PSGI{})
	ws := m.WebSocket("/ws", pagitest.Subprotocols("other", "chat"))
	if !ws.Accepted || ws.Subprotocol != "chat" || ws.Headers.Get("x-from") != "worker" {
		t.Fatalf("%+v", ws)
	}
	large := strings.Repeat("é", 200_000)
	for _, c := range [][2]string{{"hello", "echo hello"}, {"é", "echo é"}, {"parts", "one two"}, {"ping", "pong p"}, {large, "echo " + large}, {"", "echo "}} {
		if err := ws.SendText(c[0]); err != nil {
			t.Fatal(err)
		}
		if got, err := ws.ReceiveText(); err != nil || got != c[1] {
			t.Errorf("%.60q: %.60q, %v", c[0], got, err)
		}
	}
	bytes := []byte(strings.Repeat("\x00\xff", 50_000))
	if err := ws.SendBytes(bytes); err != nil {
		t.Fatal(err)
	}
	if got, err := ws.ReceiveBytes(); err != nil || !slices.Equal(got, bytes) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := ws.Close(4002, "bye"); err != nil {
		t.Error(err)
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
	m.told(t, "close 4002 bye,end")
	idle(t, m)
}

// idle waits until no request and no WebSocket is open.
func idle(t *testing.T, m *looped) {
	t.Helper()
	testkit.Eventually(t, "nothing is open", func() bool { return m.status().Running == 0 })
}

// An answer behind the handshake counts for nothing.
func TestLoopWebSocketAndAnAnswer(t *testing.T) {
	t.Parallel()
	m := loop(t, PSGI{})
	for _, path := range []string{"/both", "/both-writer", "/both-array"} {
		ws := m.WebSocket(path)
		for range 2 {
			if err := ws.SendText("hello"); err != nil {
				t.Fatal(path, err, ws.Response)
			}
			if got, err := ws.ReceiveText(); err != nil || got != "echo hello" {
				t.Errorf("%s: %q, %v", path, got, err)
			}
		}
		_ = ws.Finish()
	}
	idle(t, m)
}

// How a WebSocket ends that the application ends.
func TestLoopWebSocketEnds(t *testing.T) {
	t.Parallel()
	m := loop(t, PSGI{})
	for _, c := range []struct {
		say  string
		code int
		told string
	}{
		{"close", 4001, "close 4001 ,end"},
		{"drop", 1000, ""},
		{"latin1", 1011, "end"},
	} {
		ws := m.WebSocket("/ws")
		if err := ws.SendText(c.say); err != nil {
			t.Fatal(err)
		}
		closed(t, ws, c.code)
		m.told(t, c.told)
	}
	m.log.WaitFor(t, "psgix.io: a text that is not UTF-8")
	m.WebSocket("/ws").Disconnect(pagi.ReasonClientClosed)
	idle(t, m)
	m.told(t, "end")
}

// closed waits for the end of a WebSocket, and checks its code.
func closed(t *testing.T, ws *pagitest.WebSocket, code int) {
	t.Helper()
	got, err := ws.Receive()
	var end *engine.WebSocketEnd
	if !errors.As(err, &end) || end.Code != code {
		t.Errorf("%+v, %v; want the code %d", got, err, code)
	}
	_ = ws.Finish() // the error of an application that died is not what is tested
}

// What comes in place of a handshake.
func TestLoopWebSocketDeclined(t *testing.T) {
	t.Parallel()
	m := loop(t, PSGI{})
	for path, want := range map[string]struct {
		status    int
		body, log string
	}{
		"/deny":       {403, "no entry", ""},
		"/deny-later": {404, "no such room", ""},
		"/deny-raw":   {401, "no", ""},
		"/deny-lines": {403, "no entry", ""},
		"/no-page":    {404, "no page /no-page", ""},
		"/nothing":    {500, "", "has closed psgix.io without a response"},
		"/die":        {500, "", "dead in a handshake"},
		"/rubbish":    {500, "", "has written something else than a response of HTTP/1.1: SSH-2.0-what"},
		"/extension":  {500, "", "has accepted an extension that was not offered: permessage-deflate"},
	} {
		ws := m.WebSocket(path)
		if r := ws.Response; ws.Accepted || r.Status != want.status || want.body != "" && r.Text() != want.body {
			t.Errorf("%s: %d %q", path, r.Status, r.Text())
		}
		if want.log != "" {
			m.log.WaitFor(t, "path="+path, want.log)
		}
	}
	if r := m.WebSocket("/deny-raw").Response; r.Header("x-raw") != "yes" {
		t.Errorf("%v", r.Headers)
	}
	idle(t, m)
	is(t, m.Get("/ws"), 404, "no page /ws") // no upgrade, no psgix.io
}

func TestLoopWebSocketEnvironment(t *testing.T) {
	t.Parallel()
	m := loop(t, PSGI{})
	ws := m.WebSocket("/environ?a=b")
	got, err := ws.ReceiveText()
	if want := "GET,HTTP/1.1,http,websocket,Upgrade,13,undef,testserver,/environ,a=b"; err != nil || got != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	_ = ws.Finish()
}

// A client of a WebSocket that does not read stops the application.
func TestLoopWebSocketBackPressure(t *testing.T) {
	t.Parallel()
	m := loopInMemory(t, PSGI{}, nil)
	ws := m.WebSocket("/pour", pagitest.SlowReader(65536, 16384))
	if !ws.Accepted {
		t.Fatal(ws.Response)
	}
	polled, before := "", ""
	testkit.Eventually(t, "the application waits", func() bool {
		before, polled = polled, m.Get("/polled").Text()
		return polled == before && polled != "0"
	})
	if len(polled) > 3 {
		t.Errorf("%s messages of 10,000 bytes for a client that does not read", polled)
	}
	n := 0
	for {
		b, err := ws.ReceiveBytes()
		if err != nil {
			break
		}
		if len(b) != 10_000 {
			t.Fatalf("a message of %d bytes", len(b))
		}
		n++
	}
	if n != 500 {
		t.Errorf("%d messages", n)
	}
	_ = ws.Finish()
}

// Hundreds of idle WebSockets leave nothing behind.
func TestLoopManyWebSockets(t *testing.T) {
	t.Parallel()
	m := loopInMemory(t, PSGI{}, nil)
	pid := m.status().Workers[0].PID
	descriptors := func() int {
		list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			t.Skip(err)
		}
		return len(list)
	}
	before := descriptors()
	var open []*pagitest.WebSocket
	for range 200 {
		ws := m.WebSocket("/ws")
		if !ws.Accepted {
			t.Fatal(ws.Response)
		}
		open = append(open, ws)
	}
	if n := descriptors() - before; n < 400 {
		t.Errorf("%d descriptors for 200 WebSockets", n)
	}
	for i, ws := range open {
		if i%2 == 0 {
			ws.Disconnect(pagi.ReasonClientClosed)
		} else if err := ws.Close(1000, ""); err != nil {
			t.Error(err)
		}
		_ = ws.Finish() // that the client has left
	}
	idle(t, m)
	testkit.Eventually(t, "all descriptors are closed", func() bool { return descriptors() <= before })
}

func TestLoopWorkers(t *testing.T) {
	t.Parallel()
	for _, preload := range []bool{false, true} {
		t.Run(fmt.Sprintf("preload %t", preload), func(t *testing.T) {
			t.Parallel()
			m := loopInMemory(t, PSGI{Processes: worker.Processes{Workers: 2, Preload: preload}, StreamGrace: 50 * time.Millisecond}, nil)
			pids := map[string]bool{}
			testkit.Eventually(t, "both workers answer", func() bool {
				pids[m.Get("/pid").Text()] = true
				return len(pids) == 2
			})
			ws := m.WebSocket("/ws")
			if !ws.Accepted {
				t.Fatal(ws.Response)
			}
			ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
			defer cancel()
			if err := m.app.(interface{ Reload(context.Context) error }).Reload(ctx); err != nil {
				t.Fatal(err)
			}
			if pids[m.Get("/pid").Text()] {
				t.Error("an old worker answers")
			}
			closed(t, ws, 1012)
			testkit.Eventually(t, "the old workers have gone", func() bool { return len(m.status().Workers) == 2 })
			if n := m.app.(interface{ Resize(int) int }).Resize(1); n != 3 {
				t.Errorf("%d workers", n)
			}
		})
	}
}

func TestLoopRecycling(t *testing.T) {
	t.Parallel()
	m := loop(t, PSGI{Processes: worker.Processes{Workers: 1, MaxRequests: 4}, Limits: pool.Limits{Limits: worker.Limits{MaxRequestsJitter: -1}}})
	seen := map[string]bool{}
	testkit.Eventually(t, "three workers one after another", func() bool {
		r := m.Get("/pid")
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		seen[r.Text()] = true
		return len(seen) >= 3
	})
}

func TestLoopDevelopmentShowsTheException(t *testing.T) {
	t.Parallel()
	m := loop(t, PSGI{Environment: "development"})
	if r := m.Get("/die"); r.Status != 500 || !strings.Contains(r.Text(), "dead at once") {
		t.Errorf("%d %s", r.Status, r.Text())
	}
}

func TestLoopOptions(t *testing.T) {
	t.Parallel()
	without := testkit.Tree(t, map[string]string{"IO/Async/Loop.pm": "die qq{not installed\\n};", "IO/Async/Loop/Mojo.pm": "die qq{not installed\\n};"})
	noMojo := testkit.Tree(t, map[string]string{"IO/Async/Loop/Mojo.pm": "die qq{not installed\\n};"})
	limits := func(l pool.Limits) PSGI { return PSGI{Loop: "true", Code: "sub { }", Limits: l} }
	for name, c := range map[string]struct {
		modules []string
		options PSGI
		want    string
	}{
		"max_scopes without a loop":   {nil, PSGI{Code: "sub { }", MaxScopes: 1}, "max_scopes: is for workers with an event loop (loop: true)"},
		"max_buffered without a loop": {nil, PSGI{Loop: "false", Code: "sub { }", MaxBuffered: 1}, "max_buffered: is for"},
		"stream_grace without a loop": {nil, PSGI{Code: "sub { }", StreamGrace: 1}, "stream_grace: is for"},
		"max_batch":                   {nil, limits(pool.Limits{MaxBatch: 2}), "max_batch: is not for"},
		"retry":                       {nil, limits(pool.Limits{Retry: pool.RetryOff}), "retry: is not for"},
		"answer_memory":               {nil, limits(pool.Limits{AnswerMemory: 1}), "answer_memory: is not for workers with an event loop (loop); max_buffered is"},
		"answer_spool":                {nil, limits(pool.Limits{AnswerSpool: 1}), "answer_spool: is not for"},
		"answer_spool_total":          {nil, limits(pool.Limits{AnswerSpoolTotal: 1}), "answer_spool_total: is not for"},
		"a negative number":           {nil, PSGI{Loop: "true", Code: "sub { }", MaxScopes: -1}, "max_scopes: "},
		"no application":              {nil, PSGI{Loop: "true"}, "psgi: exactly one of app and code"},
		"no such loop":                {[]string{"IO::Async::Loop"}, PSGI{Loop: "NoSuch", Code: "sub { }"}, "loop: NoSuch needs the Perl module IO::Async::Loop::NoSuch"},
		"no IO::Async":                {nil, PSGI{Loop: "true", Code: "sub { }", Lib: []string{without}}, "loop: true needs the Perl module IO::Async::Loop, which cannot be loaded. On Debian and Ubuntu: apt install libio-async-perl"},
		"an exception while loading":  {[]string{"IO::Async::Loop"}, PSGI{Loop: "true", Code: "die qq(no database\\n)"}, "no database"},
		"a PAGI application":          {[]string{"IO::Async::Loop"}, PSGI{Loop: "true", Code: "package PAGI::App; sub to_app { } bless []"}, "PAGI"},
		"Mojolicious without the adapter of its loop": {[]string{"IO::Async::Loop", "Mojolicious"}, PSGI{Loop: "true", App: "testdata/mojo.pl", Lib: []string{noMojo}},
			"loop: Mojo needs the Perl module IO::Async::Loop::Mojo, which cannot be loaded. On Debian and Ubuntu: apt install libio-async-loop-mojo-perl"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needModules(t, c.modules)
			var log testkit.Log
			c.options.Logger, c.options.Workers = log.Logger(), 1
			app, err := c.options.Build()
			if err == nil {
				err = pagitest.Run(t.Context(), app, func(*pagitest.Client) error { return errors.New("it has started") })
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

// The errors of workers without a loop name the option.
func TestHintsNameTheLoop(t *testing.T) {
	t.Parallel()
	m := code(t, `sub { die "needs psgi.nonblocking\n" if !$_[0]{'psgi.nonblocking'} }`)
	if r := m.get("/"); r.err == nil || !strings.Contains(r.err.Error(), "Workers with an event loop have both: --loop, or 'loop: true' of the mount") {
		t.Errorf("%v", r.err)
	}
}

// So does the log where a client asks for a WebSocket.
func TestDeclinedWebSocketsNameTheLoop(t *testing.T) {
	t.Parallel()
	m := code(t, `sub { [200, [], ['hello']] }`)
	for range 2 {
		if ws := pagitest.New(m.app).WebSocket("/ws"); ws.Accepted || ws.Response.Status != 403 {
			t.Errorf("%+v", ws.Response)
		}
	}
	if n := strings.Count(m.log.String(), "WebSockets are declined (this is logged once): workers with an event loop can have them"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

// AnyEvent finds the loop, and what Twiggy takes is taken.
func TestLoopAnyEvent(t *testing.T) {
	t.Parallel()
	needModules(t, []string{"AnyEvent", "AnyEvent::Handle"})
	m := loop(t, PSGI{Code: `
		use AnyEvent; use AnyEvent::Handle;
		my %page = (
			'/model'   => sub { [200, [], [AnyEvent::detect()]] },
			'/condvar' => sub { my $cv = AE::cv; my $t; $t = AE::timer 0.01, 0, sub { undef $t; $cv->send([200, [], ['sent']]) }; $cv },
			'/croak'   => sub { my $cv = AE::cv; my $t; $t = AE::timer 0.01, 0, sub { undef $t; $cv->croak("croaked\n") }; $cv },
			'/timer'   => sub { sub { my $respond = shift; my $t; $t = AE::timer 0.01, 0, sub { undef $t; $respond->([200, [], ['timer']]) } } },
			'/recv'    => sub { my $cv = AE::cv; my $t = AE::timer 0.01, 0, sub { $cv->send('received') }; [200, [], [$cv->recv]] },
			'/child'   => sub { sub { my $respond = shift; my $pid = fork; if (!$pid) { require POSIX; POSIX::_exit(7) } my $w; $w = AE::child $pid, sub { undef $w; $respond->([200, [], ['child ' . ($_[1] >> 8)]]) } } },
			'/dies'    => sub { sub { my $respond = shift; my $t; $t = AE::timer 0.01, 0, sub { undef $t; die "dead in AnyEvent\n" } } },
		);
		sub { $page{ $_[0]{PATH_INFO} }->($_[0]) }`})
	for target, body := range map[string]string{"/model": "AnyEvent::Impl::IOAsync", "/condvar": "sent", "/timer": "timer", "/recv": "received", "/child": "child 7"} {
		is(t, m.Get(target), 200, body)
	}
	for target, want := range map[string]string{"/croak": "croaked", "/dies": "has dropped its responder"} {
		if r := m.Get(target); r.Status != 500 {
			t.Errorf("%s: %d", target, r.Status)
		}
		m.log.WaitFor(t, "path="+target, want)
	}
	m.log.WaitFor(t, "dead in AnyEvent")
}

// EV runs below IO::Async where there is an adapter, if need be that of Mojolicious.
func TestLoopEV(t *testing.T) {
	t.Parallel()
	needModules(t, []string{"EV", "IO::Async::Loop::Mojo"})
	const ev = `use EV; sub { sub { my $respond = shift; my $w; $w = EV::timer 0.01, 0, sub { undef $w; $respond->([200, [], ['EV']]) } } }`
	is(t, loop(t, PSGI{Code: ev}).Get("/"), 200, "EV")
	without := testkit.Tree(t, map[string]string{"IO/Async/Loop/Mojo.pm": "die qq{not installed\n};", "IO/Async/Loop/EV.pm": "die qq{not installed\n};"})
	m := loop(t, PSGI{Code: `use EV; sub { [200, [], ['no EV']] }`, Lib: []string{without}})
	is(t, m.Get("/"), 200, "no EV")
	m.log.WaitFor(t, "The application has loaded the event loop EV", "apt install libio-async-loop-mojo-perl")
}

// A request that is not answered in time gets 504, and the worker goes on.
func TestLoopRequestTimeout(t *testing.T) {
	t.Parallel()
	const limit = 300 * time.Millisecond
	pass := func() { // lets more than the limit pass
		began := time.Now()
		testkit.Eventually(t, "time has passed", func() bool { return time.Since(began) > limit*5/4 })
	}
	m := loop(t, PSGI{Limits: pool.Limits{RequestTimeout: limit}})
	if r := m.Get("/together?2"); r.Status != 504 {
		t.Errorf("%d %q", r.Status, r.Text())
	}
	if r := m.Get("/guard"); r.Status != 200 || r.Err == nil || r.Text() != "first" {
		t.Errorf("%d %q, %v", r.Status, r.Text(), r.Err)
	}
	m.told(t, "guard dropped")
	is(t, m.Get("/poll"), 200, strings.Repeat("y", 100_000))
	x := m.Begin("POST", "/body", pagitest.Stream())
	for _, piece := range []string{"begin ", "end"} { // a body that takes longer
		if err := x.Write(piece); err != nil {
			t.Fatal(err)
		}
		pass()
	}
	if err := x.CloseBody(); err != nil {
		t.Fatal(err)
	}
	is(t, x.Finish(), 200, "begin end")
	ws := m.WebSocket("/ws")
	pass()
	if err := ws.SendText("there"); err != nil {
		t.Fatal(err)
	}
	if got, err := ws.ReceiveText(); err != nil || got != "echo there" {
		t.Errorf("%q, %v", got, err)
	}
	_ = ws.Finish()
	if s := m.status(); s.Launched != 1 {
		t.Errorf("%+v", s)
	}
}

// Protocol::WebSocket and AnyEvent::Handle by hand, as under Twiggy.
func TestLoopProtocolWebSocket(t *testing.T) {
	t.Parallel()
	needModules(t, []string{"AnyEvent", "Protocol::WebSocket"})
	m := loop(t, PSGI{Code: `
		use AnyEvent; use AnyEvent::Handle; use Protocol::WebSocket::Frame; use Protocol::WebSocket::Handshake::Server;
		sub {
			my ($env) = @_;
			my $fh = $env->{'psgix.io'} or return [501, [], ['no psgix.io']];
			my $handshake = Protocol::WebSocket::Handshake::Server->new_from_psgi($env);
			$handshake->parse($fh) or return [400, [], [$handshake->error]];
			return sub {
				my $handle = AnyEvent::Handle->new(fh => $fh);
				my $frame = Protocol::WebSocket::Frame->new;
				$handle->push_write($handshake->to_string);
				$handle->on_error(sub { $handle->destroy; undef $handle });
				$handle->on_read(sub {
					$frame->append($_[0]->rbuf);
					while (defined(my $message = $frame->next)) {
						$handle->push_write(Protocol::WebSocket::Frame->new("echo $message")->to_bytes) if !$frame->is_close;
					}
				});
			};
		}`})
	ws := m.WebSocket("/")
	for _, text := range []string{"hello", "é"} {
		if err := ws.SendText(text); err != nil {
			t.Fatal(err)
		}
		if got, err := ws.ReceiveText(); err != nil || got != "echo "+text {
			t.Errorf("%q, %v", got, err)
		}
	}
	if err := ws.Close(1000, ""); err != nil {
		t.Error(err)
	}
	_ = ws.Finish()
	idle(t, m)
	is(t, m.Get("/"), 501, "no psgix.io")
}
