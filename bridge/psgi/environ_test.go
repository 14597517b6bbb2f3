package psgi

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// All options about an application's environment at once: another perl, and directories of modules
// from three sources, of which one overrides another.
func TestSurroundings(t *testing.T) {
	perl := testkit.Tool(t, "perl", "perl")
	module := func(name, from string) string { return "package " + name + "; sub from { '" + from + "' } 1;\n" }
	dir := testkit.Tree(t, map[string]string{
		"perlbrew/bin/perl":              "#!/bin/sh\nPERLBREW=5.99 exec " + perl + " \"$@\"\n",
		"site/data.txt":                  "from the working directory",
		"site/lib/First.pm":              module("First", "include"),
		"site/local/lib/perl5/First.pm":  module("First", "local_lib"),
		"site/local/lib/perl5/Second.pm": module("Second", "local_lib"),
		"site/local/bin/tool":            "#!/bin/sh\necho from local_lib\n",
		"env/First.pm":                   module("First", "env"),
		"env/Second.pm":                  module("Second", "env"),
		"env/Third.pm":                   "package Third; our $set; sub import { $set = $_[1] } sub from { $set } 1;\n",
	})
	app := `
		open my $in, '<', 'data.txt' or die "data.txt: $!";
		my @lines = (First->from, (eval { require Second } or die $@) && Second->from, Third->from, $ENV{PERLBREW}, $ENV{PLACK_ENV}, $ENV{MINE}, scalar(<$in>), scalar(` + "`tool`" + `), sprintf('%04o', umask));
		chomp @lines;
		sub { [200, [], [join '|', @lines]] }`
	want := "include|local_lib|imported|5.99|staging|yes|from the working directory|from local_lib|0027"
	options := PSGI{
		Dir: filepath.Join(dir, "site"), Perl: "../perlbrew/bin/perl", Environment: "staging",
		Lib: []string{"lib"}, Modules: []string{"First", "Third=imported"}, LocalLib: []string{"local"},
		Env:   map[string]string{"PERL5LIB": filepath.Join(dir, "env"), "MINE": "yes"},
		Umask: "0027",
	}
	t.Run("of code", func(t *testing.T) {
		o := options
		o.Code = app
		if r := mount(t, o).get("/"); r.body != want {
			t.Errorf("%q, want %q", r.body, want)
		}
	})
	t.Run("of a file", func(t *testing.T) {
		o := options
		o.App = "app.psgi"
		if err := os.WriteFile(filepath.Join(dir, "site/app.psgi"), []byte(app), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := mount(t, o).get("/"); r.body != want {
			t.Errorf("%q, want %q", r.body, want)
		}
	})
}

// The gateway's own PERL5LIB applies unless env sets another.
func TestInheritedEnvironment(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"lib/Inherited.pm": "package Inherited; 1;\n", "local/lib/perl5/Local.pm": "package Local; 1;\n"})
	t.Setenv("PERL5LIB", filepath.Join(dir, "lib"))
	for _, local := range [][]string{nil, {filepath.Join(dir, "local")}} {
		m := mount(t, PSGI{LocalLib: local, Code: "require Inherited; my $l = eval { require Local }; sub { [200, [], [$l ? 'with Local' : 'without']] }"})
		want := "without"
		if local != nil {
			want = "with Local"
		}
		if r := m.get("/"); r.body != want {
			t.Errorf("%q, want %q", r.body, want)
		}
	}
}

func TestBadSurroundings(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"bare/": "", "odd/lib/perl5": "a file"})
	for _, c := range []struct {
		o    PSGI
		want string
	}{
		{PSGI{LocalLib: []string{"none"}}, "psgi: local_lib: stat " + filepath.Join(dir, "none/lib/perl5")},
		{PSGI{LocalLib: []string{"bare"}}, "psgi: local_lib: "},
		{PSGI{LocalLib: []string{"odd"}}, "lib/perl5 is not a directory"},
		{PSGI{Umask: "8"}, `psgi: umask: must be octal like 0027, is "8"`},
		{PSGI{Umask: "1000"}, "psgi: umask: "},
		{PSGI{Umask: "-22"}, "psgi: umask: "},
		{PSGI{Processes: worker.Processes{MinWorkers: 2}}, "psgi: max_workers: is missing"},
		{PSGI{Processes: worker.Processes{Workers: 2, MinWorkers: 2, MaxWorkers: 3}}, "psgi: workers: excludes"},
		{PSGI{Processes: worker.Processes{MaxAge: -1}}, "psgi: max_age: must not be negative"},
		{PSGI{Processes: worker.Processes{MaxRSS: -1}}, "psgi: max_rss: must not be negative"},
		{PSGI{Limits: pool.Limits{Limits: worker.Limits{MaxRequestsJitter: 2}}}, "psgi: max_requests_jitter: must be at most 1"},
		{PSGI{Limits: pool.Limits{AnswerMemory: -1}}, "psgi: answer_memory: must not be negative"},
		{PSGI{Limits: pool.Limits{Limits: worker.Limits{IdleTimeout: -1}}}, "psgi: idle_timeout: must not be negative"},
	} {
		c.o.Code, c.o.Dir = "sub {}", dir
		if _, err := c.o.Build(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	if _, err := exec.LookPath("perl"); err == nil {
		if _, err := (PSGI{Code: "sub {}", Umask: "0o27", Limits: pool.Limits{Limits: worker.Limits{MaxRequestsJitter: -1}, AnswerSpool: -1}}).Build(); err != nil {
			t.Error(err)
		}
	}
}

// A client that sends the headers of an authenticated user by itself has no identity. The middleware
// says who it is, and only for the paths that it protects.
func TestAuthenticationOfTheMiddleware(t *testing.T) {
	m := code(t, `sub { my $e = shift; [200, [], [join '|', map { $e->{$_} // '' } qw(AUTH_TYPE REMOTE_USER HTTP_REMOTE_USER HTTP_AUTHORIZATION)]] }`)
	app := m.app
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("zoë:a:b"))
	users, tokens := map[string]string{"zoë": "{PLAIN}a:b"}, map[string]string{"ci": "0123456789abcdef"}
	for name, c := range map[string]struct {
		m             pagi.Middleware
		authorization string
		status        int
		body          string
	}{
		"a user":                   {middleware.BasicAuth{Users: users}, basic, 200, "Basic|zoë|root|" + basic},
		"nobody":                   {middleware.BasicAuth{Users: users}, "Basic x", 401, "Unauthorized\n"},
		"an open path":             {middleware.BasicAuth{Users: users, Paths: []string{"/other"}}, basic, 200, "||root|" + basic},
		"a token":                  {middleware.BearerAuth{Tokens: tokens}, "Bearer 0123456789abcdef", 200, "Bearer|ci|root|Bearer 0123456789abcdef"},
		"an open path and a token": {middleware.BearerAuth{Tokens: tokens, Paths: []string{"/other"}}, "Bearer 0123456789abcdef", 200, "||root|Bearer 0123456789abcdef"},
	} {
		m.app = c.m.Wrap(app)
		headers := pagi.NewHeaders("remote-user", "root", "x-remote-user", "root", "auth-type", "Basic", "remote_user", "evil", "auth_type", "Basic", "authorization", c.authorization)
		if r := m.do(call{path: "/", headers: headers}); r.err != nil || r.status != c.status || r.body != c.body {
			t.Errorf("%s: %d %q %v", name, r.status, r.body, r.err)
		}
	}
}
