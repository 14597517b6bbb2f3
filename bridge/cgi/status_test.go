//go:build unix

package cgi

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// totalsOf returns the totals of an application without the time that was waited.
func totalsOf(application pagi.App) status.Totals {
	t := application.(*app).Status().Totals
	t.Waited = 0
	t.WaitsByTime = status.WaitTimes{}
	return t
}

func TestStatusShowsTheScriptsThatRun(t *testing.T) {
	application := build(t, CGI{})
	began := time.Now()
	release := occupy(t, func(target string) *live {
		return begin(t, application, ask{target: target, root: "/cgi-bin"})
	}, "/cgi-bin/wait.cgi", 1)
	var now status.Backend
	testkit.Eventually(t, "the script to be shown", func() bool { // it may run before the gateway has noted it
		now = application.(*app).Status()
		return now.Running == 1
	})
	if len(now.Scripts) != 1 || now.Queued != 0 {
		t.Fatalf("%+v", now)
	}
	one := now.Scripts[0]
	if one.Script != filepath.Join(application.(*app).Root, "wait.cgi") || one.PID == 0 || one.Mode != "exec" || one.Since.Before(began) ||
		one.Request == nil || one.Request.Method != "GET" || one.Request.Path != "/cgi-bin/wait.cgi" {
		t.Errorf("%+v of %+v", one.Request, one)
	}
	release()
	testkit.Eventually(t, "nothing to run", func() bool { return application.(*app).Status().Running == 0 })
	if got := *application.(*app).Status().Runs; got != (status.Runs{Exec: 1}) {
		t.Errorf("runs: %+v", got)
	}
	if got := totalsOf(application); got != (status.Totals{Requests: 1}) {
		t.Errorf("%+v", got)
	}
}

// A script that works on is shown without the request whose answer is complete.
func TestStatusHidesAnAnsweredRequest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "go")
	application := build(t, CGI{})
	if res := do(t, application, ask{target: "/closestdout.cgi?" + file}); res.status != 200 {
		t.Fatalf("%+v", res)
	}
	testkit.Eventually(t, "the request to be hidden", func() bool {
		now := application.(*app).Status()
		return len(now.Scripts) == 1 && now.Scripts[0].Request == nil
	})
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the script to end", func() bool { return application.(*app).Status().Running == 0 })
}

func TestStatusCountsErrorsByClass(t *testing.T) {
	root := testkit.Tree(t, map[string]string{
		"good.cgi":  "#!/bin/sh\necho 'Status: 404'; echo; echo ok\n",
		"error.cgi": "#!/bin/sh\necho 'Status: 503'; echo; echo no\n",
		"none.cgi":  "#!/bin/sh\nexit 0\n",
		"exit.cgi":  "#!/bin/sh\nexit 3\n",
		"kill.cgi":  "#!/bin/sh\necho 'Content-Type: text/plain'; echo; echo begun; kill -SEGV $$\n",
		"hang.cgi":  "#!/bin/sh\nexec sleep 60\n",
		"much.cgi":  "#!/bin/sh\necho 'Content-Type: text/plain'; echo; head -c 5000 /dev/zero\n",
		"no.cgi":    "#!/no/such/interpreter\n",
	})
	for _, tt := range []struct {
		name, script string
		options      CGI
		want         status.Errors
	}{
		{"a good answer is none", "/good.cgi", CGI{}, status.Errors{}},
		{"a 503 of the script's", "/error.cgi", CGI{}, status.Errors{Application: 1}},
		{"no answer at all", "/none.cgi", CGI{}, status.Errors{Invalid: 1}},
		{"an exit before the answer", "/exit.cgi", CGI{}, status.Errors{Died: 1}},
		{"a signal in the middle of it", "/kill.cgi", CGI{}, status.Errors{Died: 1}},
		{"a time-out", "/hang.cgi", CGI{RequestTimeout: 100 * time.Millisecond}, status.Errors{TimedOut: 1}},
		{"too much output", "/much.cgi", CGI{OutputSize: 1000}, status.Errors{Limit: 1}},
		{"a script that cannot be started", "/no.cgi", CGI{}, status.Errors{Unavailable: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.options.Root = root
			application := build(t, tt.options)
			do(t, application, ask{target: tt.script})
			if got, want := totalsOf(application), (status.Totals{Requests: 1, Errors: tt.want}); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}

func TestStatusCountsTheQueue(t *testing.T) {
	application := build(t, CGI{Concurrency: 1, QueueSize: 1, QueueTimeout: 200 * time.Millisecond})
	release := occupy(t, func(target string) *live { return begin(t, application, ask{target: target}) }, "/wait.cgi", 1)
	waiting := make(chan *result, 1)
	go func() { waiting <- do(t, application, ask{target: "/hello.cgi"}) }()
	testkit.Eventually(t, "a request to wait", func() bool { return application.(*app).Status().Queued == 1 })
	if res := do(t, application, ask{target: "/hello.cgi"}); res.statusError() != 503 {
		t.Errorf("with a full queue: %+v", res)
	}
	if res := testkit.Await(t, waiting); res.statusError() != 503 {
		t.Errorf("after the time: %+v", res)
	}
	release()
	want := status.Totals{Requests: 3, Waits: 1, Errors: status.Errors{QueueFull: 1, QueueTimeout: 1}}
	byTime := int64(0)
	for _, n := range application.(*app).Status().Totals.WaitsByTime {
		byTime += n
	}
	if byTime != 1 {
		t.Errorf("%d waits by their length", byTime)
	}
	if got := totalsOf(application); got != want {
		t.Errorf("%+v", got)
	}
	if waited := time.Duration(application.(*app).Status().Totals.Waited); waited < 200*time.Millisecond {
		t.Errorf("waited %v", waited)
	}
}
