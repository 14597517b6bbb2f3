//go:build unix

package cgi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/internal/job"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

func TestAScriptThatCannotBeStarted(t *testing.T) {
	application := build(t, CGI{})
	for name, c := range map[string]struct {
		req    ask
		status int
		reason string
	}{
		"without a first line":          {ask{target: "/noshebang.cgi"}, 502, "no first line like #!"},
		"with an interpreter not there": {ask{target: "/nointerpreter.cgi"}, 502, "#!/no/such/interpreter"},
		"with DOS line ends":            {ask{target: "/dosline.cgi"}, 502, "carriage return"},
		"that is empty":                 {ask{target: "/empty.cgi"}, 502, "the file is empty"},
		"with too large an environment": {ask{target: "/hello.cgi?" + strings.Repeat("x", 200_000)}, 431, "environment is too large"},
	} {
		res := do(t, application, c.req)
		if res.statusError() != c.status || !strings.Contains(res.err.Error(), c.reason) {
			t.Errorf("%s: %v, want %d and %q", name, res.err, c.status, c.reason)
		}
	}
}

func TestARequestWithoutABodyReadsNothing(t *testing.T) {
	res := do(t, build(t, CGI{}), ask{target: "/sha.cgi"})
	if want := "0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 unknown\n"; res.body != want {
		t.Errorf("%q, error %v", res.body, res.err)
	}
}

func TestInputAndOutputAreStreamed(t *testing.T) {
	l := begin(t, build(t, CGI{BodyBuffer: -1}), ask{method: "POST", target: "/lines.cgi"})
	for i := range 5 {
		l.feed(fmt.Sprintf("line %d\n", i), true)
		l.text(fmt.Sprintf("got line %d\n", i))
	}
	l.feed("", false)
	if err := l.end(); err != nil {
		t.Error(err)
	}
}

func TestInputThatIsNotRead(t *testing.T) {
	application := build(t, CGI{})
	large := strings.Repeat("0123456789abcdef", 1<<16) // 1 MB
	for _, script := range []string{"/noread.cgi", "/closestdin.cgi"} {
		for _, body := range []string{"", "small", large} {
			for _, chunked := range []bool{false, true} {
				res := do(t, application, ask{method: "POST", target: script, body: body, chunked: chunked})
				if res.err != nil || res.status != 200 || !res.complete {
					t.Errorf("%s, %d bytes, chunked %v: %+v", script, len(body), chunked, res)
				}
			}
		}
	}
}

func TestTheRestOfAnUnreadBodyIsDrained(t *testing.T) {
	dir := t.TempDir()
	l := begin(t, build(t, CGI{BodyBuffer: -1}), ask{method: "POST", target: "/wait.cgi?" + dir})
	for range 64 { // far more than a pipe holds; the script reads none of it
		select {
		case l.in <- pagi.HTTPRequest{Body: make([]byte, 1<<10), More: true}:
		case <-time.After(testkit.Patience):
			t.Fatal("stuck")
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l.text("ok\n")
	if err := l.end(); err != nil {
		t.Error(err)
	}
}

func TestAScriptThatWritesMegabytesBeforeItReads(t *testing.T) {
	body := strings.Repeat("y", 3<<20)
	for _, chunked := range []bool{false, true} {
		res := do(t, build(t, CGI{}), ask{method: "POST", target: "/writefirst.cgi", body: body, chunked: chunked})
		if want := fmt.Sprintf("\nread %d\n", len(body)); res.err != nil || !strings.HasSuffix(res.body, want) || len(res.body) != 4<<20+len(want) {
			t.Errorf("chunked %v: %d bytes, error %v", chunked, len(res.body), res.err)
		}
	}
}

func TestAScriptMayGoOnAfterItsResponse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "go")
	l := begin(t, build(t, CGI{}), ask{target: "/closestdout.cgi?" + file})
	l.feed("", false)
	for complete := false; !complete; {
		b, is := l.next().(pagi.HTTPResponseBody)
		complete = is && !b.More
	}
	l.disconnect() // a client that has its answer may go
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.end(); err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, "the script to finish its work", func() bool {
		_, err := os.Stat(file)
		return errors.Is(err, os.ErrNotExist)
	})
}

