package cgi

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// openTree is testkit.Tree in a directory that every user may enter.
func openTree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cgi")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Rename(testkit.Tree(t, files), dir+"/cgi-bin"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir + "/cgi-bin"
}

// needsRoot skips a test that only root can pass.
func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func TestAScriptThatGoesBeyondALimit(t *testing.T) {
	testkit.Tool(t, "python3", "python3")
	root := openTree(t, map[string]string{
		"spin.cgi":     perl + "1 while 1;\n",
		"stubborn.cgi": perl + "$SIG{XCPU} = 'IGNORE'; 1 while 1;\n",
		"shell.cgi":    "#!/bin/sh\n/usr/bin/perl -e '1 while 1'\nexit $?\n",
		"begun.cgi":    perl + "$| = 1; print qq(Content-Type: text/plain\\n\\nhalf); 1 while 1;\n",
		"memory.cgi":   perl + "my $x = 'x' x 500_000_000; print qq(Content-Type: text/plain\\n\\nx);\n",
		"grow.py":      "#!/usr/bin/env python3\nx = []\nwhile True: x.append(bytearray(1 << 20))\n",
		"open.cgi":     perl + "my @f; for (1 .. 100) { open my $f, '<', '/dev/null' or die qq(open: $!\\n); push @f, $f }\n",
		"fork.cgi":     perl + "for (1 .. 200) { defined(my $pid = fork) or die qq(cannot fork: $!\\n); sleep 60 if !$pid }\n",
		"write.cgi":    perl + "print qq(Content-Type: text/plain\\n\\n); print 'x' x 1000 for 1 .. 1000;\n",
		"announce.cgi": perl + "$| = 1; print qq(Content-Type: text/plain\\nContent-Length: 1000000\\n\\n); sleep 60;\n",
		"header.cgi":   perl + "print qq(X-A: $_\\n) for 1 .. 1000; sleep 60;\n",
		"burst.cgi":    perl + "$| = 1; print qq(Content-Type: text/plain\\n\\n); select undef, undef, undef, 0.005; syswrite STDOUT, 'x' x 65_480;\n",
		"calm.cgi":     perl + "$| = 1; print qq(Content-Type: text/plain\\n\\n), 'x' x 100; select undef, undef, undef, 0.2; syswrite STDOUT, 'x' x 65_000;\n",
		"late.cgi":     perl + "print qq(Content-Type: text/plain\\n\\nall); close STDOUT; 1 while 1;\n",
		"fine.cgi":     perl + "print STDERR qq(Out of memory!\\n); print qq(Content-Type: text/plain\\n\\nfine);\n",
		"broken.cgi":   perl + "die qq(something else\\n);\n",
	})
	all := CGI{CPUTime: 1, Memory: 64 << 20, OpenFiles: 20, OutputSize: 3000}
	for name, c := range map[string]struct {
		options CGI
		script  string
		status  int
		reason  string
		body    string
	}{
		"processor time":                        {CGI{CPUTime: time.Second}, "/spin.cgi", 504, "option cpu_time, 1s", ""},
		"processor time, the signal ignored":    {CGI{CPUTime: time.Second, KillAfter: time.Second}, "/stubborn.cgi", 504, "option cpu_time", ""},
		"processor time of a shell's child":     {CGI{CPUTime: time.Second}, "/shell.cgi", 504, "option cpu_time", ""},
		"processor time, the response begun":    {CGI{CPUTime: time.Second}, "/begun.cgi", 504, "option cpu_time", "half"},
		"memory at once":                        {CGI{Memory: 64 << 20}, "/memory.cgi", 507, "option memory, 67108864", ""},
		"memory by and by":                      {CGI{Memory: 64 << 20}, "/grow.py", 507, "option memory", ""},
		"open files":                            {CGI{OpenFiles: 20}, "/open.cgi", 503, "option open_files, 20", ""},
		"processes":                             {CGI{Processes: 20, User: "nobody"}, "/fork.cgi", 503, "option processes, 20", ""},
		"output":                                {CGI{OutputSize: 2000}, "/write.cgi", 502, "option output_size, 2000", "any"},
		"output, announced":                     {CGI{OutputSize: 2000}, "/announce.cgi", 502, "option output_size", ""},
		"output, header without an end":         {CGI{OutputSize: 2000}, "/header.cgi", 502, "option output_size", ""},
		"output, in one write":                  {CGI{OutputSize: 4000}, "/burst.cgi", 502, "option output_size, 4000", ""},
		"output, in one write, kept":            {CGI{OutputSize: 4000, BufferOutput: new(true)}, "/burst.cgi", 502, "option output_size, 4000", ""},
		"output, in one write after a response": {CGI{OutputSize: 4000}, "/calm.cgi", 502, "option output_size, 4000", strings.Repeat("x", 100)},
		"none, though its words sound so":       {all, "/fine.cgi", 200, "", "fine"},
		"none, it fails in another way":         {all, "/broken.cgi", 502, "no output", ""},
		"none, it needs little":                 {all, "/late.cgi", 200, "", "all"},
		"memory it does not need, its wall":     {CGI{Memory: 1 << 30, MaxRequestTime: 300 * time.Millisecond}, "/spin.cgi", 504, "option max_request_time", ""},
		"processor time not used, its silence":  {CGI{CPUTime: 9 * time.Second, RequestTimeout: 300 * time.Millisecond}, "/spin.cgi", 504, "option request_timeout", ""},
	} {
		if c.options.CPUTime == 1 {
			c.options.CPUTime = time.Second
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.options.User != "" {
				needsRoot(t)
			}
			c.options.Root = root
			res := do(t, build(t, c.options), ask{target: c.script})
			switch {
			case c.status == 200 && (res.err != nil || res.body != c.body):
				t.Errorf("%+v", res)
			case c.status != 200 && (res.statusError() != c.status || !strings.Contains(res.err.Error(), c.reason) || res.complete || c.body != "any" && res.body != c.body):
				t.Errorf("%d, %v; want %d, %q", res.statusError(), res.err, c.status, c.reason)
			case strings.Contains(c.reason, "option") && strings.Count(res.err.Error(), "option ") != 1:
				t.Errorf("not one limit is named: %v", res.err)
			}
		})
	}
}

