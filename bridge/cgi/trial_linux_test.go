//go:build amd64 || arm64 || riscv64

package cgi

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/perlfork"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// TestProcessesThatWaitDoNotLookLikeTheScript is about programs that count the processes of a script.
func TestProcessesThatWaitDoNotLookLikeTheScript(t *testing.T) {
	d := serveTree(t, ModeFork, CGI{}, map[string]string{"counted.cgi": `
		opendir my $proc, '/proc' or die;
		my ($all, $mine) = (0, '');
		for my $pid (grep { /\A[0-9]+\z/ } readdir $proc) {
			my $text = '';
			for my $file (qw(comm cmdline)) { open my $f, '<', "/proc/$pid/$file" or next; local $/; $text .= <$f> // '' }
			$all++ if $text =~ /counted[.]cgi/;
			$mine = $text if $pid == $$;
		}
		$mine =~ s{/\S*/}{}g; $mine =~ s/\0/|/g; $mine =~ s/\n/:/g;
		print "$all $mine";
	`})
	exec := serveIn(t, ModeExec, d.scratch, CGI{Root: d.app.Root})
	want := exec.body(t, "/counted.cgi")
	if !strings.HasPrefix(want, "1 counted.cgi:") {
		t.Fatalf("by exec: %q", want)
	}
	for range 10 {
		if got := d.body(t, "/counted.cgi"); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	if state := d.compiled("counted.cgi").State; state != perlfork.Compiled {
		t.Errorf("state %v", state)
	}
}

// TestPerlsOwnOptionsStayWhatTheyAre is about the variable by which perl is told of ours.
func TestPerlsOwnOptionsStayWhatTheyAre(t *testing.T) {
	tree := map[string]string{
		"a.cgi":      `print $ENV{PERL5OPT} // 'none', ' ', $Own::loaded // 'not loaded', ' ', scalar(@INC), ' ', sort grep { /^PERL5/ } ` + "`env`" + `;`,
		"taint.cgi":  "#!/usr/bin/perl -T\nprint \"Content-Type: text/plain\\n\\n\", $ENV{PERL5OPT} // 'none', scalar(@INC);",
		"lib/Own.pm": "package Own; our $loaded = 'loaded'; 1;\n",
	}
	for name, env := range map[string]map[string]string{
		"none":  nil,
		"empty": {"PERL5OPT": ""},
		"some":  {"PERL5OPT": "-Mstrict -MOwn"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "with space")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			for _, place := range []string{os.TempDir(), dir} {
				t.Setenv("TMPDIR", place)
				root := testkit.Tree(t, nil)
				options := CGI{Env: map[string]string{"PERL5LIB": root + "/lib"}, Root: root}
				for key, value := range env {
					options.Env[key] = value
				}
				for file, text := range tree {
					if !strings.HasPrefix(text, "#!") && strings.HasSuffix(file, ".cgi") {
						text = textHeader + text
					}
					path := filepath.Join(root, file)
					if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
						t.Fatal(err)
					}
				}
				exec, fork := serveIn(t, ModeExec, t.TempDir(), options), serveIn(t, ModeFork, t.TempDir(), options)
				for _, file := range []string{"a.cgi", "taint.cgi"} {
					want := exec.body(t, "/"+file)
					for range 2 {
						if got := fork.body(t, "/"+file); got != want {
							t.Errorf("%s: got %q, want %q", file, got, want)
						}
					}
					if why := fork.settle(t, file); why != "" {
						t.Errorf("%s is run by exec: %s", file, why)
					}
				}
			}
		})
	}
}

func TestWhereHashesHaveAFixedOrderAllIsExec(t *testing.T) {
	d := serveTree(t, ModeFork, CGI{Env: map[string]string{"PERL_HASH_SEED": "1"}}, map[string]string{"a.cgi": `print keys %{ { map { $_ => 1 } 'a' .. 'z' } };`})
	for range 3 {
		d.body(t, "/a.cgi")
	}
	if why := d.settle(t, "a.cgi"); !strings.Contains(why, "order of hashes") {
		t.Errorf("it is run by exec because of %q", why)
	}
}

func TestTheOrderOfHashesDiffersFromRunToRun(t *testing.T) {
	d := serveTree(t, ModeFork, CGI{}, map[string]string{"a.cgi": `my %h = map { $_ => 1 } 'a' .. 'z'; print keys %h;`})
	orders := map[string]bool{}
	for range 30 {
		orders[d.body(t, "/a.cgi")] = true
	}
	if why := d.settle(t, "a.cgi"); why != "" || len(orders) < 8 {
		t.Errorf("%d orders in 30 runs, by exec because of %q", len(orders), why)
	}
}
