package e2e

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

const sharingApp = `
	use strict; use warnings;
	PagiBridge::after_fork(sub { $main::own = PagiBridge::cache(prefix => 'p:') });
	sub {
		my ($env) = @_;
		my $path = $env->{PATH_INFO};
		my $text = $path eq '/count' ? $main::own->incr('n')
			: $path eq '/get'     ? $main::own->get('n')
			: $path eq '/publish' ? PagiBridge::publish('news', "h\x{e9} \x{263a}", event => 'greeting')
			: $path eq '/lock'    ? do {
				my $lock = PagiBridge::lock('x', wait => 20) or die "no lock";
				my $n = PagiBridge::cache()->get('unsafe') || 0;
				select undef, undef, undef, 0.005;
				PagiBridge::cache()->set('unsafe', $n + 1);
				$n + 1;
			}
			: $path eq '/hold' ? do {    # a child has the connection for longer than this process lives
				my $lock = PagiBridge::lock('x', wait => 20, hold => 3600) or die "no lock";
				my $pid = fork;
				if (!$pid) { setpgrp 0, 0; close STDOUT; close STDERR; sleep 1000; exit }
				$main::kept = $lock;
				"$$ $pid";
			}
			: '?';
		return [200, ['Content-Type' => 'text/plain'], [defined $text ? $text : 'undef']];
	}`

// Workers share a counter, exclude each other and publish, wherever they run.
func TestWorkersShare(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	for name, options := range map[string]string{
		"in an adapter":              "",
		"in the gateway's process":   "isolate: none\n",
		"forked, in an adapter":      "preload: true\n",
		"forked by the same process": "preload: true\nisolate: none\n",
		"of two users":               "isolate: {user: 61001, group: 61001, private_tmp: true, read: []}\n",
	} {
		t.Run(name, func(t *testing.T) {
			if os.Getuid() != 0 && strings.Contains(options, "user") {
				t.Skip("only root can start processes of other users")
			}
			other := ""
			if strings.Contains(options, "user") {
				other = ", isolate: {user: 61002, group: 61002}"
			}
			dir := isolated(t, map[string]string{
				"app.psgi": sharingApp,
				"site.yaml": "listen: 127.0.0.1:0\nenvironment: deployment\n" + options + `
mounts:
  - {path: /a, psgi: app.psgi, workers: 3, namespace: both}
  - {path: /b, psgi: app.psgi, workers: 1, namespace: both` + other + `}
  - {path: /own, psgi: app.psgi, workers: 1}
  - {path: /news, sse_pubsub: news}
`})
			g := &gateway{testkit.StartAnyExit(t, testkit.Command(dir, program, "-c", "site.yaml")), t}
			ask := func(path string) string {
				res, body := g.get(path)
				if res.StatusCode != 200 {
					t.Errorf("%s: %d %s", path, res.StatusCode, body)
				}
				return body
			}
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					for range 10 {
						ask("/a/count")
						ask("/b/count")
						ask("/a/lock")
					}
				})
			}
			all.Wait()
			if a, b, own := ask("/a/get"), ask("/b/get"), ask("/own/get"); a != "80" || b != "80" || own != "undef" {
				t.Errorf("the counters are %s, %s and %s", a, b, own)
			}
			if n := ask("/b/lock"); n != "41" {
				t.Errorf("under the lock %s was counted", n)
			}
			stream := testkit.NewRequest(t, "GET", g.URL+"/news", nil)
			stream.Header.Set("Accept", "text/event-stream")
			res, err := http.DefaultClient.Do(stream)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			events := bufio.NewReader(res.Body)
			id := ask("/a/publish")
			for want := range strings.SplitSeq("event: greeting\ndata: hé ☺", "\n") {
				for line := ""; strings.TrimSpace(line) != want; {
					if line, err = events.ReadString('\n'); err != nil {
						t.Fatalf("no %q of the message %s: %v", want, id, err)
					}
				}
			}
			// A worker with the lock is killed; its child lives on.
			var worker, child int
			if _, err := fmt.Sscan(ask("/b/hold"), &worker, &child); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = syscall.Kill(child, syscall.SIGKILL) }() // it has a group of its own
			if err := syscall.Kill(worker, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if n := ask("/a/lock"); n != "42" {
				t.Errorf("under the lock of the killed worker %s was counted", n)
			}
			if strings.Contains(g.Log.String(), "PagiBridge: ") {
				t.Error("a worker has warned")
			}
		})
	}
}

