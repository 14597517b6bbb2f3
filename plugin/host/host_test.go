package host_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/plugin"
	"github.com/pagi-go/pagi-bridge/plugin/host"
)

// modeVariable names the mode in which this test program is a plugin.
const modeVariable = "TEST_PLUGIN"

func TestMain(m *testing.M) {
	if mode := os.Getenv(modeVariable); mode != "" {
		play(mode)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// play runs this program as a plugin.
func play(mode string) {
	if mode == "kit" {
		plugin.App[sampleConfig]{Name: "sample", Version: "7", New: newSample}.Serve()
	}
	if lie, known := lies[mode]; known {
		lie()
		return
	}
	fmt.Fprintln(os.Stderr, "there is no mode", mode)
	os.Exit(2)
}

// sampleConfig has the options of the sample.
type sampleConfig struct {
	Greeting string        `yaml:"greeting" default:"Hello" help:"what it says"`
	Wait     time.Duration `yaml:"wait"`
	Limits   struct {
		Size int64 `yaml:"size" unit:"bytes" default:"1KiB"`
	} `yaml:"limits"`
	State string `yaml:"state"` // a file with the word that decides how it starts
}

func (c *sampleConfig) Check() error {
	if c.Greeting == "refused" {
		return pagi.BadOption("greeting", "must not be %q", c.Greeting)
	}
	return nil
}

// sample is an application with something of everything.
type sample struct {
	config *sampleConfig
	word   string
}

func newSample(c *sampleConfig) (pagi.App, error) {
	s := &sample{config: c}
	if c.State != "" {
		text, err := os.ReadFile(c.State)
		if err != nil {
			return nil, err
		}
		if s.word = string(text); s.word == "broken" {
			return nil, errors.New("the code does not compile")
		}
	}
	return s, nil
}

func (s *sample) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	switch scope.Type {
	case pagi.TypeLifespan:
		return lifespan.Serve(ctx, receive, send, func(context.Context) error {
			scope.State["db"] = "open"
			if s.word == "unlucky" {
				return errors.New("the database is away")
			}
			return nil
		}, func(context.Context) error {
			// Straight to the pipe: go-plugin may drop what os.Stdout gets just before the end.
			_, err := syscall.Write(2, []byte("shut down\n"))
			return err
		})
	case pagi.TypeWebSocket:
		return echo(ctx, receive, send)
	case pagi.TypeSSE:
		for _, ev := range []pagi.Event{pagi.SSEStart{}, pagi.SSESend{Data: "one"}, pagi.SSEClose{}} {
			if err := send(ctx, ev); err != nil {
				return err
			}
		}
		return nil
	}
	return s.http(ctx, scope, receive, send)
}

func (s *sample) http(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	text := fmt.Sprint(s.config.Greeting, " ", s.word, " ", scope.State["db"])
	switch scope.Path {
	case "/pid":
		text = strconv.Itoa(os.Getpid())
	case "/environment":
		text = strings.Join(os.Environ(), "\n")
	case "/trace":
		text = fmt.Sprint(os.Getpid(), " ", scope.Headers.Joined("traceparent"))
	case "/config":
		text = fmt.Sprint(*s.config)
	case "/kill":
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "/stop":
		return syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	case "/panic":
		go panic("in the middle")
		<-ctx.Done()
	case "/exit":
		os.Exit(3)
	case "/flood":
		for range 100_000 {
			fmt.Println("a line of a flood")
		}
	case "/wait":
		<-ctx.Done()
		return ctx.Err()
	case "/large":
		text = strings.Repeat("0123456789abcdef", 1<<16)
	}
	if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
		return err
	}
	return send(ctx, pagi.HTTPResponseBody{Body: []byte(text)})
}

func echo(ctx context.Context, receive pagi.Receive, send pagi.Send) error {
	for {
		ev, err := receive(ctx)
		if err != nil {
			return err
		}
		switch e := ev.(type) {
		case pagi.WebSocketConnect:
			err = send(ctx, pagi.WebSocketAccept{})
		case pagi.WebSocketReceive:
			err = send(ctx, pagi.WebSocketSend(e))
		case pagi.WebSocketDisconnect:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// running is a plugin that is mounted.
type running struct {
	*pagitest.Client
	plugin *host.Plugin
	log    *testkit.Log
	life   *lifespan.Run
	t      *testing.T
}

// options are those of a plugin in a mode.
func options(mode string) *host.Plugin {
	return &host.Plugin{Command: []string{os.Args[0]}, Env: map[string]string{modeVariable: mode, "GORACE": "atexit_sleep_ms=0"}, KillAfter: 2 * time.Second, Name: "/p"}
}

// try starts a plugin.
func try(t *testing.T, p *host.Plugin) (*running, error) {
	t.Helper()
	r := &running{plugin: p, log: &testkit.Log{}, t: t}
	p.Logger = r.log.Logger()
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	life, err := lifespan.Start(ctx, p, &pagi.Scope{Type: pagi.TypeLifespan, State: map[string]any{}})
	if err != nil {
		return r, err
	}
	r.life, r.Client = life, pagitest.New(p)
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			t.Log(r.log.String())
		}
	})
	return r, nil
}