func TestALimitAfterTheResponseIsLogged(t *testing.T) {
	root := testkit.Tree(t, map[string]string{"late.cgi": perl + "print qq(Content-Type: text/plain\\n\\nall); close STDOUT; 1 while 1;\n"})
	log := &testkit.Log{}
	res := do(t, build(t, CGI{Root: root, CPUTime: time.Second, Logger: log.Logger()}), ask{target: "/late.cgi"})
	if res.err != nil || res.body != "all" || !res.complete {
		t.Errorf("%+v", res)
	}
	log.WaitFor(t, "after its response was complete", "option cpu_time")
}

// The limits are there from the first instruction on, and children have them too.
func TestLimitsAreTheProcesses(t *testing.T) {
	root := testkit.Tree(t, map[string]string{
		"self.cgi":  perl + "print qq(Content-Type: text/plain\\n\\n); open my $f, '<', '/proc/self/limits'; print <$f>; print 'nice ', getpriority(0, 0), qq(\\n);\n",
		"child.cgi": "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\ncat /proc/self/limits\necho nice $(nice)\n",
	})
	own := strings.Fields(do(t, build(t, CGI{Root: root}), ask{target: "/self.cgi"}).body)
	nice := 0
	if _, err := fmt.Sscan(own[len(own)-1], &nice); err != nil {
		t.Fatal(err)
	}
	application := build(t, CGI{Root: root, CPUTime: 1500 * time.Millisecond, KillAfter: 3 * time.Second, Memory: 100 << 20, OpenFiles: 33, Nice: 5})
	for _, script := range []string{"/self.cgi", "/child.cgi"} {
		res := do(t, application, ask{target: script})
		for _, want := range []string{`Max cpu time +2 +5 `, `Max data size +104857600 +104857600 `, `Max open files +33 +33 `, fmt.Sprintf(`nice %d\n`, min(nice+5, 19))} {
			if !regexp.MustCompile(want).MatchString(res.body) {
				t.Errorf("%s: no %q in\n%s%v", script, want, res.body, res.err)
			}
		}
	}
}

// A script that is limited is started, ended and cleaned up as any other.
func TestALimitedScriptLivesLikeAnyOther(t *testing.T) {
	application := build(t, CGI{Memory: 1 << 30, KillAfter: 200 * time.Millisecond, RequestTimeout: time.Second})
	if res := do(t, application, ask{target: "/nointerpreter.cgi"}); res.statusError() != 502 || !strings.Contains(res.err.Error(), "#!/no/such/interpreter") {
		t.Errorf("%+v", res)
	}
	file := filepath.Join(t.TempDir(), "pids")
	if res := do(t, application, ask{target: "/stubborn.cgi?" + file}); res.statusError() != 504 {
		t.Errorf("%+v", res)
	}
	for _, pid := range pids(t, file) {
		testkit.Eventually(t, "process "+pid+" to end", func() bool { return gone(pid) })
	}
	for _, script := range []string{"/quietorphan.cgi", "/hello.cgi", "/fds.cgi"} {
		if res := do(t, application, ask{target: script}); res.err != nil || res.body == "" {
			t.Errorf("%s: %+v", script, res)
		}
	}
	if kids := children(t); kids != "" {
		t.Errorf("children are left: %s", kids)
	}
}