// In an event loop a call lets other requests go on, and calls have Futures.
func TestWorkersInALoopShare(t *testing.T) {
	needPerl(t, "IO::Async", "libio-async-perl")
	needPerl(t, "Future::AsyncAwait", "libfuture-asyncawait-perl")
	for _, isolate := range []string{"", "isolate: none\n"} {
		t.Run("with the setting "+strings.TrimSpace(isolate), func(t *testing.T) {
			dir := testkit.Tree(t, map[string]string{
				"app.psgi": sharingApp,
				"app.pl": `
	use strict; use warnings; use Future::AsyncAwait;
	async sub {
		my ($scope, $receive, $send) = @_;
		die "unsupported\n" if $scope->{type} ne 'http';
		my $cache = PagiBridge::cache(prefix => 'p:', future => 1);
		my $path = $scope->{path} =~ s{.*/}{/}r;
		my $text;
		if ($path eq '/count') { $text = await $cache->incr('n') }
		elsif ($path eq '/wrong') { await $cache->set('w', 'word'); $text = eval { await $cache->incr('w'); 1 } ? 'right' : $@ }
		elsif ($path eq '/lock') {
			my $lock = await PagiBridge::lock('x', wait => 20, future => 1);
			my $n = await(PagiBridge::cache(future => 1)->get('unsafe')) || 0;
			await IO::Async::Loop->new->delay_future(after => 0.005);
			await PagiBridge::cache(future => 1)->set('unsafe', $n + 1);
			$text = $lock->release ? $n + 1 : 'lost';
		}
		elsif ($path eq '/busy') {
			my $lock = PagiBridge::lock('y');
			my $other = await PagiBridge::lock('y', wait => 0.05, future => 1);
			$text = $other ? 'twice' : 'once';
		}
		elsif ($path eq '/left') {    # a lock that comes after its Future was cancelled is given back
			my $lock = PagiBridge::lock('z');
			my $other = PagiBridge::lock('z', wait => 20, hold => 3600, future => 1);
			$other->cancel;
			$lock->release;
			$lock = await PagiBridge::lock('z', wait => 20, future => 1);
			$text = $lock ? 'free' : 'held';
		}
		elsif ($path eq '/publish') { $text = await PagiBridge::publish('news', 'hello', future => 1) }
		await $send->({ type => 'http.response.start', status => 200, headers => [] });
		await $send->({ type => 'http.response.body', body => defined $text ? $text : 'undef' });
	};`,
				"site.yaml": "listen: 127.0.0.1:0\nenvironment: deployment\n" + isolate + `
mounts:
  - {path: /a, perlpagi: app.pl, workers: 2, namespace: both}
  - {path: /b, psgi: app.psgi, loop: true, workers: 1, namespace: both}
`})
			g := &gateway{testkit.Start(t, testkit.Command(dir, program, "-c", "site.yaml")), t}
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					for range 5 {
						g.get("/a/count")
						g.get("/b/count")
						g.get("/a/lock")
					}
				})
			}
			all.Wait()
			for path, want := range map[string]string{
				"/b/get": "80", "/a/lock": "41", "/a/busy": "once", "/a/left": "free",
				"/a/wrong": "PagiBridge: the value is not a whole number of 64 bits\n",
			} {
				if res, body := g.get(path); res.StatusCode != 200 || body != want {
					t.Errorf("%s: %d %q, want %q", path, res.StatusCode, body, want)
				}
			}
			if _, body := g.get("/a/publish"); body == "undef" || body == "" {
				t.Errorf("publish: %q", body)
			}
		})
	}
}