func (r *running) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	if err := r.life.Shutdown(ctx); err != nil {
		r.t.Errorf("stop: %v", err)
	}
}

func start(t *testing.T, p *host.Plugin) *running {
	t.Helper()
	r, err := try(t, p)
	if err != nil {
		t.Fatal(err, r.log)
	}
	return r
}

// statusOf returns the status of a request's answer, also where it is an error.
func statusOf(r *pagitest.Response) int {
	var s *pagi.StatusError
	if errors.As(r.Err, &s) {
		return s.Status
	}
	return r.Status
}

// again waits until the plugin serves, and returns its pid.
func (r *running) again() string {
	r.t.Helper()
	pid := ""
	testkit.Eventually(r.t, "the plugin serves again", func() bool {
		answer := r.Get("/pid")
		pid = answer.Text()
		return answer.Err == nil && answer.Status == 200
	})
	return pid
}

func TestAPluginServesAllTypesOfScopes(t *testing.T) {
	t.Parallel()
	p := options("kit")
	p.Config = map[string]any{"greeting": "Moin", "wait": "2s", "limits": map[string]any{"size": "2KiB"}}
	r := start(t, p)
	if got := r.Get("/"); got.Text() != "Moin  open" {
		t.Errorf("%q, %v", got.Text(), got.Err)
	}
	if got := r.Get("/config"); got.Text() != "{Moin 2s {2048} }" {
		t.Errorf("%q", got.Text())
	}
	if got := r.Get("/large"); len(got.Body) != 1<<20 {
		t.Errorf("%d bytes, %v", len(got.Body), got.Err)
	}
	ws := r.WebSocket("/")
	if err := ws.SendText("hi"); err != nil {
		t.Fatal(err)
	}
	if got, err := ws.ReceiveText(); got != "hi" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	now := p.Status()
	if len(now.Workers) != 1 || now.Workers[0].State != "busy" || now.Workers[0].Inflight != 1 || now.Workers[0].Served < 3 || now.Circuit != "closed" {
		t.Errorf("%+v", now)
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
	r.stop()
	r.log.WaitFor(t, "shut down")
	if strings.Contains(r.log.String(), "level=ERROR") || strings.Contains(r.log.String(), "does not") {
		t.Error(r.log.String())
	}
}

func TestTheEnvironmentIsClean(t *testing.T) {
	t.Setenv("PAGI_SECRET", "x")
	t.Setenv("LC_TIME", "C")
	r := start(t, options("kit"))
	text := r.Get("/environment").Text()
	for _, name := range []string{"PATH", "LC_TIME", "TMPDIR", modeVariable} {
		if !strings.Contains("\n"+text, "\n"+name+"=") {
			t.Errorf("it has no %s:\n%s", name, text)
		}
	}
	if strings.Contains(text, "PAGI_SECRET") {
		t.Error("it has a variable of the gateway")
	}
}

func TestWrongOptionsNameTheField(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		config map[string]any
		want   string
	}{
		{map[string]any{"greting": "x"}, `config.greting: there is no option of this name; did you mean "greeting"?`},
		{map[string]any{"wait": "soon"}, `config.wait: must be a duration, as 30s or a number of seconds, is "soon"`},
		{map[string]any{"limits": map[string]any{"sice": 1}}, `config.limits.sice: there is no option of this name; did you mean "limits.size"?`},
		{map[string]any{"greeting": "refused"}, `config.greeting: must not be "refused"`},
	} {
		p := options("kit")
		p.Config = c.config
		p.Where = func(option string) string { return "site.yaml:4:" + fmt.Sprint(len(option)) + ": " }
		if _, err := try(t, p); err == nil || !strings.Contains(err.Error(), "site.yaml:4:") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v", c.config, err)
		}
	}
}