func TestAScriptThatGoesOnTooLongAfterItsResponse(t *testing.T) {
	log := &testkit.Log{}
	res := do(t, build(t, CGI{RequestTimeout: 300 * time.Millisecond, Logger: log.Logger()}), ask{target: "/closestdout.cgi?" + t.TempDir() + "/never"})
	if res.err != nil || !res.complete {
		t.Errorf("%+v\n%s", res, log)
	}
	log.WaitFor(t, "after its response was complete", "option request_timeout")
}

func TestWhatAScriptLeavesBehindIsKilled(t *testing.T) {
	application := build(t, CGI{KillAfter: 200 * time.Millisecond})
	for _, script := range []string{"/orphan.cgi", "/quietorphan.cgi"} {
		res := do(t, application, ask{target: script})
		if res.err != nil || !res.complete || res.body == "" {
			t.Fatalf("%s: %+v", script, res)
		}
		testkit.Eventually(t, script+"'s child to end", func() bool { return gone(res.body) })
	}
}

func TestOutputOfAChildThatOutlivesItsScriptIsNotLost(t *testing.T) {
	if res := do(t, build(t, CGI{}), ask{target: "/lateorphan.cgi"}); res.err != nil || res.body != "first\nsecond\n" {
		t.Errorf("%+v", res)
	}
}

func TestADaemonThatHoldsTheDescriptorsDoesNotHoldTheResponse(t *testing.T) {
	res := do(t, build(t, CGI{KillAfter: 200 * time.Millisecond}), ask{target: "/daemon.cgi"})
	if res.err != nil || !res.complete {
		t.Fatalf("%+v", res)
	}
	var pid int
	if _, err := fmt.Sscan(res.body, &pid); err != nil {
		t.Fatal(err)
	}
	if !alive(pid) {
		t.Error("the daemon left the group and was killed all the same")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

// pids waits for stubborn.cgi to write its pid and its child's.
func pids(t *testing.T, file string) []string {
	t.Helper()
	return strings.Fields(fileText(t, file))
}

func TestTheTimeLimitEndsTheWholeGroup(t *testing.T) {
	for name, c := range map[string]struct {
		options CGI
		started bool
		reason  string
	}{
		"silence, nothing sent yet": {CGI{RequestTimeout: time.Second}, false, "option request_timeout"},
		"silence, response begun":   {CGI{RequestTimeout: time.Second}, true, "option request_timeout"},
		"run time":                  {CGI{MaxRequestTime: time.Second}, false, "option max_request_time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.options.KillAfter = 300 * time.Millisecond
			file := filepath.Join(t.TempDir(), "pids")
			query := file
			if c.started {
				query = "started:" + file
			}
			res := do(t, build(t, c.options), ask{target: "/stubborn.cgi?" + query})
			if res.statusError() != 504 || res.complete || !strings.Contains(res.err.Error(), c.reason) || !strings.Contains(res.err.Error(), "signal: killed") {
				t.Errorf("%+v", res)
			}
			if c.started != (res.body == "begun\n") {
				t.Errorf("body %q", res.body)
			}
			both := pids(t, file)
			if len(both) != 2 {
				t.Fatalf("pids %q", both)
			}
			for _, pid := range both {
				testkit.Eventually(t, "process "+pid+" to end", func() bool { return gone(pid) })
			}
		})
	}
}

func TestProgressHoldsTheTimeLimitOff(t *testing.T) {
	// 40 pieces, 20 ms apart: longer than the limit in all, never silent so long.
	l := begin(t, build(t, CGI{RequestTimeout: 700 * time.Millisecond}), ask{target: "/spin.cgi"})
	l.feed("", false)
	for range 40 {
		l.next()
	}
	l.disconnect()
	if err := l.end(); !disconnected(err) {
		t.Error(err)
	}
}

func TestWaitingForTheClientIsNotTheScriptsFault(t *testing.T) {
	const limit = 300 * time.Millisecond
	l := begin(t, build(t, CGI{RequestTimeout: limit, BodyBuffer: -1}), ask{method: "POST", target: "/lines.cgi"})
	l.feed("a\n", true)
	l.text("got a\n")
	<-time.After(2 * limit) // a slow sender
	l.feed("b\n", true)
	<-time.After(2 * limit) // a slow reader
	l.text("got b\n")
	l.feed("", false)
	if err := l.end(); err != nil {
		t.Error(err)
	}
}

func disconnected(err error) bool {
	var gone *pagi.DisconnectError
	return errors.As(err, &gone)
}

func TestAClientThatGoesAwayEndsTheScript(t *testing.T) {
	t.Run("a polite one may tidy up", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "pid")
		l := begin(t, build(t, CGI{}), ask{target: "/polite.cgi?" + file})
		l.feed("", false)
		pid := fileText(t, file)
		l.disconnect()
		if err := l.end(); !disconnected(err) {
			t.Error(err)
		}
		if text := fileText(t, file); text != "tidied" {
			t.Errorf("%q", text)
		}
		if !gone(pid) {
			t.Error("it is still there")
		}
	})
	t.Run("a stubborn one is killed", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "pids")
		l := begin(t, build(t, CGI{KillAfter: 100 * time.Millisecond}), ask{target: "/stubborn.cgi?started:" + file})
		l.feed("", false)
		both := pids(t, file)
		l.disconnect()
		if err := l.end(); !disconnected(err) {
			t.Error(err)
		}
		for _, pid := range both {
			testkit.Eventually(t, "process "+pid+" to end", func() bool { return gone(pid) })
		}
	})
	t.Run("in the middle of the body", func(t *testing.T) {
		l := begin(t, build(t, CGI{BodyBuffer: -1}), ask{method: "POST", target: "/lines.cgi"})
		l.feed("a\n", true)
		l.text("got a\n")
		l.disconnect()
		if err := l.end(); !disconnected(err) && !errors.Is(err, request.ErrDisconnected) {
			t.Error(err)
		}
	})
	t.Run("before the body began", func(t *testing.T) {
		l := begin(t, build(t, CGI{}), ask{method: "POST", target: "/lines.cgi"})
		l.disconnect()
		if err := l.end(); err == nil {
			t.Error("no error")
		}
	})
}