func TestScriptsRunAsAnotherUser(t *testing.T) {
	needsRoot(t)
	root := openTree(t, map[string]string{
		"who.cgi": perl + "print qq(Content-Type: text/plain\\n\\n$< $> $( $)\\n);\n", "secret": "x",
	})
	for name, c := range map[string]struct {
		options CGI
		want    string
	}{
		"unchanged":            {CGI{}, "0 0 "},
		"by name":              {CGI{User: "nobody"}, "65534 65534 65534 65534 65534 65534"},
		"with a limit":         {CGI{User: "nobody", OpenFiles: 50}, "65534 65534 65534 65534 65534 65534"},
		"by number":            {CGI{User: "65534", Group: "nogroup"}, "65534 65534 65534 65534 65534 65534"},
		"by numbers not known": {CGI{User: "54321", Group: "54322"}, "54321 54321 54322 54322"},
	} {
		c.options.Root = root
		got := do(t, build(t, c.options), ask{target: "/who.cgi"})
		if got.err != nil || !strings.HasPrefix(got.body, c.want) {
			t.Errorf("%s: %q %v, want %q", name, got.body, got.err, c.want)
		}
	}
	limited := build(t, CGI{Root: openTree(t, map[string]string{"noline.cgi": "#!"}), User: "nobody", OpenFiles: 50})
	if err := os.WriteFile(limited.(*app).Root+"/noline.cgi", []byte("echo Content-Type: text/plain\necho\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if res := do(t, limited, ask{target: "/noline.cgi"}); res.statusError() != 502 || !strings.Contains(res.err.Error(), "no first line like #!") {
		t.Errorf("a shell would have run it: %+v", res)
	}
	if err := os.Chmod(root+"/who.cgi", 0o700); err != nil {
		t.Fatal(err)
	}
	if res := do(t, build(t, CGI{Root: root, User: "nobody"}), ask{target: "/who.cgi"}); res.statusError() != 502 || !strings.Contains(res.err.Error(), "permission denied") {
		t.Errorf("a script the user may not run: %+v", res)
	}
}

func TestABadLimitOrUserIsNamedWhenTheAppIsBuilt(t *testing.T) {
	cases := map[string]struct {
		options CGI
		want    string
	}{
		"too little processor time": {CGI{CPUTime: time.Millisecond}, "cpu_time: must be at least 1s"},
		"negative processor time":   {CGI{CPUTime: -time.Second}, "cpu_time: "},
		"too little memory":         {CGI{Memory: 1000}, "memory: must be at least"},
		"no processes":              {CGI{Processes: -1}, "processes: "},
		"too few files":             {CGI{OpenFiles: 2}, "open_files: must be at least 3"},
		"too nice":                  {CGI{Nice: 20}, "nice: must be -20 to 19"},
		"group without user":        {CGI{Group: "nogroup"}, "group: needs user"},
	}
	if os.Geteuid() == 0 {
		cases["processes of root"] = struct {
			options CGI
			want    string
		}{CGI{Processes: 5}, "processes: the kernel does not count root's; set user"}
		for name, c := range map[string][3]string{
			"root":                    {"root", "", "user: root is root"},
			"root by number":          {"0", "", "user: 0 is root"},
			"a user nobody knows":     {"no-such-user", "", "user: "},
			"a number without group":  {"54321", "", "so group must be set"},
			"root's group":            {"nobody", "root", "group: root is root's"},
			"root's group by number":  {"nobody", "0", "group: 0 is root's"},
			"a group nobody knows":    {"nobody", "no-such-group", "group: "},
			"a number that is no uid": {"-1", "", "user: "},
			"a number too large":      {"4294967296", "", "user: "},
		} {
			cases[name] = struct {
				options CGI
				want    string
			}{CGI{User: c[0], Group: c[1]}, c[2]}
		}
	} else {
		cases["another user"] = struct {
			options CGI
			want    string
		}{CGI{User: "nobody"}, "user: only a gateway that runs as root"}
		cases["more than its share"] = struct {
			options CGI
			want    string
		}{CGI{Nice: -1}, "nice: must not be negative"}
	}
	for name, c := range cases {
		c.options.Root = scripts
		if _, err := c.options.Build(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// BenchmarkLimits tells what limits cost per request: go test -bench Limits -cpu 2. The one of internal/proc knows other ways.
func BenchmarkLimits(b *testing.B) {
	for _, way := range []string{"none", "stopped"} {
		options := CGI{}
		if way != "none" {
			options.Memory = 1 << 30
		}
		application := build(b, options)
		b.Run(way, func(b *testing.B) {
			b.SetParallelism(4)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if res := do(b, application, ask{target: "/hello.cgi"}); res.err != nil {
						b.Error(res.err)
					}
				}
			})
		})
	}
}