// A plugin that dies is started again, whatever the way; its mount answers 503 meanwhile, and the log says how it ended.
func TestAPluginThatDiesIsStartedAgain(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{"/kill": "signal: killed", "/exit": "exit status 3", "/panic": "exit status 2"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			r := start(t, options("kit"))
			before := r.Get("/pid").Text()
			if got := statusOf(r.Get(path)); got != 502 {
				t.Errorf("the request that kills it gets %d", got)
			}
			r.log.WaitFor(t, "the plugin has ended and is started again", want)
			if answer := r.Get("/"); answer.Err != nil {
				var s *pagi.StatusError
				if !errors.As(answer.Err, &s) || s.Status != 503 || s.Headers.Get("retry-after") == "" || !strings.Contains(s.Error(), "not running: ") {
					t.Errorf("%v", answer.Err)
				}
			}
			if r.again() == before {
				t.Error("the dead process serves")
			}
			if s := r.plugin.Status(); s.Launched != 2 || s.Totals.Restarts.Died != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestAFloodOfOutputIsCounted(t *testing.T) {
	t.Parallel()
	r := start(t, options("kit"))
	if got := r.Get("/flood"); got.Err != nil {
		t.Fatal(got.Err)
	}
	r.stop()
	text := r.log.String()
	if lines := strings.Count(text, "a line of a flood"); lines == 0 || lines > 20_000 {
		t.Errorf("%d lines of the flood are in the log", lines)
	}
	r.log.WaitFor(t, "records of the plugin were lost")
}

func TestReload(t *testing.T) {
	t.Parallel()
	state := testkit.Tree(t, map[string]string{"state": "first"}) + "/state"
	p := options("kit")
	p.Config = map[string]any{"state": state}
	r := start(t, p)
	pid := r.Get("/pid").Text()
	ws := r.WebSocket("/")
	reload := func(word string) error {
		if err := os.WriteFile(state, []byte(word), 0o600); err != nil {
			t.Fatal(err)
		}
		return p.Reload(t.Context())
	}
	if err := reload("second"); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the new code", func() bool { return strings.Contains(r.Get("/").Text(), "second") })
	for word, want := range map[string]string{"broken": "the code does not compile", "unlucky": "the database is away"} {
		if err := reload(word); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", word, err)
		}
		if got := r.Get("/"); !strings.Contains(got.Text(), "second") {
			t.Errorf("after a reload that failed: %q %v", got.Text(), got.Err)
		}
	}
	// The WebSocket of the first application lives on.
	if err := ws.SendText("still there?"); err != nil {
		t.Fatal(err)
	}
	if got, err := ws.ReceiveText(); got != "still there?" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
	if r.Get("/pid").Text() != pid {
		t.Error("a reload has started another process")
	}
	testkit.Eventually(t, "the first application's endpoint ends", func() bool { return len(p.Status().Workers) == 1 })
}

// A program that has changed is started in place of the one that runs, which ends when it has no scopes.
func TestReloadOfAChangedProgram(t *testing.T) {
	t.Parallel()
	file := testkit.Tree(t, map[string]string{"argument": "one"}) + "/argument"
	p := options("kit")
	p.Command = append(p.Command, file)
	r := start(t, p)
	before := r.Get("/pid").Text()
	ws := r.WebSocket("/")
	if err := os.WriteFile(file, []byte("two, longer"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r.Get("/pid").Text() == before {
		t.Error("the old process serves")
	}
	if err := ws.SendText("still there?"); err != nil {
		t.Fatal(err)
	}
	if got, err := ws.ReceiveText(); got != "still there?" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
	pid, err := strconv.Atoi(before)
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the old process ends", func() bool { return syscall.Kill(pid, 0) != nil })
	if s := p.Status(); len(s.Workers) != 1 || s.Totals.Restarts.Reload != 1 {
		t.Errorf("%+v", s)
	}
}

func TestChecksum(t *testing.T) {
	t.Parallel()
	p := options("kit")
	p.Checksum = "sha256:" + strings.Repeat("0", 64)
	if _, err := try(t, p); err == nil || !strings.Contains(err.Error(), "is not the program that the checksum names") {
		t.Error(err)
	}
}

func TestOptionsThatCannotWork(t *testing.T) {
	for want, p := range map[string]*host.Plugin{
		"command: is missing":           {},
		"command: ./nothing cannot be":  {Command: []string{"./nothing"}},
		"protocol: must be":             {Command: []string{"sh"}, Protocol: "http"},
		"workers: belongs to":           {Command: []string{"sh"}, Workers: 2},
		"checksum: must be":             {Command: []string{"sh"}, Checksum: "md5:1"},
		"config: has a value that JSON": {Command: []string{"sh"}, Config: map[string]any{"f": func() {}}},
		"env: \"A=B\" cannot":           {Command: []string{"sh"}, Env: map[string]string{"A=B": ""}},
		"kill_after: must not be":       {Command: []string{"sh"}, KillAfter: -1},
	} {
		if err := p.Check(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
