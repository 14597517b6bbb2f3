package psgi

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
)

// PSGI takes every kind of application that plackup takes, with the modules that plackup loads.
func TestKindsOfApplication(t *testing.T) {
	cases := []struct {
		name, perl string
		modules    []string // without which the case is skipped
		body       string
	}{
		{name: "a code reference", perl: `sub { [200, [], ['served']] }`, body: "served"},
		{name: "a code reference with a class", perl: `bless sub { [200, [], ['served']] }, 'MyCode'`, body: "served"},
		{name: "an object with to_app", perl: `package O; sub new { bless {}, shift } sub to_app { sub { [200, [], ['served']] } } package main; O->new`, body: "served"},
		{name: "an object whose to_app returns an object", perl: `package O; sub new { bless {}, shift } sub to_app { bless {}, 'P' } package P; sub call { [200, [], ['served']] } package main; O->new`, body: "served"},
		{name: "an object with call", perl: `package O; sub new { bless { say => 'served' }, shift } sub call { my ($self, $env) = @_; [200, [], [$self->{say}, $env->{PATH_INFO}]] } package main; O->new`, body: "served/"},
		{name: "an object that can be called", perl: `package O; use overload '&{}' => sub { sub { [200, [], ['served']] } }, fallback => 1; package main; bless {}, 'O'`, body: "served"},
		{name: "a Plack::Component", modules: []string{"Plack"}, perl: `package O; use parent 'Plack::Component'; sub call { [200, [], ['served']] } package main; O->new`, body: "served"},
		{name: "a builder", modules: []string{"Plack"}, perl: `use Plack::Builder; builder { enable 'Head'; sub { [200, [], ['served']] } }`, body: "served"},
		{name: "Plack::Util that was not loaded", modules: []string{"Plack"}, perl: `sub { my $h = ['X-A' => 'served']; [200, [], [Plack::Util::header_get($h, 'X-A')]] }`, body: "served"},
		{name: "Plack::Util that was not loaded, while loading", modules: []string{"Plack"}, perl: `my $h = Plack::Util::headers(['X-A' => 'served']); sub { [200, [], [$h->get('X-A')]] }`, body: "served"},
		{name: "Plack::Builder that was not loaded", modules: []string{"Plack"}, perl: `my $b = Plack::Builder->new; $b->add_middleware('Head'); $b->wrap(sub { [200, [], ['served']] })`, body: "served"},
		{name: "HTTP::Date that was not loaded", modules: []string{"HTTP::Date"}, perl: `sub { [200, [], [HTTP::Date::time2str(0)]] }`, body: "Thu, 01 Jan 1970 00:00:00 GMT"},
		{name: "a function that Plack::Util does not have", modules: []string{"Plack"}, perl: `sub { eval { Plack::Util::nonsense(1) }; [200, [], [$@ =~ /\A(Undefined subroutine &Plack::Util::nonsense called) at/]] }`, body: "Undefined subroutine &Plack::Util::nonsense called"},
		{name: "Plack::Runner in the file", modules: []string{"Plack"}, perl: `use Plack::Runner; my $app = sub { [200, [], ['served']] }; my $r = Plack::Runner->new; $r->parse_options('-p', 1); $r->run($app)`, body: "served"},
		{name: "Plack::Runner in the file, with a server", modules: []string{"Plack"}, perl: `use Plack::Runner; my $app = sub { [200, [], ['served']] }; my $r = Plack::Runner->new(server => 'Starman'); $r->run($app)`, body: "served"},
		{name: "Plack::Loader in the file", modules: []string{"Plack"}, perl: `require Plack::Loader; Plack::Loader->auto(port => 1)->run(sub { [200, [], ['served']] })`, body: "served"},
		{name: "Plack::Loader in a request", modules: []string{"Plack"}, perl: `use Plack::Loader; sub { [200, [], [ref Plack::Loader->load('Standalone')]] }`, body: "Plack::Handler::Standalone"},
		{name: "dance of Dancer", modules: []string{"Dancer"}, perl: `package D1; use Dancer ':syntax'; get '/' => sub { 'served' }; dance;`, body: "served"},
		{name: "dance of Dancer2", modules: []string{"Dancer2"}, perl: `package D2; use Dancer2; get '/' => sub { 'served' }; dance;`, body: "served"},
		{name: "start of Dancer2", modules: []string{"Dancer2"}, perl: `package D3; use Dancer2; get '/' => sub { 'served' }; start;`, body: "served"},
		{name: "app->start of Mojolicious::Lite", modules: []string{"Mojolicious"}, perl: `use Mojolicious::Lite; get '/' => sub { shift->render(text => 'served') }; app->start;`, body: "served"},
		{name: "a condition variable that is waited for", modules: []string{"AnyEvent"}, perl: `use AnyEvent; sub { my $cv = AnyEvent->condvar; my $t = AnyEvent->timer(after => 0.01, cb => sub { $cv->send('served') }); [200, [], [$cv->recv]] }`, body: "served"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			needModules(t, c.modules)
			dir := t.TempDir()
			app := filepath.Join(dir, "app.psgi")
			writeFile(t, app, c.perl+"\n")
			m := mount(t, PSGI{App: app, Dir: dir})
			for range 2 {
				if r := m.get("/"); r.err != nil || r.body != c.body {
					t.Fatalf("status %d, %q, error %v; want %q", r.status, r.body, r.err, c.body)
				}
			}
		})
	}
}