// besideSite writes a site with a service and a job, which look whether there is another one at the same time.
func besideSite(t *testing.T) (dir string) {
	t.Helper()
	testkit.Tool(t, "perl", "perl")
	return testkit.Tree(t, map[string]string{
		"app.psgi": sharingApp,
		"service.pl": `
			use strict; use warnings; use Fcntl ':flock'; use PagiBridge; $| = 1;
			open my $alone, '>>', 'alone' or die; flock $alone, LOCK_EX | LOCK_NB or print("TWICE\n"), exit 1;
			my $n = PagiBridge::cache()->incr('started');
			$SIG{TERM} = sub { print "leaving\n"; exit 0 };
			print "serving $$ as $n\n";
			sleep 1 while 1;`,
		"site.yaml": `
listen: 127.0.0.1:0
environment: deployment
mounts:
  - {path: /, psgi: app.psgi, workers: 1, namespace: all}
services:
  - {name: helper, command: [perl, -I` + runtimeLib(t) + `, service.pl], namespace: all}
cron:
  - name: often
    every: 1s
    code: |
      use PagiBridge;
      open my $alone, '>>', 'alone-job' or die; flock $alone, 6 or die "TWICE\n";
      print 'counts ', PagiBridge::cache(prefix => 'p:')->incr('n'), "\n";
    namespace: all
`})
}

func runtimeLib(t *testing.T) string {
	t.Helper()
	lib, err := filepath.Abs("../../perl/lib")
	if err != nil {
		t.Fatal(err)
	}
	return lib
}