func TestAnErrorWhileTheBodyIsReadEndsTheScript(t *testing.T) {
	first := true
	receive := func(context.Context) (pagi.Event, error) {
		if first {
			first = false
			return pagi.HTTPRequest{Body: []byte("x"), More: true}, nil
		}
		return nil, &pagi.StatusError{Status: 413, Message: "too large"}
	}
	res := &result{}
	res.err = build(t, CGI{}).Serve(t.Context(), ask{method: "POST", target: "/sha.cgi"}.scope(), receive, res.take(pagi.TypeHTTP))
	if res.statusError() != 413 || res.status != 0 {
		t.Errorf("%+v", res)
	}
}

func TestAFailingSendEndsTheScript(t *testing.T) {
	broken := errors.New("broken pipe")
	send := func(context.Context, pagi.Event) error { return broken }
	err := build(t, CGI{}).Serve(t.Context(), ask{target: "/spin.cgi"}.scope(), ask{}.receive(), send)
	if !errors.Is(err, broken) {
		t.Error(err)
	}
}

func TestAScriptThatDies(t *testing.T) {
	log := &testkit.Log{}
	application := build(t, CGI{Logger: log.Logger()})
	res := do(t, application, ask{target: "/die.cgi"})
	if res.statusError() != 502 || !strings.Contains(res.err.Error(), "no output") || !strings.Contains(res.err.Error(), "exit status 255") && !strings.Contains(res.err.Error(), "exit status 2)") {
		t.Errorf("before its response: %+v", res)
	}
	if !strings.Contains(log.String(), "cannot open the guest book") {
		t.Errorf("log: %s", log)
	}
	res = do(t, application, ask{target: "/crash.cgi"})
	if res.err == nil || res.complete || res.body != "half of the " || !strings.Contains(res.err.Error(), "signal: killed") {
		t.Errorf("of a signal in the middle: %+v", res)
	}
	res = do(t, application, ask{target: "/dielate.cgi"})
	if res.err != nil || !res.complete || res.body != "half\n" {
		t.Errorf("with an exit status, after its output: %+v", res)
	}
	if text := log.String(); !strings.Contains(text, "the disk is full") || !strings.Contains(text, "script failed after its response") {
		t.Errorf("log: %s", text)
	}
}

