package psgi

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// asStandardError makes an application of code that runs with STDERR in the place of
// psgi.errors, as CGI::Emulate::PSGI and Plack::App::WrapCGI call what they wrap. The
// answer is the code's value.
func asStandardError(perl string) string {
	return `use IO::Handle; use POSIX (); sub { my $env = shift;
		return [200, [], ["next $$ " . (-p STDERR ? 'piped' : 'elsewhere')]] if $env->{PATH_INFO} eq '/next';
		local *STDERR = $env->{'psgi.errors'};
		my $got = eval { ` + perl + ` };
		[200, ['X-Pid' => $$], [defined $got ? $got : "died: $@"]] }`
}

// psgi.errors can take the place of STDERR: it is copied, opened anew, forked with and
// inherited as STDERR is, and the next request has it as it was.
func TestErrorsAsStandardError(t *testing.T) {
	cases := []struct {
		name, perl string
		modules    []string
		body       string
		log        string // a line of the log holds it
	}{
		{name: "fileno", perl: `fileno STDERR`, body: "2"},
		{name: "opened", perl: `STDERR->opened ? 'yes' : 'no'`, body: "yes"},
		{name: "tell, eof and reading", perl: `join ',', tell(STDERR), eof(STDERR), defined(readline STDERR) || 0, defined(getc STDERR) || 0`, body: "-1,1,0,0"},
		{name: "a print", perl: `print STDERR "printed\n"`, body: "1", log: `msg=printed mount="" worker=1`},
		{name: "a warning", perl: `warn "warned\n"; 'on'`, body: "on", log: `msg=warned mount="" worker=1`},
		{name: "printf adds no separator", perl: `local $\ = '!'; printf STDERR '%s-%s', 'form', 'atted'; 1`, body: "1", log: "msg=form-atted "},
		{name: "syswrite tells how much it wrote", perl: `syswrite STDERR, "written\n"`, body: "8", log: "msg=written "},
		{name: "characters through a layer", perl: `binmode STDERR, ':encoding(UTF-8)'; print STDERR "caf\xe9\n"; binmode STDERR; 1`, body: "1", log: "msg=café "},
		{name: "separators of the application", perl: `local ($/, $\, $,, $;, $") = (\3, '!', '-', '+', '*'); print STDERR 'a', 'b'; 1`, body: "1", log: `msg=a-b!`},
		{name: "errors are kept", perl: `$! = 2; $@ = 'mine'; print STDERR "x\n"; ($! + 0) . $@`, body: "2mine"},
		{name: "close does nothing", perl: `close STDERR; print STDERR "still open\n"`, body: "1", log: `msg="still open"`},

		{name: "a copy", perl: `open my $save, '>&', \*STDERR or die $!; print {$save} "by the copy\n"; close $save; 1`, body: "1", log: `msg="by the copy"`},
		{name: "a copy by number", perl: `open my $save, '>&' . fileno STDERR or die $!; print {$save} "by number\n"; 1`, body: "1", log: `msg="by number"`},
		{name: "a file and back", perl: `
			open my $save, '>&', \*STDERR or die $!;
			open STDERR, '>', "$ENV{D}/file" or die $!; print STDERR "by perl\n"; system 'echo by a program >&2';
			open STDERR, '>&', $save or die $!; print STDERR "back again\n";
			open my $in, '<', "$ENV{D}/file" or die $!; join '', <$in>`, body: "by perl\nby a program\n", log: `msg="back again"`},
		{name: "a file and back, by names", perl: `
			no strict; open(OLDERR, ">&STDERR") or die $!;
			open(STDERR, ">$ENV{D}/file") or die $!; print STDERR "by perl\n";
			open(STDERR, ">&OLDERR") or die $!; print STDERR "back by name\n";
			open my $in, '<', "$ENV{D}/file" or die $!; join '', <$in>`, body: "by perl\n", log: `msg="back by name"`},
		{name: "a file and not back", perl: `open STDERR, '>', "$ENV{D}/file" or die $!; print STDERR "x\n"; -s "$ENV{D}/file"`, body: "2"},
		{name: "a file that is closed and not back", perl: `open STDERR, '>', "$ENV{D}/file" or die $!; print STDERR "x\n"; close STDERR; -s "$ENV{D}/file"`, body: "2"},
		{name: "a variable", perl: `close STDERR; open STDERR, '>', \my $text or die $!; print STDERR "in memory"; $text`, body: "in memory"},
		{name: "untied", perl: `untie *STDERR; print STDERR "plainly\n"; fileno STDERR`, body: "2", log: "msg=plainly"},

		{name: "a child that prints", perl: `my $pid = fork; if (!$pid) { print STDERR "by a child\n"; POSIX::_exit(0) } waitpid $pid, 0; $?`, body: "0", log: `msg="by a child"`},
		{name: "a child that prints to psgi.errors", perl: `my $pid = fork; if (!$pid) { $env->{'psgi.errors'}->print("by a child\n"); POSIX::_exit(0) } waitpid $pid, 0; $?`, body: "0", log: `msg="by a child"`},
		{name: "a child that closes and opens it", perl: `my $pid = fork; if (!$pid) { close STDERR; open STDERR, '>', "$ENV{D}/file" or POSIX::_exit(3); exec 'echo of a program >&2' } waitpid $pid, 0;
			open my $in, '<', "$ENV{D}/file" or die $!; join '', $?, <$in>`, body: "0of a program\n"},
		{name: "a child that execs with its output there", perl: `my $pid = fork; if (!$pid) { open STDOUT, '>&', \*STDERR or POSIX::_exit(7); exec 'echo', 'to the log' } waitpid $pid, 0; $?`, body: "0", log: `msg="to the log"`},
		{name: "system", perl: `system 'echo system errs >&2; exit 3'; $? >> 8`, body: "3", log: `msg="system errs"`},
		{name: "backticks", perl: "`echo out; echo backticks err >&2`", body: "out\n", log: `msg="backticks err"`},
		{name: "backticks with both", perl: "join '', sort `(echo out; echo err >&2) 2>&1`", body: "err\nout\n"},
		{name: "IPC::Open3 with output and errors together", perl: `require IPC::Open3; my $pid = IPC::Open3::open3(my $in, my $out, undef, 'echo out; echo err >&2'); my @got = <$out>; waitpid $pid, 0; join '', sort @got`, body: "err\nout\n"},
		{name: "IPC::Open3 with the errors to STDERR", perl: `require IPC::Open3; my $pid = IPC::Open3::open3(my $in, my $out, '>&STDERR', 'echo out; echo open3 errs >&2'); my @got = <$out>; waitpid $pid, 0; join '', @got`, body: "out\n", log: `msg="open3 errs"`},
		{name: "Carp", perl: `require Carp; Carp::cluck('clucked'); 1`, body: "1", log: `msg="clucked at `},
		{name: "Test::Builder", perl: `require Test::Builder; my $t = Test::Builder->create; $t->output(\my $out); $t->failure_output(\*STDERR); $t->plan(tests => 1); $t->ok(0, 'of a page'); $t->no_ending(1); $out`, body: "1..1\nnot ok 1 - of a page\n", log: "Failed test 'of a page'"},
		{name: "Capture::Tiny", modules: []string{"Capture::Tiny"}, perl: `join '', Capture::Tiny::capture(sub { print STDERR "by perl\n"; system 'echo by a program >&2' })`, body: "by perl\nby a program\n0"},
		{name: "Log::Log4perl's screen", modules: []string{"Log::Log4perl=:easy"}, perl: `Log::Log4perl->easy_init(Log::Log4perl::Level::to_priority('INFO')); Log::Log4perl->get_logger('')->info('on the screen'); 1`, body: "1", log: "on the screen"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			needModules(t, c.modules)
			m := mount(t, PSGI{Code: asStandardError(c.perl), Modules: c.modules, Env: map[string]string{"D": t.TempDir()}})
			for n := range 2 {
				r := m.get("/first")
				if r.err != nil || r.body != c.body {
					t.Fatalf("%q, error %v; want %q", r.body, r.err, c.body)
				}
				if c.log != "" {
					testkit.Eventually(t, fmt.Sprintf("%d records with %s", n+1, c.log), func() bool { return strings.Count(m.log.String(), c.log) >= n+1 })
				}
				if next := m.get("/next"); next.body != "next "+r.headers.Get("x-pid")+" piped" {
					t.Fatalf("the next request: %q, error %v", next.body, next.err)
				}
			}
			if strings.Contains(m.log.String(), "recursion") {
				t.Error("it calls itself")
			}
		})
	}
}

