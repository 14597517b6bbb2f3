//go:build amd64 || arm64 || riscv64

package cgi

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/perlfork"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// textHeader is how the scripts of these tests begin.
const textHeader = "#!/usr/bin/perl\nprint \"Content-Type: text/plain\\n\\n\";\n"

// serveTree serves scripts, each of which is only what follows textHeader.
func serveTree(t *testing.T, mode string, options CGI, scripts map[string]string) *directoryInMode {
	t.Helper()
	testkit.Tool(t, "perl", "perl")
	files := map[string]string{}
	for name, text := range scripts {
		if strings.HasSuffix(name, ".cgi") && !strings.HasPrefix(text, "#!") {
			text = textHeader + text
		}
		files[name] = text
	}
	options.Root = testkit.Tree(t, files)
	return serveIn(t, mode, t.TempDir(), options)
}

// body returns the body of an answer that must be a good one.
func (d *directoryInMode) body(t *testing.T, target string) string {
	t.Helper()
	res := do(t, d.app, ask{target: target})
	if res.err != nil || res.status != 200 {
		t.Fatalf("%s: status %d, %v", target, res.status, res.err)
	}
	return res.body
}

// compiled returns what is known of a script.
func (d *directoryInMode) compiled(name string) perlfork.Status {
	return d.status(filepath.Join(d.app.Root, name))
}

// status returns what is known of a file.
func (d *directoryInMode) status(file string) perlfork.Status {
	all := d.app.perl.Status()
	if i := slices.IndexFunc(all, func(s perlfork.Status) bool { return s.File == file }); i >= 0 {
		return all[i]
	}
	return perlfork.Status{}
}