func TestStandardErrorGoesToTheLog(t *testing.T) {
	log := &testkit.Log{}
	res := do(t, build(t, CGI{Logger: log.Logger()}), ask{target: "/stderr.cgi"})
	if res.err != nil || res.body != "ok\n" {
		t.Errorf("%+v", res)
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("log: %q", lines)
	}
	for i, want := range []string{`line="first warning"`, `line="second, without an end"`} {
		if !strings.Contains(lines[i], want) || !strings.Contains(lines[i], "stderr.cgi") || !strings.Contains(lines[i], "pid=") {
			t.Errorf("record %d: %s", i, lines[i])
		}
	}
}

func TestLastWordsInThePipeAreLogged(t *testing.T) {
	pipe, err := job.NewPipe(false)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close() // a daemon still holds the other end
	if _, err := syscall.Write(pipe.Theirs(), []byte("one\ntwo")); err != nil {
		t.Fatal(err)
	}
	pipe.Limit(time.Unix(1, 0))
	log := &testkit.Log{}
	errs := stderrLog{ctx: t.Context(), log: log.Logger, rate: 10}
	errs.copy(pipe)
	if text := log.String(); !strings.Contains(text, "line=one") || !strings.Contains(text, "line=two") {
		t.Error(text)
	}
}

func TestAFloodOfStandardErrorIsBounded(t *testing.T) {
	log := &testkit.Log{}
	res := do(t, build(t, CGI{Logger: log.Logger(), StderrRate: 20}), ask{target: "/flood.cgi"})
	if res.err != nil || res.body != "ok\n" {
		t.Errorf("%+v", res)
	}
	text := log.String()
	if n := strings.Count(text, "\n"); n > 400 || !strings.Contains(text, "lines left out") { // a few seconds' worth at most
		t.Errorf("%d records", n)
	}
	log = &testkit.Log{}
	do(t, build(t, CGI{Logger: log.Logger(), StderrRate: -1}), ask{target: "/flood.cgi"})
	text = log.String()
	if n := strings.Count(text, "\n"); n != 20001 || !strings.Contains(text, "... (cut)") || len(text) > 20001*250+5000 {
		t.Errorf("without a limit: %d records, %d bytes", n, len(text))
	}
}

func TestConcurrencyIsLimited(t *testing.T) {
	dir := t.TempDir()
	application := build(t, CGI{Concurrency: 2, QueueTimeout: 50 * time.Millisecond})
	var running []*live
	for range 2 {
		l := begin(t, application, ask{target: "/wait.cgi?" + dir})
		l.feed("", false)
		running = append(running, l)
	}
	testkit.Eventually(t, "two scripts to run", func() bool {
		entries, err := os.ReadDir(dir)
		return err == nil && len(entries) == 2
	})
	res := do(t, application, ask{target: "/hello.cgi"})
	var busy *pagi.StatusError
	if !errors.As(res.err, &busy) || busy.Status != 503 || busy.Headers.Get("retry-after") == "" || !strings.Contains(res.err.Error(), "concurrency") {
		t.Errorf("a third: %+v", res)
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, l := range running {
		if err := l.end(); err != nil {
			t.Error(err)
		}
	}
	if res := do(t, application, ask{target: "/hello.cgi"}); res.status != 200 {
		t.Errorf("afterwards: %+v", res)
	}
}

func TestWaitingRequestsGetTheirTurn(t *testing.T) {
	application := build(t, CGI{Concurrency: 2})
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			if res := do(t, application, ask{method: "POST", target: "/cat.cgi", body: "x"}); res.err != nil || res.body != "x" {
				t.Errorf("%+v", res)
			}
		})
	}
	wg.Wait()
}

func TestAClientThatGoesAwayLeavesTheQueue(t *testing.T) {
	dir := t.TempDir()
	application := build(t, CGI{Concurrency: 1})
	holder := begin(t, application, ask{target: "/wait.cgi?" + dir})
	holder.feed("", false)
	testkit.Eventually(t, "the first to run", func() bool {
		entries, err := os.ReadDir(dir)
		return err == nil && len(entries) == 1
	})
	waiting := begin(t, application, ask{target: "/hello.cgi"})
	waiting.feed("", false)
	waiting.disconnect()
	if err := waiting.end(); !disconnected(err) {
		t.Error(err)
	}
	holder.disconnect()
	if err := holder.end(); !disconnected(err) {
		t.Error(err)
	}
}