// A layer that one request sets on psgi.errors is not there in the next.
func TestLayerOfStandardErrorEndsWithTheRequest(t *testing.T) {
	m := code(t, `sub { my $env = shift; local *STDERR = $env->{'psgi.errors'};
		binmode STDERR, ':utf8' if $env->{PATH_INFO} eq '/layer'; print STDERR "$env->{PATH_INFO} caf\xc3\xa9\n"; [200, [], []] }`)
	m.get("/layer")
	m.get("/next")
	m.log.WaitFor(t, `msg="/layer cafÃ©"`)
	m.log.WaitFor(t, `msg="/next café"`)
}

// A file of the application's that has got descriptor 2, after a close of the standard
// error, is neither written to nor closed.
func TestDescriptorTwoOfTheApplication(t *testing.T) {
	for name, start := range map[string]string{
		"STDERR is closed":                 `close STDERR;`,
		"psgi.errors is untied and closed": `{ local *STDERR = $env->{'psgi.errors'}; close $main::real; untie *STDERR; close STDERR; }`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := mount(t, PSGI{Env: map[string]string{"D": t.TempDir()}, Code: `use POSIX (); our ($kept, $real); $real = *STDERR{IO}; sub { my $env = shift;
				if ($env->{PATH_INFO} eq '/keep') { ` + start + ` open $kept, '+>', "$ENV{D}/file" or die $!; $kept->autoflush(1); return [200, [], [fileno $kept]] }
				if ($env->{PATH_INFO} eq '/child') { my $pid = fork; if (!$pid) { $env->{'psgi.errors'}->print("by a child\n"); POSIX::_exit(0) } waitpid $pid, 0; return [200, [], [$?]] }
				if ($env->{PATH_INFO} eq '/untie') { local *STDERR = $env->{'psgi.errors'}; untie *STDERR; print STDERR "untied\n"; return [200, [], [1]] }
				print {$kept} 'mine' or return [200, [], ["print: $!"]]; seek $kept, 0, 0; [200, [], [join '', readline $kept]] }`})
			for _, c := range [][2]string{{"/keep", "2"}, {"/child", "0"}, {"/untie", "1"}, {"/child", "0"}, {"/", "mine"}} {
				if r := m.get(c[0]); r.err != nil || r.body != c[1] {
					t.Errorf("%s: %q, error %v; want %q", c[0], r.body, r.err, c[1])
				}
			}
			m.log.WaitFor(t, `msg="by a child"`)
			m.log.WaitFor(t, `msg=untied`)
		})
	}
}

// needModules skips a test where perl does not have them.
func needModules(t *testing.T, modules []string) {
	t.Helper()
	for _, module := range modules {
		if err := exec.Command("perl", "-M"+module, "-e1").Run(); err != nil {
			t.Skipf("perl has no %s", module)
		}
	}
}

// FindBin, loaded in a request, finds the application's directory.
func TestZeroInARequest(t *testing.T) {
	dir := t.TempDir()
	app := filepath.Join(dir, "app.psgi")
	err := os.WriteFile(app, []byte(`use PagiBridge; my $hook; PagiBridge::after_fork(sub { $hook = $0 }); sub { require FindBin; [200, [], ["$FindBin::Bin $0 $hook"]] }`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for name, preload := range map[string]bool{"loaded by each worker": false, "loaded before the fork": true} {
		t.Run(name, func(t *testing.T) {
			m := mount(t, PSGI{App: app, Processes: worker.Processes{Preload: preload}})
			if r := m.get("/"); r.body != dir+" "+app+" "+app {
				t.Errorf("%q, %v", r.body, r.err)
			}
		})
	}
}
