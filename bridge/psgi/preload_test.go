package psgi

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
)

// both sends requests until two workers have answered, and returns their answers by pid. The
// application is slow, and answers /PATH after "PID ".
func (m *mounted) both(path string) map[string]string {
	m.t.Helper()
	said := map[string]string{}
	testkit.Eventually(m.t, "an answer from two workers", func() bool {
		results := make(chan *result, 2)
		for range 2 {
			go func() { results <- m.do(call{method: "POST", path: path}) }()
		}
		for range 2 {
			r := <-results
			if r.err != nil {
				m.t.Fatal(r.err)
			}
			pid, text, _ := strings.Cut(r.body, " ")
			said[pid] = text
		}
		return len(said) >= 2
	})
	return said
}

func lines(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func TestPreload(t *testing.T) {
	dir := t.TempDir()
	m := mount(t, PSGI{Processes: worker.Processes{Preload: true, Workers: 2}, Name: "/app", Env: map[string]string{"D": dir}, Dir: dir, Code: `
		use strict; use warnings; use Cwd (); use PagiBridge; use Text::Wrap ();
		sub note { open my $f, '>>', "$ENV{D}/$_[0]" or die $!; print {$f} "$_[1]\n"; close $f or die $! }
		note(loaded => $$);
		my $loader = $$;
		rand;    # seeds
		my $number = 0;
		my $shared = [1 .. 1000];
		PagiBridge::after_fork(sub { $number = $_[0]; note(hook => "$$ $number"); });
		END { note(end => "$$ " . ($$ == $loader ? 'zygote' : 'worker')) }
		sub {
			my $env = shift;
			select undef, undef, undef, .02;
			my %say = (
				'/rand'   => sub { join ',', map { int rand 1e9 } 1 .. 3 },
				'/number' => sub { $number },
				'/chld'   => sub { defined $SIG{CHLD} ? "'$SIG{CHLD}'" : 'undef' },
				'/wait'   => sub { my $p = fork; if (!$p) { require POSIX; POSIX::_exit(5) } waitpid($p, 0) == $p ? $? >> 8 : 'lost' },
				'/system' => sub { system('sh', '-c', 'exit 3') >> 8 },
				'/cwd'    => sub { Cwd::getcwd() },
				'/zero'   => sub { open my $f, '<', "/proc/$$/cmdline" or die $!; my ($title) = split /\0/, <$f>; "$title is $0" },
				'/module' => sub { $INC{'Text/Wrap.pm'} . \&Text::Wrap::wrap },
				'/group'  => sub { getpgrp == $$ ? 'leader' : 'no leader' },
				'/warn'   => sub { print STDOUT "printed by $$\n"; warn "warned by $$"; $env->{'psgi.errors'}->print("erred by $$\n"); '' },
				'/exit'   => sub { exit 7 },
			);
			[200, [], ["$$ " . $say{$env->{PATH_INFO}}->()]];
		}`})
	distinct := func(path string) {
		t.Helper()
		seen := map[string]bool{}
		said := m.both(path)
		for _, text := range said {
			seen[text] = true
		}
		if len(seen) != len(said) {
			t.Errorf("%s: %v", path, said)
		}
	}
	same := func(path, want string) {
		t.Helper()
		for pid, text := range m.both(path) {
			if !regexp.MustCompile(`^(?:` + want + `)$`).MatchString(text) {
				t.Errorf("%s: worker %s said %q, want %s", path, pid, text, want)
			}
		}
	}
	distinct("/rand")
	distinct("/number")
	same("/number", "1|2")
	same("/chld", "undef|'DEFAULT'")
	same("/wait", "5")
	same("/system", "3")
	same("/cwd", regexp.QuoteMeta(dir))
	same("/zero", "pagi-worker /app is -e")
	same("/group", "leader")
	modules := map[string]bool{}
	for _, text := range m.both("/module") {
		modules[text] = true
	}
	if len(modules) != 1 {
		t.Errorf("a module loaded before is not shared: %v", modules)
	}

	loaded := lines(t, filepath.Join(dir, "loaded"))
	if len(loaded) != 1 {
		t.Errorf("the application was loaded by %v", loaded)
	}
	if hooks := lines(t, filepath.Join(dir, "hook")); len(hooks) != 2 {
		t.Errorf("after_fork ran in %v", hooks)
	}
	for pid := range m.both("/warn") {
		worker := strings.TrimPrefix(strings.Fields(strings.Join(grep(lines(t, filepath.Join(dir, "hook")), pid+" "), ""))[1], " ")
		origin := fmt.Sprintf("mount=/app worker=%s pid=%s", worker, pid)
		m.log.WaitFor(t, "printed by "+pid, origin)
		m.log.WaitFor(t, "warned by "+pid+" at -e line ", origin)
		m.log.WaitFor(t, "erred by "+pid, origin, "request=")
	}

	// A worker that ends is replaced by another fork, and its status is known.
	r := m.do(call{method: "POST", path: "/exit"})
	if r.err == nil || !strings.Contains(r.err.Error(), "exit status 7") {
		t.Errorf("%+v", r)
	}
	same("/number", "1|2|3")
	if now := lines(t, filepath.Join(dir, "loaded")); len(now) != 1 {
		t.Errorf("the application was loaded again: %v", now)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := m.app.(*app).shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	ends := lines(t, filepath.Join(dir, "end"))
	if len(grep(ends, " worker")) != 3 || len(grep(ends, loaded[0]+" zygote")) != 1 || len(ends) != 4 {
		t.Errorf("END blocks ran in %v, want three workers and the zygote %v", ends, loaded)
	}
}

func grep(list []string, part string) (found []string) {
	for _, s := range list {
		if strings.Contains(s, part) {
			found = append(found, s)
		}
	}
	return found
}

// Failures of the start are reported in Perl's words, as without preload.
func TestPreloadFailures(t *testing.T) {
	for name, c := range map[string]struct{ perl, want string }{
		"a syntax error":           {`sub {`, "Missing right curly"},
		"an exception":             {`die "no database\n"`, "no database"},
		"no application":           {`1`, "must end with the application"},
		"an exit while it loads":   {`warn "leaving\n"; exit 4`, "exit status 4): leaving"},
		"a signal while it loads":  {`kill KILL => $$; sleep 9`, "signal: killed"},
		"a hook that dies":         {`PagiBridge::after_fork(sub { die "no connection\n" }); sub { }`, "after_fork: no connection"},
		"a hook that is no code":   {`PagiBridge::after_fork('connect'); sub { }`, "wants a code reference at -e line 1"},
		"a hook that ends":         {`PagiBridge::after_fork(sub { exit 6 }); sub { }`, "exit status 6"},
		"a hook that becomes true": {`PagiBridge::after_fork(sub { exec 'true' }); sub { }`, "exit status 0"},
	} {
		t.Run(name, func(t *testing.T) {
			log := &testkit.Log{}
			built, err := PSGI{Code: c.perl, Processes: worker.Processes{Preload: true, Workers: 2}, Logger: log.Logger()}.Build()
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			run, err := lifespan.Start(t.Context(), built, &pagi.Scope{Type: pagi.TypeLifespan})
			if err == nil {
				_ = run.Shutdown(t.Context())
				t.Fatal("it has started")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q, want %q", err, c.want)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// When a zygote is killed its workers go on. The next zygote loads the application again, and forks
// the missing workers.
func TestPreloadWithoutTheZygote(t *testing.T) {
	dir := t.TempDir()
	m := mount(t, PSGI{Processes: worker.Processes{Preload: true, Workers: 2}, Env: map[string]string{"D": dir}, Code: `
		open my $f, '>>', "$ENV{D}/loaded" or die; print {$f} "$$\n"; close $f; my $loader = $$;
		sub { exit 1 if $_[0]{PATH_INFO} eq '/exit'; select undef, undef, undef, .02; [200, [], ["$$ $loader"]] }`})
	before := m.both("/")
	first := lines(t, filepath.Join(dir, "loaded"))[0]
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	m.log.WaitFor(t, "the zygote died; its workers go on", "workers=2", "pid="+first)
	testkit.Eventually(t, "the application to be loaded again", func() bool { return len(lines(t, filepath.Join(dir, "loaded"))) == 2 })
	for pid := range m.both("/") {
		if before[pid] != first {
			t.Errorf("worker %s is not one of %v", pid, before)
		}
	}
	if r := m.do(call{method: "POST", path: "/exit"}); r.err == nil {
		t.Errorf("%+v", r)
	}
	second := lines(t, filepath.Join(dir, "loaded"))[1]
	testkit.Eventually(t, "a worker of the second zygote", func() bool {
		for _, loader := range m.both("/") {
			if loader == second {
				return true
			}
		}
		return false
	})
}

// A hook that hangs is ended by start_timeout.
func TestPreloadHookThatHangs(t *testing.T) {
	built, err := PSGI{Code: `PagiBridge::after_fork(sub { sleep 3600 }); sub { }`, Processes: worker.Processes{Preload: true, Workers: 1}, Limits: pool.Limits{Limits: worker.Limits{StartTimeout: 2 * time.Second}}, Logger: (&testkit.Log{}).Logger()}.Build()
	if err != nil {
		t.Fatal(err)
	}
	_, err = lifespan.Start(t.Context(), built, &pagi.Scope{Type: pagi.TypeLifespan})
	if err == nil || !strings.Contains(err.Error(), "it was not ready after 2s") {
		t.Errorf("error %v", err)
	}
}

// Without preload the same hooks run, so that an application need not know.
func TestAfterForkWithoutPreload(t *testing.T) {
	m := mount(t, PSGI{Processes: worker.Processes{Workers: 2}, Code: `use PagiBridge; my $n; PagiBridge::after_fork(sub { $n = "worker $_[0]" });
		sub { select undef, undef, undef, .02; PagiBridge::after_fork(sub { $n .= ", late $_[0]" }) if $n !~ /late/; [200, [], ["$$ $n"]] }`})
	for pid, text := range m.both("/") {
		if text != "worker 1, late 1" && text != "worker 2, late 2" {
			t.Errorf("worker %s: %q", pid, text)
		}
	}
}

// An application's changes to its output handles during loading stay, except copies of the zygote's
// output.
func TestPreloadKeepsHandles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out")
	m := mount(t, PSGI{Processes: worker.Processes{Preload: true}, Env: map[string]string{"F": file}, Code: `
		open STDOUT, '>>', $ENV{F} or die; STDOUT->autoflush;
		open my $copy, '>&', \*STDERR or die; $copy->autoflush;
		sub { print "to the file by $$\n"; print {$copy} "copied by $$\n"; system 'echo by a child >&2'; [200, [], [$$]] }`})
	pid := m.get("/").body
	m.log.WaitFor(t, "copied by "+pid, "worker=1", "pid="+pid)
	m.log.WaitFor(t, "by a child", "worker=1", "pid="+pid)
	if got := lines(t, file); len(got) != 1 || got[0] != "to the file by "+pid {
		t.Errorf("the file holds %q", got)
	}
}

func TestPreloadWarnsOfSockets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	path := filepath.Join(t.TempDir(), "socket")
	u, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = u.Close() }()
	m := mount(t, PSGI{Processes: worker.Processes{Preload: true, Workers: 2}, Env: map[string]string{"A": l.Addr().String(), "U": path}, Code: `
		use IO::Socket::INET; use IO::Socket::UNIX; use Socket;
		my @s = (IO::Socket::INET->new(PeerAddr => $ENV{A}), IO::Socket::UNIX->new(Peer => $ENV{U}), IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1'));
		socketpair my $a, my $b, AF_UNIX, SOCK_STREAM, PF_UNSPEC;
		sub { [200, [], [scalar @s, $a, $b]] }`})
	m.log.WaitFor(t, "level=WARN", "opened 5 sockets", "tcp "+l.Addr().String(), "unix "+path, "listening at tcp 127.0.0.1:", "unix, without a name", "PagiBridge::after_fork", "zygote=1")
	if n := strings.Count(m.log.String(), "sockets while it was loaded"); n != 1 {
		t.Errorf("told %d times:\n%s", n, m.log)
	}
	none := mount(t, PSGI{Processes: worker.Processes{Preload: true}, Code: `sub { [200, [], []] }`})
	none.get("/")
	if strings.Contains(none.log.String(), "socket") {
		t.Errorf("it warns of sockets that are none:\n%s", none.log)
	}
}

// Objects that an application made while it was loaded are destroyed in each process, as after
// every fork. Handles of DBI leave the connection to the process that has made it.
func TestPreloadDestroysLikeDBI(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"lib/DBI.pm": `package DBI; our @handles;
		sub visit_handles { my ($class, $code) = @_; $code->($_) && do { $code->($_) for @{ $_->{ChildHandles} || [] } } for @handles; return }
		package DBI::db; sub new { my $class = shift; return bless { @_ }, $class }
		sub DESTROY { my $h = shift; return if $h->{InactiveDestroy}; open my $f, '>>', "$ENV{D}/closed"; print {$f} "$h->{Type} $$\n"; close $f }
		1;`})
	m := mount(t, PSGI{Processes: worker.Processes{Preload: true, Workers: 1}, Env: map[string]string{"D": dir}, Lib: []string{filepath.Join(dir, "lib")}, Code: `
		use DBI; open my $f, '>', "$ENV{D}/zygote"; print {$f} $$; close $f;
		my $dbh = DBI::db->new(Type => 'db'); push @DBI::handles, DBI::db->new(Type => 'dr', ChildHandles => [$dbh]); $DBI::handles[0]{InactiveDestroy} = 1;
		sub { exit 0 if $_[0]{PATH_INFO} eq '/exit'; [200, [], [$$]] }`})
	if r := m.do(call{method: "POST", path: "/exit"}); r.err == nil {
		t.Errorf("%+v", r)
	}
	if r := m.get("/"); r.err != nil {
		t.Error(r.err)
	}
	if err := m.app.(*app).shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	zygote := lines(t, filepath.Join(dir, "zygote"))[0]
	if got := lines(t, filepath.Join(dir, "closed")); len(got) != 1 || got[0] != "db "+zygote {
		t.Errorf("the connection was closed by %q, want only the zygote %s", got, zygote)
	}
}

func TestPreloadWithDBI(t *testing.T) {
	if err := exec.Command("perl", "-MDBD::SQLite", "-e", "1").Run(); err != nil {
		t.Skip("DBD::SQLite is not installed")
	}
	dir := t.TempDir()
	m := mount(t, PSGI{Processes: worker.Processes{Preload: true, Workers: 2}, Env: map[string]string{"D": dir}, Code: `
		use DBI; use PagiBridge;
		my $connect = sub { DBI->connect("dbi:SQLite:$ENV{D}/db", '', '', { RaiseError => 1, sqlite_busy_timeout => 10_000 }) };
		my $dbh = $connect->(); $dbh->do('CREATE TABLE hits (pid)');
		my $old = $dbh; my $sth = $old->prepare('SELECT 1');
		PagiBridge::after_fork(sub { $dbh = $connect->() });
		sub { exit 0 if $_[0]{PATH_INFO} eq '/exit'; select undef, undef, undef, .02;
			$dbh->do('INSERT INTO hits VALUES (?)', undef, $$);
			my $flags = join ',', map { $_->{InactiveDestroy} ? 1 : 0 } $old, $sth, $dbh;
			[200, [], ["$$ $flags " . $dbh->selectrow_array('SELECT count(DISTINCT pid) FROM hits')]] }`})
	for pid, text := range m.both("/") {
		if !strings.HasPrefix(text, "1,1,0 ") {
			t.Errorf("worker %s: %q", pid, text)
		}
	}
	m.do(call{method: "POST", path: "/exit"})
	for pid, text := range m.both("/") {
		if n, err := strconv.Atoi(strings.Fields(text)[1]); err != nil || n < 2 {
			t.Errorf("worker %s: %q", pid, text)
		}
	}
	if strings.Contains(m.log.String(), "closing dbh") {
		t.Errorf("a handle was closed wrongly:\n%s", m.log)
	}
}
