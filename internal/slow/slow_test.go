package slow

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

func scopeOf(path string) *pagi.Scope {
	s := &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", RootPath: "/app", Path: path}
	s.SetValue(scopekey.RequestID, "the-id")
	return s
}

func discard(context.Context, pagi.Event) error { return nil }

// running starts n requests that last until release is called, which waits for their ends.
func running(t *testing.T, w *Watch, threshold time.Duration, n int, app func(*pagi.Scope, pagi.Send) error) (release func()) {
	t.Helper()
	gate, in := make(chan struct{}), make(chan struct{})
	mounted := w.Around("/app", threshold, nil, pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		in <- struct{}{}
		<-gate
		return app(s, send)
	}))
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { _ = mounted.Serve(t.Context(), scopeOf(fmt.Sprintf("/%d", i)), nil, discard) })
		<-in
	}
	return sync.OnceFunc(func() { close(gate); all.Wait() })
}

func TestASlowRequestIsLoggedTwice(t *testing.T) {
	log := &testkit.Log{}
	w := &Watch{Logger: log.Logger()}
	release := running(t, w, time.Nanosecond, 1, func(s *pagi.Scope, send pagi.Send) error {
		Of(s).Queued()
		Of(s).Assigned(os.Getpid())
		return errors.Join(send(t.Context(), pagi.HTTPResponseStart{Status: 201}), send(t.Context(), pagi.HTTPResponseBody{Body: []byte("12345")}))
	})
	defer release()
	w.look(time.Now())
	w.look(time.Now()) // says nothing more
	if got := log.String(); strings.Count(got, "a request is slow") != 1 || !strings.Contains(got, `mount=/app request="GET /app/0" request_id=the-id`) ||
		!strings.Contains(got, "running_for=") {
		t.Errorf("while it runs: %s", got)
	}
	release()
	if got := log.String(); strings.Count(got, "a slow request has ended") != 1 || !strings.Contains(got, "status=201 bytes=5") ||
		!strings.Contains(got, fmt.Sprintf("pid=%d", os.Getpid())) || !strings.Contains(got, "waited=") || !strings.Contains(got, "took=") {
		t.Errorf("at its end: %s", got)
	}
	if w.first != nil || w.last != nil {
		t.Error("the list is not empty")
	}
}

// The line while it runs says for how long a request waits that no process has, and what a process is doing that has it.
func TestWhatIsKnownOfARunningRequest(t *testing.T) {
	log := &testkit.Log{}
	w := &Watch{Logger: log.Logger()}
	gate := make(chan struct{})
	var all sync.WaitGroup
	defer all.Wait()
	defer close(gate)
	in := make(chan struct{})
	located := func(method, path, id string) int {
		if method != "GET" || path != "/app/located" || id != "the-id" {
			t.Errorf("asked for %s %s %s", method, path, id)
		}
		return os.Getpid()
	}
	for path, does := range map[string]func(*Request){
		"/waits": func(r *Request) {
			time.Sleep(time.Millisecond)
			r.Queued()
			r.Assigned(0)
			r.Queued()
			r.pid.Store(int64(os.Getppid()))
		},
		"/located": func(*Request) {},
	} {
		app := w.Around("/app", time.Nanosecond, located, pagi.AppFunc(func(_ context.Context, s *pagi.Scope, _ pagi.Receive, _ pagi.Send) error {
			does(Of(s))
			in <- struct{}{}
			<-gate
			return nil
		}))
		all.Go(func() { _ = app.Serve(t.Context(), scopeOf(path), nil, discard) })
		<-in
	}
	w.look(time.Now())
	for _, want := range []string{"/app/waits", "waits=", "/app/located", fmt.Sprintf("pid=%d", os.Getpid())} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is missing in\n%s", want, log)
		}
	}
}

func TestQuickRequestsAndStreamsAreNotLogged(t *testing.T) {
	log := &testkit.Log{}
	w := &Watch{Logger: log.Logger()}
	release := running(t, w, time.Hour, 3, func(*pagi.Scope, pagi.Send) error { return nil })
	w.look(time.Now())
	release()
	stream := w.Around("/app", time.Nanosecond, nil, pagi.AppFunc(func(_ context.Context, s *pagi.Scope, _ pagi.Receive, _ pagi.Send) error {
		if Of(s) != nil {
			t.Error("a stream is watched")
		}
		w.look(time.Now())
		return nil
	}))
	for _, kind := range []string{pagi.TypeSSE, pagi.TypeWebSocket} {
		if err := stream.Serve(t.Context(), &pagi.Scope{Type: kind}, nil, discard); err != nil {
			t.Error(err)
		}
	}
	if log.String() != "" {
		t.Errorf("logged: %s", log)
	}
}

// What the server answers for an error is the status of the line.
func TestTheStatusOfAnError(t *testing.T) {
	log := &testkit.Log{}
	w := &Watch{Logger: log.Logger()}
	running(t, w, time.Nanosecond, 1, func(*pagi.Scope, pagi.Send) error { return &pagi.StatusError{Status: 504, Message: "too late"} })()
	if got := log.String(); !strings.Contains(got, "status=504") || !strings.Contains(got, "error=") {
		t.Errorf("logged: %s", got)
	}
}