// The error for an application of another kind of server says so.
func TestApplicationsOfOtherServers(t *testing.T) {
	const waits = "It may wait for an event loop (AnyEvent is loaded), and a worker runs none: wait for the result"
	const noLoop = "runs no event loop: psgi.nonblocking is false, and there is no psgix.io"
	const pagi = "looks like a PAGI application in Perl"
	cases := []struct {
		name, perl string
		modules    []string
		want       string
	}{
		{"an answer that an event loop would give", `use AnyEvent; sub { sub { my $r = shift; my $t; $t = AnyEvent->timer(after => 1, cb => sub { undef $t; $r->([200, [], []]) }) } }`, []string{"AnyEvent"}, waits},
		{"a writer that an event loop would close", `use AnyEvent; sub { sub { my $w = $_[0]->([200, []]); my $t; $t = AnyEvent->timer(after => 1, cb => sub { undef $t; $w->close }); undef $w } }`, []string{"AnyEvent"}, waits},
		{"a condition variable for an answer", `use AnyEvent; sub { AnyEvent->condvar }`, []string{"AnyEvent"}, waits},
		{"the connection itself", "sub { my $env = shift;\n  $env->{'psgix.io'}->syswrite('HTTP/1.1 101') }", nil, noLoop},
		{"a server that does not block", `sub { die "needs psgi.nonblocking\n" if !$_[0]{'psgi.nonblocking'} }`, nil, noLoop},
		{"a PAGI application by its signature", `use feature 'signatures'; no warnings; sub ($scope, $receive, $send) { 1 }`, nil, pagi},
		{"a PAGI application by its answer", `package Future; sub new { bless {}, shift } package main; sub { Future->new }`, nil, pagi},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			needModules(t, c.modules)
			app := filepath.Join(t.TempDir(), "app.psgi")
			writeFile(t, app, c.perl+"\n")
			if r := mount(t, PSGI{App: app}).get("/"); r.err == nil || !strings.Contains(r.err.Error(), c.want) {
				t.Errorf("error %v, want %q", r.err, c.want)
			}
		})
	}
}

// Every line that a file prints while it is loaded is in the log at once, even if loading never
// ends.
func TestOutputWhileLoading(t *testing.T) {
	t.Run("at once", func(t *testing.T) {
		gate := filepath.Join(t.TempDir(), "gate")
		o := PSGI{Processes: worker.Processes{Workers: 1}, Code: `print "line $_\n" for 1 .. 40; print STDERR "and an error\n"; select undef, undef, undef, .01 until -e '` + gate + `'; sub { [200, [], []] }`}
		log := &testkit.Log{}
		o.Logger = log.Logger()
		app, err := o.Build()
		if err != nil {
			t.Fatal(err)
		}
		started := make(chan error, 1)
		var run *lifespan.Run
		go func() {
			var err error
			run, err = lifespan.Start(t.Context(), app, &pagi.Scope{Type: pagi.TypeLifespan})
			started <- err
		}()
		log.WaitFor(t, "level=WARN", `msg="line 1"`)
		log.WaitFor(t, "level=WARN", `msg="line 40"`)
		log.WaitFor(t, "level=WARN", `msg="and an error"`)
		if err := os.WriteFile(gate, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := testkit.Await(t, started); err != nil {
			t.Fatal(err)
		}
		if err := run.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if n := strings.Count(log.String(), `msg="line 1"`); n != 1 {
			t.Errorf("a line is in the log %d times", n)
		}
	})
	t.Run("when the start time runs out", func(t *testing.T) {
		o := PSGI{Processes: worker.Processes{Workers: 1}, Limits: pool.Limits{Limits: worker.Limits{StartTimeout: 5 * time.Second}}, Code: `print "line $_\n" for 1 .. 40; sleep 99; sub {}`}
		log := &testkit.Log{}
		o.Logger = log.Logger()
		app, err := o.Build()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lifespan.Start(t.Context(), app, &pagi.Scope{Type: pagi.TypeLifespan}); err == nil || !strings.Contains(err.Error(), "not ready after 5s") {
			t.Errorf("error %v", err)
		}
		log.WaitFor(t, "level=WARN", `msg="line 1"`)
		log.WaitFor(t, "level=WARN", `msg="line 40"`)
	})
}