func TestModesAreChecked(t *testing.T) {
	for _, c := range []struct {
		name    string
		options CGI
		want    string
	}{
		{"a mode that is none", CGI{Options: perlfork.Options{Mode: "fast"}}, `mode: must be auto, exec, fork or persistent, is "fast"`},
		{"a pattern that is none", CGI{Options: perlfork.Options{Persistent: []string{"[a"}}}, `persistent: "[a" is not a pattern`},
		{"persistent scripts where all are executed", CGI{Options: perlfork.Options{Mode: ModeExec, Persistent: []string{"a"}}}, "persistent: cannot be combined with mode exec"},
		{"a time for a process that stays", CGI{CPUTime: time.Second, Options: perlfork.Options{Mode: ModePersistent}}, "persistent: cannot be combined with cpu_time"},
		{"a module that is none", CGI{Options: perlfork.Options{PreloadModules: []string{"CGI; exit"}}}, `preload_modules: "CGI; exit" is not the name of a Perl module`},
		{"fewer scripts than none", CGI{Options: perlfork.Options{AcceleratedScripts: -1}}, "accelerated_scripts: must not be negative, is -1"},
		{"fewer workers than none", CGI{Options: perlfork.Options{PersistentWorkers: -1}}, "persistent_workers: must not be negative, is -1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.options.Root = scripts
			if _, err := c.options.Build(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestForkedRunsShareNothing(t *testing.T) {
	d := serveTree(t, ModeFork, CGI{}, map[string]string{
		"fresh.cgi": `our $runs; $runs++; push @INC, 'x'; $ENV{MINE}++; print join ' ', $$, rand, $runs, $ENV{MINE}, scalar(grep { $_ eq 'x' } @INC), abs($^T - time) < 5;`,
	})
	seen := map[string]bool{}
	for range 10 {
		words := strings.Fields(d.body(t, "/fresh.cgi"))
		if len(words) != 6 || strings.Join(words[2:], " ") != "1 1 1 1" {
			t.Fatalf("got %q", words)
		}
		for _, w := range words[:2] { // a pid, a random number
			if seen[w] {
				t.Errorf("%s for the second time", w)
			}
			seen[w] = true
		}
	}
	if state := d.compiled("fresh.cgi").State; state != perlfork.Compiled {
		t.Errorf("the script was not compiled: state %v", state)
	}
}

func TestWhatHasChangedIsCompiledAnew(t *testing.T) {
	d := serveTree(t, ModeFork, CGI{}, map[string]string{
		"a.cgi":  `use lib '.'; use Own; print "a1 ", Own::name();`,
		"Own.pm": "package Own; sub name { 'own1' } 1;\n",
	})
	file := func(name, text string) {
		t.Helper()
		path := filepath.Join(d.app.Root, name)
		if err := os.WriteFile(path+".new", []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	if got := d.body(t, "/a.cgi"); got != "a1 own1" {
		t.Fatalf("got %q", got)
	}
	file("a.cgi", textHeader+`use lib '.'; use Own; print "a2 ", Own::name();`)
	if got := d.body(t, "/a.cgi"); got != "a2 own1" {
		t.Errorf("after the script has changed: %q", got)
	}
	file("Own.pm", "package Own; sub name { 'own2' } 1;\n")
	testkit.Eventually(t, "the module to be looked at", func() bool { return d.body(t, "/a.cgi") == "a2 own2" })
	file("a.cgi", "#!/usr/bin/perl\nprint $nonsense\n}")
	if res := do(t, d.app, ask{target: "/a.cgi"}); res.statusError() != 502 {
		t.Errorf("after it does not compile any more: %d, %v", res.status, res.err)
	}
	if err := os.Remove(filepath.Join(d.app.Root, "a.cgi")); err != nil {
		t.Fatal(err)
	}
	if res := do(t, d.app, ask{target: "/a.cgi"}); res.status != 404 {
		t.Errorf("after it is gone: %d, %v", res.status, res.err)
	}
}

func TestTheLastUsedScriptsStayCompiled(t *testing.T) {
	d := serveTree(t, ModeFork, CGI{Options: perlfork.Options{AcceleratedScripts: 2}}, map[string]string{"a.cgi": `print 1;`, "b.cgi": `print 2;`, "c.cgi": `print 3;`})
	for _, name := range []string{"a", "b", "a", "c"} {
		d.body(t, "/"+name+".cgi")
	}
	for name, want := range map[string]perlfork.State{"a.cgi": perlfork.Compiled, "b.cgi": perlfork.Untried, "c.cgi": perlfork.Compiled} {
		if state := d.compiled(name).State; state != want {
			t.Errorf("%s: state %v, want %v", name, state, want)
		}
	}
}

func TestOnlyNamedModulesAreLoadedBeforeTheyAreNeeded(t *testing.T) {
	tree := map[string]string{
		"later.cgi":   `print exists $INC{'Text/ParseWords.pm'} ? 'there' : 'not there'; require Text::ParseWords;`,
		"preload.cgi": `print exists $INC{'Text/Tabs.pm'} ? 'there' : 'not there'; print $Mine::order;`,
		"lib/A.pm":    "package A; $Mine::order .= 'A'; 1;\n",
		"lib/B.pm":    "package B; $Mine::order .= 'B'; 1;\n",
	}
	d := serveTree(t, ModeFork, CGI{}, tree)
	for range 10 {
		if got := d.body(t, "/later.cgi"); got != "not there" {
			t.Fatalf("a module that runs have loaded is %s in the next", got)
		}
	}
	preloaded := serveIn(t, ModeFork, t.TempDir(), CGI{
		Root: d.app.Root, Env: map[string]string{"PERL5LIB": filepath.Join(d.app.Root, "lib")}, Options: perlfork.Options{PreloadModules: []string{"Text::Tabs", "B", "A"}},
	})
	if got := preloaded.body(t, "/preload.cgi"); got != "thereBA" {
		t.Errorf("the modules of preload_modules are %s", got)
	}
}

func TestRequestsThatDifferInWhatWasReadGoToExec(t *testing.T) {
	for _, variable := range []string{"SERVER_NAME", "HTTP_HOST"} {
		t.Run(variable, func(t *testing.T) {
			d := serveTree(t, ModeFork, CGI{}, map[string]string{"a.cgi": `use constant HOST => $ENV{` + variable + `}; print HOST;`})
			for _, host := range []string{"example.org", "other.example", "example.org"} {
				r := ask{target: "/a.cgi"}
				scope := r.scope()
				scope.Headers.Set("host", host)
				res := &result{}
				if err := d.app.Serve(t.Context(), scope, r.receive(), res.take(scope.Type)); err != nil || res.body != host {
					t.Errorf("host %q: %q, %v", host, res.body, err)
				}
			}
			if state := d.compiled("a.cgi").State; state != perlfork.Compiled {
				t.Errorf("state %v: it should be compiled for most requests", state)
			}
		})
	}
}

func TestAnEnvironmentTooLargeForAMessageGoesToExec(t *testing.T) {
	d := serveTree(t, ModeFork, CGI{}, map[string]string{"a.cgi": `print length $ENV{HTTP_LONG};`})
	d.body(t, "/a.cgi")
	long := strings.Repeat("x", 100_000)
	res := do(t, d.app, ask{target: "/a.cgi", headers: pagi.NewHeaders("long", long)})
	if res.body != "100000" {
		t.Errorf("%d %q %v", res.status, res.body, res.err)
	}
}

func TestLimitsHoldInEveryMode(t *testing.T) {
	tree := map[string]string{
		"wait.cgi":   `print STDERR "begun\n"; sleep 30;`,
		"deaf.cgi":   `$SIG{TERM} = sub {}; while (1) { sleep 30 }`,
		"memory.cgi": `my $n = 128 << 20; my $x = 'x' x $n; print length $x;`,
		"files.cgi":  `my @all; while (1) { open my $f, '<', '/dev/null' or die "$!\n"; push @all, $f }`,
		"fine.cgi":   `print 'fine';`,
	}
	// A busy machine has to come to the handler of deaf.cgi within the time-out.
	options := CGI{RequestTimeout: 1500 * time.Millisecond, KillAfter: 100 * time.Millisecond, Memory: 64 << 20, OpenFiles: 30}
	exec := serveTree(t, ModeExec, options, tree)
	for _, mode := range []string{ModeFork, ModePersistent} {
		t.Run(mode, func(t *testing.T) {
			options.Root = exec.app.Root
			d := serveIn(t, mode, t.TempDir(), options)
			for name := range tree {
				r := ask{target: "/" + name}
				want := exec.run(t, r)
				for range 2 {
					if diff := cmp.Diff(want, d.run(t, r)); diff != "" {
						t.Errorf("%s: differs from exec:\n%s", name, diff)
					}
				}
				if why := d.settle(t, name); why != "" {
					t.Errorf("%s is run by exec: %s", name, why)
				}
			}
		})
	}
}

func TestAClientThatGoesAwayEndsAForkedScript(t *testing.T) {
	for _, mode := range []string{ModeFork, ModePersistent} {
		t.Run(mode, func(t *testing.T) {
			d := serveTree(t, mode, CGI{KillAfter: 50 * time.Millisecond}, map[string]string{"a.cgi": `$| = 1; print "$$\n"; sleep 30;`})
			l := begin(t, d.app, ask{target: "/a.cgi"})
			go l.feed("", false)
			pid := ""
			for !strings.HasSuffix(pid, "\n") {
				if b, is := l.next().(pagi.HTTPResponseBody); is {
					pid += string(b.Body)
				}
			}
			l.disconnect()
			if err := l.end(); err == nil {
				t.Error("no error")
			}
			testkit.Eventually(t, "the script to be gone", func() bool { return gone(pid) })
		})
	}
}

func TestPersistentWorkers(t *testing.T) {
	d := serveTree(t, ModeAuto, CGI{Options: perlfork.Options{Persistent: []string{"p*.cgi"}, PersistentWorkers: 2, PersistentRequests: 5}}, map[string]string{
		"p.cgi":     `our $n; $n++; print "$$ $n";`,
		"plate.cgi": `select undef, undef, undef, 0.2; print $$;`,
		"pkeep.cgi": `my @row = ($$); push our @all, \@row; print $$;`,
		"pdie.cgi":  `our $n; die "at the end\n" if ++$n == 2; print $n;`,
	})
	pids := map[string]int{}
	for i := range 10 {
		pid, n, _ := strings.Cut(d.body(t, "/p.cgi"), " ")
		if pids[pid]++; n != strconv.Itoa(pids[pid]) {
			t.Errorf("request %d is number %s of process %s, want %d", i, n, pid, pids[pid])
		}
	}
	if len(pids) != 2 {
		t.Errorf("10 requests were answered by %d processes, want 2", len(pids))
	}

	var all sync.WaitGroup
	var mu sync.Mutex
	several := map[string]bool{}
	for range 6 {
		all.Go(func() {
			pid := do(t, d.app, ask{target: "/plate.cgi"}).body
			mu.Lock()
			defer mu.Unlock()
			several[pid] = true
		})
	}
	all.Wait()
	if len(several) < 2 || len(several) > 4 { // 2 at a time, and those that have had their 5 requests are replaced
		t.Errorf("6 requests at once were answered by %d processes", len(several))
	}

	if a, b := d.body(t, "/pkeep.cgi"), d.body(t, "/pkeep.cgi"); a == b {
		t.Error("a process goes on whose script has kept a reference to a variable")
	}
	if got := d.body(t, "/pdie.cgi"); got != "1" {
		t.Errorf("got %q", got)
	}
	if res := do(t, d.app, ask{target: "/pdie.cgi"}); res.body != "" {
		t.Errorf("got %q", res.body)
	}
	if got := d.body(t, "/pdie.cgi"); got != "1" {
		t.Errorf("after its death got %q", got)
	}
}

func TestDirectoriesHaveModesOfTheirOwn(t *testing.T) {
	d := serveTree(t, ModeFork, CGI{Directories: []Directory{{Path: "/old", CGI: CGI{Options: perlfork.Options{Mode: ModeExec}}}}},
		map[string]string{"a.cgi": `print "new";`, "old/a.cgi": `print "old";`})
	if got := d.body(t, "/a.cgi") + d.body(t, "/old/a.cgi"); got != "newold" {
		t.Errorf("got %q", got)
	}
	if len(d.app.mount.directories[0].perl.Status()) != 0 || len(d.app.perl.Status()) != 1 {
		t.Error("the mode of the directory does not count")
	}
}

func TestAScriptAskedForOnceIsNotCompiled(t *testing.T) {
	d := serveTree(t, ModeAuto, CGI{}, map[string]string{"a.cgi": `print 1;`})
	d.body(t, "/a.cgi")
	if state := d.compiled("a.cgi").State; state != perlfork.Untried {
		t.Errorf("state %v", state)
	}
	d.body(t, "/a.cgi")
	if why := d.settle(t, "a.cgi"); why != "" {
		t.Errorf("it is run by exec: %s", why)
	}
}

// TestNothingIsLeftOfTheModes counts descriptors, children and goroutines.
func TestNothingIsLeftOfTheModes(t *testing.T) {
	runs := 200
	if testing.Short() {
		runs = 40
	}
	for _, mode := range []string{ModeFork, ModePersistent} {
		t.Run(mode, func(t *testing.T) {
			tree := map[string]string{
				"plain.cgi": `print 1;`,
				"kill.cgi":  `kill KILL => $$;`,
				"child.cgi": `if (!fork) { close STDOUT; close STDERR; sleep 1000 }`,
				"wrong.cgi": `print $x }`,
			}
			devNull := do(t, serveTree(t, ModeExec, CGI{}, tree).app, ask{target: "/plain.cgi"}) // opens what is opened once
			if devNull.err != nil {
				t.Fatal(devNull.err)
			}
			fds, goroutines := descriptors(t), runtime.NumGoroutine()
			t.Run("runs", func(t *testing.T) {
				d := serveTree(t, mode, CGI{KillAfter: 50 * time.Millisecond, Options: perlfork.Options{PersistentRequests: 7}}, tree)
				var all sync.WaitGroup
				for i := range runs {
					all.Go(func() {
						do(t, d.app, ask{target: []string{"/plain.cgi", "/plain.cgi", "/kill.cgi", "/child.cgi", "/wrong.cgi"}[i%5]})
					})
					if i%8 == 7 {
						all.Wait()
					}
				}
				all.Wait()
			})
			testkit.Eventually(t, "the descriptors to be closed", func() bool { return descriptors(t) <= fds })
			testkit.Eventually(t, "the children to be gone", func() bool { return children(t) == "" })
			testkit.Eventually(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines })
		})
	}
}