// In a second at most MostLines lines are logged, and the others are counted.
func TestLinesAreLimited(t *testing.T) {
	log := &testkit.Log{}
	w := &Watch{Logger: log.Logger()}
	release := running(t, w, time.Hour, 25, func(*pagi.Scope, pagi.Send) error { return nil })
	later := time.Now().Add(2 * time.Hour)
	w.look(later)
	if n := strings.Count(log.String(), "a request is slow"); n != MostLines {
		t.Errorf("%d lines", n)
	}
	if strings.Contains(log.String(), "left out") {
		t.Error("the second is not over")
	}
	w.look(later.Add(time.Second))
	if !strings.Contains(log.String(), fmt.Sprintf(`msg="lines about slow requests were left out" lines=%d`, 25-MostLines)) {
		t.Errorf("what was left out is not told:\n%s", log)
	}
	w.look(later.Add(2 * time.Second))
	if n := strings.Count(log.String(), "left out"); n != 1 {
		t.Errorf("it is told %d times", n)
	}
	release()
}

// Run looks by itself, and tells at its end what it has left out.
func TestRun(t *testing.T) {
	log := &testkit.Log{}
	w := &Watch{Logger: log.Logger()}
	release := running(t, w, 20*time.Millisecond, MostLines+2, func(*pagi.Scope, pagi.Send) error { return nil })
	defer release()
	ctx, stop := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { w.Run(ctx) })
	testkit.Eventually(t, "the lines", func() bool { return strings.Count(log.String(), "a request is slow") == MostLines })
	stop()
	run.Wait()
	if !strings.Contains(log.String(), "left out") {
		t.Errorf("what was left out is not told:\n%s", log)
	}
	(&Watch{}).Run(t.Context()) // has nothing to do
}

// Where no mount has a threshold, what serves a request asks in vain and nothing is allocated.
func TestOffCostsNothing(t *testing.T) {
	scope := scopeOf("/")
	if n := testing.AllocsPerRun(1000, func() {
		r := Of(scope)
		r.Queued()
		r.Assigned(1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkOff(b *testing.B) {
	scope := scopeOf("/")
	for b.Loop() {
		r := Of(scope)
		r.Queued()
		r.Assigned(1)
	}
}

func BenchmarkOn(b *testing.B) {
	w := &Watch{}
	app := w.Around("/", time.Hour, nil, pagi.AppFunc(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { return nil }))
	scope := scopeOf("/")
	b.ReportAllocs()
	for b.Loop() {
		if err := app.Serve(b.Context(), scope, nil, discard); err != nil {
			b.Fatal(err)
		}
	}
}

// A part of a mount has a threshold of its own, longer or shorter than the mount's, or none. Lines name the part that has the request.
func TestPartsOfAMount(t *testing.T) {
	for name, c := range map[string]struct {
		mount, first, second time.Duration
		declines             bool // the first part leaves the request to the second
		want                 string
	}{
		"the mount's":                     {mount: time.Nanosecond, first: time.Nanosecond, want: "/app#1"},
		"longer than the mount's":         {mount: time.Nanosecond, first: time.Hour},
		"shorter than the mount's":        {mount: time.Hour, first: time.Nanosecond, want: "/app#1"},
		"only that of a part":             {first: time.Nanosecond, want: "/app#1"},
		"none of the part":                {mount: time.Nanosecond},
		"that of another part":            {second: time.Nanosecond},
		"that of the part that has it":    {mount: time.Hour, first: time.Hour, second: time.Nanosecond, declines: true, want: "/app#2"},
		"and not that of the part before": {first: time.Nanosecond, second: time.Hour, declines: true},
	} {
		t.Run(name, func(t *testing.T) {
			log := &testkit.Log{}
			w := &Watch{Logger: log.Logger()}
			gate, in := make(chan struct{}), make(chan struct{})
			wait := pagi.AppFunc(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error {
				in <- struct{}{}
				<-gate
				return nil
			})
			first, second := w.AroundPart("/app#1", c.first, nil, wait), w.AroundPart("/app#2", c.second, nil, wait)
			if c.declines {
				first = w.AroundPart("/app#1", c.first, nil, pagi.AppFunc(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { return nil }))
			}
			mounted := w.Around("/app", c.mount, nil, pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
				err := first.Serve(ctx, s, receive, send)
				if c.declines {
					err = second.Serve(ctx, s, receive, send)
				}
				return err
			}))
			if !w.Any() {
				t.Error("nothing looks for slow requests")
			}
			ended := make(chan error)
			go func() { ended <- mounted.Serve(t.Context(), scopeOf("/"), nil, discard) }()
			testkit.Await(t, in)
			w.look(time.Now())
			close(gate)
			if err := testkit.Await(t, ended); err != nil {
				t.Error(err)
			}
			lines := 0
			if c.want != "" {
				lines = 2
			}
			if got := log.String(); strings.Count(got, "mount="+c.want+" ") != lines || strings.Count(got, "\n") != lines {
				t.Errorf("want %d lines of %q, got: %s", lines, c.want, got)
			}
		})
	}
}