// At a hot restart the services and jobs of the new gateway begin when those of the old one have ended, and its workers use its
// values.
func TestServicesAndJobsInAHotRestart(t *testing.T) {
	dir := besideSite(t)
	g := &gateway{testkit.StartAnyExit(t, testkit.Command(dir, program, "-c", "site.yaml")), t}
	defer testkit.NoneLeft(t, dir)
	g.Log.WaitFor(t, "serving", "as 1", "service=helper")
	g.Log.WaitFor(t, `msg="counts 1"`, "job=often")
	if _, n := g.get("/get"); n == "undef" {
		t.Error("the job and the application do not share")
	}
	if err := g.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	next := successorOf(t, g)
	testkit.Eventually(t, "the service of the new gateway", func() bool { return strings.Count(g.Log.String(), " as 1\"") == 2 })
	testkit.Eventually(t, "the job of the new gateway", func() bool { return strings.Count(g.Log.String(), `msg="counts 1"`) == 2 })
	log := g.Log.String()
	if strings.Contains(log, "TWICE") || strings.Index(log, "msg=leaving") > strings.LastIndex(log, " as 1\"") {
		t.Error("something ran twice at once")
	}
	testkit.Eventually(t, "the worker uses the new gateway's values", func() bool {
		_, body := g.get("/get")
		n, err := strconv.Atoi(body)
		return err == nil && n > 0
	})
	if err := syscall.Kill(next, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// A gateway that is killed takes its programs along.
func TestServicesOfAKilledGateway(t *testing.T) {
	dir := besideSite(t)
	g := &gateway{testkit.StartAnyExit(t, testkit.Command(dir, program, "-c", "site.yaml", "--isolate", "none")), t}
	g.Log.WaitFor(t, "serving", "as 1", "service=helper")
	if err := g.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	testkit.NoneLeft(t, dir)
}

// A reload keeps a service that has not changed, replaces one that has, and ends one that is gone.
func TestServicesInAReload(t *testing.T) {
	dir := besideSite(t)
	file := filepath.Join(dir, "site.yaml")
	g := &gateway{testkit.Start(t, testkit.Command(dir, program, "-c", "site.yaml")), t}
	g.Log.WaitFor(t, "serving", "as 1")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(text string, n int) {
		t.Helper()
		write(t, file, text)
		if err := g.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "the end of the reload", func() bool { return strings.Count(g.Log.String(), "reload: done") == n })
	}
	more := strings.Replace(string(text), "services:\n", "services:\n  - {name: more, command: [sh, -c, 'echo more; exec sleep 1000']}\n", 1)
	reload(more, 1)
	g.Log.WaitFor(t, "msg=more", "service=more")
	if strings.Contains(g.Log.String(), "msg=leaving") {
		t.Error("a service that has not changed has ended")
	}
	reload(strings.Replace(more, "name: helper,", "name: helper, env: {NEW: 1},", 1), 2)
	g.Log.WaitFor(t, "msg=leaving")
	g.Log.WaitFor(t, "serving", "as 2")
	cut, _, _ := strings.Cut(string(text), "services:")
	reload(cut, 3)
	testkit.Eventually(t, "both are stopped", func() bool { return strings.Count(g.Log.String(), "the service is stopped") == 3 })
	if code := g.Stop(syscall.SIGTERM); code != 0 || strings.Contains(g.Log.String(), "TWICE") {
		t.Errorf("exit code %d", code)
	}
}

// Services and jobs may have users of their own, also jobs with Perl code that share values.
func TestServicesAndJobsOfOtherUsers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can start processes of other users")
	}
	testkit.Tool(t, "perl", "perl")
	dir := isolated(t, map[string]string{"site.yaml": `
listen: 127.0.0.1:0
environment: deployment
mounts: [{path: /, file: .}]
services:
  - {name: who, command: [sh, -c, 'echo "i am $(id -u) $(id -g)"; exec sleep 1000'], user: "61001", group: "61003"}
cron:
  - {name: code, every: 1s, code: 'use PagiBridge; print "user $> counts ", PagiBridge::cache()->incr("n"), "\n"', user: "61002", group: "61002", namespace: x}
`})
	g := &gateway{testkit.Start(t, testkit.Command(dir, program, "-c", "site.yaml")), t}
	g.Log.WaitFor(t, `msg="i am 61001 61003"`, "service=who")
	g.Log.WaitFor(t, `msg="user 61002 counts 2"`, "job=code")
}

// The example at the beginning of docs/services.md works.
func TestTheExampleOfServices(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	page := readPage(t, "../../docs/services.md")
	block := func(language string) string {
		_, text, _ := strings.Cut(page, "```"+language+"\n")
		text, _, _ = strings.Cut(text, "```")
		return text
	}
	dir := testkit.Tree(t, map[string]string{
		"site.yaml": strings.Replace(block("yaml"), ":5000", ":0", 1), "app.psgi": block("perl"),
		"mailer.pl": `$| = 1; print "mailing\n"; sleep 1000`,
	})
	cmd := testkit.Command(dir, program, "-c", "site.yaml", "-E", "deployment", "--status-socket", filepath.Join(dir, "run", "s"))
	g := &gateway{testkit.Start(t, cmd), t}
	g.Log.WaitFor(t, "msg=mailing", "service=mailer")
	for n := range 11 {
		if _, body := g.get("/"); !strings.HasPrefix(body, fmt.Sprintf("visit %d, report made at ", n+1)) {
			t.Errorf("request %d: %s", n+1, body)
		}
	}
	order := testkit.Command(dir, program, "run-job", "tidy", "--status-socket", filepath.Join(dir, "run", "s"))
	order.Stderr = nil
	if out, err := order.CombinedOutput(); err != nil || !strings.Contains(string(out), "is begun") {
		t.Errorf("run-job: %s %v", out, err)
	}
	g.Log.WaitFor(t, `msg="visits: 11"`, "job=tidy")
}
