//go:build amd64 || arm64 || riscv64

package cgi

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/perlfork"
)

// TestARequestThatChangesWhatTheCompilationHasSeenCounts has a script's own runs, and others, change files that it
// looks at while it is compiled: the next request sees that.
func TestARequestThatChangesWhatTheCompilationHasSeenCounts(t *testing.T) {
	for name, c := range map[string]struct{ script, change string }{
		"a file it reads":           {`our $x; BEGIN { open my $f, '<', "$ENV{SCRATCH}/data" or die; $x = <$f> } print $x;`, "data"},
		"a file it loads":           {`our $x; BEGIN { $x = do "$ENV{SCRATCH}/data" } print $x;`, "data"},
		"a file that was not there": {`our $x; BEGIN { $x = -e "$ENV{SCRATCH}/new" ? 'there' : 'not there' } print $x;`, "new"},
		"a directory it lists":      {`our $x; BEGIN { $x = join ' ', map { s{.*/}{}r } glob "$ENV{SCRATCH}/*" } print $x;`, "new"},
		"a link it follows":         {`our $x; BEGIN { open my $f, '<', "$ENV{SCRATCH}/link" or die; $x = <$f> } print $x;`, "link"},
		"what a link says":          {`our $x; BEGIN { $x = readlink "$ENV{SCRATCH}/link" } print $x;`, "link"},
		"a size it asks for":        {`our $x; BEGIN { $x = -s "$ENV{SCRATCH}/data" } print $x;`, "data"},
		"a file by a relative name, and then another directory": {`our $x; BEGIN { chdir $ENV{SCRATCH}; $x = do './data'; chdir '/' } print $x;`, "data"},
		"a file in a directory that it goes to":                 {`our $x; BEGIN { chdir '/'; chdir $ENV{SCRATCH}; chdir '.'; open my $f, '<', 'data' or die; $x = <$f> } print $x;`, "data"},
	} {
		for _, mode := range []string{ModeFork, ModeAuto} {
			t.Run(name+", "+mode, func(t *testing.T) {
				d := serveTree(t, mode, CGI{}, map[string]string{"a.cgi": c.script})
				exec := serveIn(t, ModeExec, d.scratch, CGI{Root: d.app.Root})
				put := func(file, text string) {
					t.Helper()
					path := filepath.Join(d.scratch, file)
					if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
					if err := os.Rename(path+".new", path); err != nil {
						t.Fatal(err)
					}
				}
				put("data", "1;")
				put("other", "22;")
				if err := os.Symlink("data", filepath.Join(d.scratch, "link")); err != nil {
					t.Fatal(err)
				}
				for range perlfork.Worthwhile {
					d.body(t, "/a.cgi")
				}
				if why := d.settle(t, "a.cgi"); why != "" {
					t.Fatalf("it is run by exec: %s", why)
				}
				for i := range 5 {
					if c.change == "link" {
						link := filepath.Join(d.scratch, "link")
						if err := os.Remove(link); err != nil {
							t.Fatal(err)
						}
						if err := os.Symlink([]string{"other", "data"}[i%2], link); err != nil {
							t.Fatal(err)
						}
					} else {
						put(c.change, strings.Repeat("3", i+3)+";")
					}
					if got, want := d.body(t, "/a.cgi"), exec.body(t, "/a.cgi"); got != want {
						t.Errorf("change %d: got %q, want %q", i, got, want)
					}
				}
			})
		}
	}
}

func TestAFileThatChangesAllTheTimeIsLeftToExec(t *testing.T) {
	d := serveTree(t, ModeFork, CGI{}, map[string]string{
		"a.cgi": `our $n; BEGIN { if (open my $f, '<', "$ENV{SCRATCH}/n") { $n = <$f> } } $n++; open my $f, '>', "$ENV{SCRATCH}/n" or die; print $f $n; close $f; print $n;`,
	})
	for i := range 20 {
		if got, want := d.body(t, "/a.cgi"), fmt.Sprint(i+1); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	if d.compiled("a.cgi").State == perlfork.Compiled {
		t.Error("it is compiled again for each request")
	}
}

// skipAtNewYear skips a test of scripts that ask for the year: on the last and on the first day of a year they are run by exec.
func skipAtNewYear(t *testing.T) {
	t.Helper()
	if _, month, day := time.Now().UTC().Date(); month == time.December && day == 31 || month == time.January && day == 1 {
		t.Skip("it is not the same year everywhere")
	}
}
