package site_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/server"
	"github.com/pagi-go/pagi-bridge/site"
)

// greeter is a registered application.
type greeter struct {
	Greeting string
	Format   func() string // cannot stand in a site file
}

func (g *greeter) Serve(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
	return reply.Text(ctx, scope, send, 200, g.Greeting+" "+scope.Path)
}

func (g *greeter) Check() error {
	if g.Greeting == "" {
		return pagi.BadOption("greeting", "is missing")
	}
	return nil
}

func TestMain(m *testing.M) {
	site.RegisterApp("test_greeter", func() pagi.App { return &greeter{} })
	site.RegisterApp("home", func() pagi.App { return pagi.AppFunc(nil) }) // of examples/20-mixed-site
	os.Exit(m.Run())
}

// TestWrongSites loads and builds each file of testdata/wrong and compares the problems with the "#
// want" lines at its end. "..." there stands for a message of the YAML library or the server.
func TestWrongSites(t *testing.T) {
	files, err := filepath.Glob("testdata/wrong/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(source)) {
				if w, ok := strings.CutPrefix(line, "# want: "); ok {
					want = append(want, file+":"+strings.ReplaceAll(strings.TrimSpace(w), "DIR", dir))
				}
			}
			s, err := site.Load(file)
			if err == nil {
				_, err = s.Build()
			}
			if err == nil {
				t.Fatal("nothing is wrong with it")
			}
			var problems site.Problems
			if !errors.As(err, &problems) {
				t.Errorf("the error is a %T", err)
			}
			got := strings.Split(err.Error(), "\n")
			for i := range got {
				if i < len(want) && strings.HasSuffix(want[i], "...") && strings.HasPrefix(got[i], strings.TrimSuffix(want[i], "...")) {
					want[i] = got[i]
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAMissingSiteFile(t *testing.T) {
	_, err := site.Load("testdata/absent.yaml")
	if err == nil || err.Error() != "testdata/absent.yaml: no such file or directory" || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestLoadUnderstandsEverything(t *testing.T) {
	s, err := site.Load("testdata/right/site.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := site.Settings{
		Listen: []string{"127.0.0.1:0", "unix:testdata/right/run/site.sock"}, SocketMode: "0660", Environment: "staging", Processes: worker.Processes{Workers: 3, MaxRequests: 100, Preload: true},
		Lib: []string{"testdata/right/lib"}, Limits: server.Limits{Limits: engine.Limits{MaxBodySize: -1, MaxHeaderCount: 50, MaxReceiveQueue: 20}, MaxWSFrameSize: 1_000_000, MaxWSMessageSize: -1}, Timeouts: server.Timeouts{Timeout: 90 * time.Second, ShutdownTimeout: 90 * time.Second, WSIdleTimeout: 5 * time.Minute, Timeouts: engine.Timeouts{RequestTimeout: 2500 * time.Millisecond}}, WSCompression: "off", Lifespan: "on", Logs: site.Logs{AccessLog: "testdata/right/logs/access.log", AccessLogFormat: "combined", LogLevel: "warn"},
	}
	if diff := cmp.Diff(want, s.Settings); diff != "" {
		t.Error(diff)
	}
	if _, err := s.Build(); err != nil {
		t.Fatal(err)
	}
	var got [][]any
	for _, m := range s.Mounts {
		got = append(got, []any{m.Name(), m.Kind, m.Source, m.Workers, len(m.Middleware)})
	}
	wantMounts := [][]any{
		{"/", "psgi", "app.psgi", 2, 0}, {"/cgi-bin", "cgi", "cgi-bin", 0, 0}, {"/one", "cgi", "cgi-bin/hello.cgi", 0, 0}, {"*.example.com/static", "file", "public", 0, 2},
		{"/files", "directory", "directory", 0, 0}, {"/old", "redirect", "/new", 0, 0}, {"/gone", "not_found", "It is gone.\n", 0, 0}, {"/go", "go", "test_greeter", 0, 0},
	}
	if diff := cmp.Diff(wantMounts, got); diff != "" {
		t.Error(diff)
	}
	dir, err := filepath.Abs("testdata/right")
	if err != nil {
		t.Fatal(err)
	}
	o := s.Mounts[0].Options.(*psgi.PSGI)
	if o.App != dir+"/app.psgi" || o.Dir != "testdata/right" || o.Environment != "staging" || o.MaxRequests != 100 || !o.Preload || o.RequestTimeout != 30*time.Second ||
		o.Env["GREETING"] != "hello" || len(o.Lib) != 1 || o.Lib[0] != dir+"/lib" || o.Name != "/" {
		t.Errorf("psgi options: %+v", o)
	}
	f := s.Mounts[3].Options.(*apps.File)
	if f.Root != "testdata/right/public" || f.Index == nil || len(f.Index) != 0 || f.Types["pl"] != "text/x-perl" {
		t.Errorf("file options: root %q, index %v, types %v", f.Root, f.Index, f.Types)
	}
	d := s.Mounts[4].Options.(*apps.Directory)
	if d.Root != "testdata/right/public" || !d.ShowHidden {
		t.Errorf("directory options: root %q, hidden %v", d.Root, d.ShowHidden)
	}
}

func TestASiteServes(t *testing.T) {
	s, err := site.Load("testdata/right/site.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s.Mounts = s.Mounts[1:] // without the one that needs Perl
	app, err := s.Build()
	if err != nil {
		t.Fatal(err)
	}
	c := pagitest.Start(t, app)
	for target, want := range map[string]struct {
		status int
		body   string
	}{
		"/cgi-bin/hello.cgi":     {200, "hello from /cgi-bin/hello.cgi\n"},
		"/cgi-bin/page.txt":      {200, "a page among scripts\n"},
		"/cgi-bin/hello.cgi/x":   {200, "hello from /cgi-bin/hello.cgi\n"},
		"/cgi-bin/plain.sh":      {200, "hello without a bit\n"},
		"/cgi-bin/plain.sh/x":    {404, "Not Found\n"},
		"/one":                   {200, "hello from /one\n"},
		"/files/page.txt":        {200, "a static page\n"},
		"/old":                   {301, "Moved Permanently\n"},
		"/gone":                  {410, "It is gone.\n"},
		"/go/x":                  {200, "Ahoy /x\n"},
		"/static/page.txt":       {404, "Not Found\n"},
		"/nothing":               {404, "Not Found\n"},
		"/cgi-bin/../secret.txt": {404, ""},
	} {
		res := c.Get(target)
		if res.Err != nil && res.Status < 400 || res.Status != want.status || want.body != "" && res.Text() != want.body {
			t.Errorf("%s: %d %q %v", target, res.Status, res.Text(), res.Err)
		}
		if res.Err == nil && (res.Header("x-request-id") == "" || res.Header("x-frame-options") != "DENY" || res.Header("x-xss-protection") != "0") {
			t.Errorf("%s did not pass the site's middleware: %v", target, res.Headers)
		}
	}
	c.Host = "www.example.com"
	if res := c.Get("/static/page.txt"); res.Status != 301 || res.Header("location") != "https://www.example.com/static/page.txt" {
		t.Errorf("the mount's middleware: %d %q", res.Status, res.Header("location"))
	}
	c.Scheme = "https"
	if res := c.Get("/static/page.txt"); res.Text() != "a static page\n" || res.Header("strict-transport-security") == "" {
		t.Errorf("a mount of a host: %q %v", res.Text(), res.Headers)
	}
}

func TestRegisteredPartsAreChecked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "site.yaml")
	if err := os.WriteFile(file, []byte("mounts:\n  - go: test_greeter\n    greetings: x\n    format: y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := site.Load(file)
	want := file + ":3:5: unknown key \"greetings\" in the Go application test_greeter; did you mean \"greeting\"?\n" + file + ":4:5: unknown key \"format\" in the Go application test_greeter"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(file, []byte("mounts:\n  - go: test_greeter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := site.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Build(); err == nil || err.Error() != file+":2:9: greeting: is missing" {
		t.Errorf("got %v", err)
	}
}

func TestANameIsRegisteredOnce(t *testing.T) {
	for what, register := range map[string]func(){
		"an application": func() { site.RegisterApp("test_greeter", nil) },
		"a middleware":   func() { site.RegisterMiddleware("head", nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", what)
				}
			}()
			register()
		}()
	}
}

func TestSettingsThatAreGiven(t *testing.T) {
	s := site.Settings{Limits: server.Limits{MaxHeaderSize: 5}}
	for _, name := range []string{"max_body_size", "max_header_size", "timeout", "request_timeout", "unknown"} {
		if err := s.Given(name); err != nil {
			t.Error(err)
		}
	}
	if s.MaxBodySize != -1 || s.MaxHeaderSize != 5 || s.Timeout != -1 || s.RequestTimeout != 0 {
		t.Errorf("%+v", s)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	for option, s := range map[string]site.Settings{
		"timeout": {Timeouts: server.Timeouts{Timeout: -5 * time.Second}}, "request_timeout": {Timeouts: server.Timeouts{Timeouts: engine.Timeouts{RequestTimeout: -1}}}, "max_body_size": {Limits: server.Limits{Limits: engine.Limits{MaxBodySize: -2}}}, "workers": {Processes: worker.Processes{Workers: -1}},
	} {
		var bad *pagi.OptionError
		if err := s.Check(); !errors.As(err, &bad) || bad.Option != option {
			t.Errorf("a negative %s: %v", option, err)
		}
	}
}

func TestSettingsCheckPlaces(t *testing.T) {
	for spec, ok := range map[string]bool{
		"127.0.0.1:5000": true, ":5000": true, "[::1]:5000": true, "host:0": true, "./x.sock": true, "/run/x": true, "unix:x": true,
		"localhost": false, "::1:5000": false, "host:port": false, "host:99999": false, "": false, "unix:": false,
	} {
		if err := (&site.Settings{Listen: []string{spec}}).Check(); (err == nil) != ok {
			t.Errorf("%q: %v", spec, err)
		}
	}
}

func TestPlacesAreResolved(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"site.yaml": "listen: ['unix:@x', 'unix:@x/y,proxy', 'unix:x,proxy', ./x, 'host:1']\nmounts: [{not_found: x}]\n"})
	s, err := site.Load(filepath.Join(dir, "site.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"unix:@x", "unix:@x/y,proxy", "unix:" + dir + "/x,proxy", "unix:" + dir + "/x", "host:1"}
	if diff := cmp.Diff(want, s.Settings.Listen); diff != "" {
		t.Error(diff)
	}
}

func TestAZeroInAMountStandsForTheSitesValue(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	s, problem := loadTree(t, map[string]string{
		"app.psgi": "sub { [200, [], []] }",
		"site.yaml": "workers: 3\nmax_requests: 9\nmax_age: 5\nmax_rss: 1GiB\n" +
			"mounts:\n  - {psgi: app.psgi, workers: 0, max_requests: 0, max_age: 0, max_rss: 0}\n",
	}, nil)
	if s == nil {
		t.Fatal(problem)
	}
	s.Settings.MaxRequests = 7 // as a flag does
	if _, err := s.Build(); err != nil {
		t.Fatal(err)
	}
	want := worker.Processes{Workers: 3, MaxRequests: 7, MaxAge: 5 * time.Second, MaxRSS: 1 << 30}
	if diff := cmp.Diff(want, s.Mounts[0].Options.(*psgi.PSGI).Processes); diff != "" {
		t.Error(diff)
	}
}

// A mount's own preload goes first, also where it says no.
func TestPreloadOfSiteAndMount(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	for name, c := range map[string]struct {
		site, mount string
		want        bool
	}{
		"nobody says it":           {"", "", false},
		"the site says it":         {"preload: true\n", "", true},
		"the mount says it":        {"", "    preload: true\n", true},
		"the mount does not want":  {"preload: true\n", "    preload: false\n", false},
		"the mount alone wants it": {"preload: false\n", "    preload: true\n", true},
	} {
		dir := testkit.Tree(t, map[string]string{
			"app.psgi": "sub { [200, [], []] }", "site.yaml": c.site + "mounts:\n  - path: /\n    psgi: app.psgi\n" + c.mount,
		})
		s, err := site.Load(filepath.Join(dir, "site.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Build(); err != nil {
			t.Fatal(err)
		}
		if got := s.Mounts[0].Options.(*psgi.PSGI).Preload; got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// starts counts how often it was started.
type starts struct{ n, ended atomic.Int32 }

func (s *starts) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type == pagi.TypeLifespan {
		return lifespan.Serve(ctx, receive, send,
			func(context.Context) error { s.n.Add(1); return nil },
			func(context.Context) error { s.ended.Add(1); return nil })
	}
	return reply.Text(ctx, scope, send, 200, "one of several")
}

func TestAMountWithSeveralHostsIsOneApplication(t *testing.T) {
	app := &starts{}
	site.RegisterApp("test_starts", func() pagi.App { return app })
	file := filepath.Join(t.TempDir(), "site.yaml")
	text := "mounts:\n  - {host: [a.example, '*.b.example'], path: /app, go: test_starts}\n  - {host: b.example, go: test_starts}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := site.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	built, err := s.Build()
	if err != nil {
		t.Fatal(err)
	}
	c := pagitest.New(built)
	if err := c.Startup(t.Context()); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{"a.example": 200, "x.b.example": 200, "b.example": 200, "c.example": 404} {
		c.Host = host
		if res := c.Get("/app"); res.Status != want {
			t.Errorf("%s: %d, want %d", host, res.Status, want)
		}
	}
	if err := c.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if n, ended := app.n.Load(), app.ended.Load(); n != 2 || ended != 2 {
		t.Errorf("two mounts were started %d times, and ended %d times", n, ended)
	}
	if names := []string{s.Mounts[0].Name(), s.Routes()[0].Host}; names[0] != "a.example/app" || names[1] != "a.example,*.b.example" {
		t.Errorf("the mount is called %q", names)
	}
}
