//go:build amd64 || arm64 || riscv64

package cgi

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/perlfork"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// A process goes on to the next request where it can be made as it was, and only there.
func TestWhichRunsAPersistentProcessOutlives(t *testing.T) {
	for name, c := range map[string]struct {
		script   string
		outlives bool
	}{
		"one that does nothing":                       {``, true},
		"a handle with a name, left open":             {`open LOG, '>>', "$ENV{SCRATCH}/log"; print LOG 1;`, true},
		"a file that is kept open":                    {`our $f; open $f, '<', '/etc/passwd';`, true},
		"a socket that is kept":                       {`use Socket; our $s; socketpair $s, our $t, PF_UNIX, SOCK_STREAM, 0 or die;`, true},
		"a file that is kept open for writing":        {`our $f; open $f, '>', "$ENV{SCRATCH}/log" or die;`, false},
		"an object of a library's, with a destructor": {`use IO::File; our $f = IO::File->new('/etc/passwd');`, true},
		"another directory":                           {`chdir '/';`, true},
		"another mask for new files":                  {`umask 077;`, true},
		"handlers and timers":                         {`@SIG{qw(USR1 __WARN__)} = ('IGNORE', sub { }); alarm 100;`, true},
		"an object of a class in a block":             {`{ package Own; sub new { bless [] } } Own->new;`, true},
		"a copy of STDOUT that is kept":               {`our $f; open $f, '>&', \*STDOUT;`, false},
		"a lock that is kept":                         {`our $f; open $f, '>>', "$ENV{SCRATCH}/log"; flock $f, 2;`, false},
		"many files that are kept open":               {`our @f; for (1 .. 600) { open my $f, '<', '/dev/null' or die; push @f, $f }`, false},
		"a class with a destructor":                   {`sub Own::DESTROY { print "late\n" } our $o = bless [], 'Own';`, false},
		"a class that loads what it has not":          {`sub Own::AUTOLOAD { print "late\n" } our $o = bless [], 'Own';`, false},
		"a class with a destructor, made by eval":     {`eval q{sub File::Own::DESTROY { print "late\n" } 1} or die; our $o = bless [], 'File::Own';`, false},
		"an END block, made by eval":                  {`eval q{END { 1 } 1} or die;`, false},
		"a child that lives on":                       {`if (!fork) { close STDOUT; close STDERR; sleep 100; exit }`, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := serveTree(t, ModePersistent, CGI{Options: perlfork.Options{PersistentWorkers: 1}}, map[string]string{"a.cgi": `print "$$ ";` + c.script})
			pid := func() string { first, _, _ := strings.Cut(d.body(t, "/a.cgi"), " "); return first }
			d.body(t, "/a.cgi")
			if why := d.settle(t, "a.cgi"); why != "" {
				t.Fatal(why)
			}
			if one, other := pid(), pid(); (one == other) != c.outlives {
				t.Errorf("the same process has answered both requests: %v", one == other)
			}
		})
	}
}

// What a run has kept in a handle or an object leaves with its own answer.
func TestNothingOfOneRunIsInTheNextAnswer(t *testing.T) {
	for name, c := range map[string]struct{ script, want string }{
		"what a copy of STDOUT holds back": {`our $f; open $f, '>&', \*STDOUT; print $f $ENV{QUERY_STRING};`, "%"},
		"a named copy":                     {`open SAVED, '>&', \*STDOUT; print SAVED $ENV{QUERY_STRING};`, "%"},
		"a destructor's words":             {`sub Own::DESTROY { print STDOUT @{$_[0]} } our $o = bless [$ENV{QUERY_STRING}], 'Own';`, "%"},
		"what a pattern has captured":      {`print $1 // ''; $ENV{QUERY_STRING} =~ /(.*)/; print $1;`, "%"},
		"a captured name":                  {`print $+{name} // ''; $ENV{QUERY_STRING} =~ /(?<name>.*)/; print $+{name};`, "%"},
		"the rest of the input":            {`print <STDIN>, $ENV{QUERY_STRING};`, "%"},
		"an error":                         {`print "$@$!"; eval { die $ENV{QUERY_STRING} . "\n" }; print $@ =~ /(\w+)/;`, "%"},
	} {
		t.Run(name, func(t *testing.T) {
			d := serveTree(t, ModePersistent, CGI{Options: perlfork.Options{PersistentWorkers: 1}}, map[string]string{"a.cgi": c.script})
			for _, client := range []string{"one", "two", "three", "four"} {
				if got, want := d.body(t, "/a.cgi?"+client), strings.ReplaceAll(c.want, "%", client); got != want {
					t.Errorf("client %s gets %q, want %q", client, got, want)
				}
			}
		})
	}
}

// The end of a process that waits is one of perl's: destructors and the END blocks of modules run.
func TestAPersistentProcessEndsAsPerlDoes(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	root := testkit.Tree(t, map[string]string{"a.cgi": textHeader + `use File::Temp; our $d ||= File::Temp->newdir(DIR => $ENV{SCRATCH}); print $d;` + "\n"})
	log, scratch := &testkit.Log{}, t.TempDir()
	application := build(t, CGI{Root: root, Logger: log.Logger(), Env: map[string]string{"SCRATCH": scratch}, Options: perlfork.Options{Mode: ModePersistent, PersistentWorkers: 1}}).(*app)
	if err := application.startup(t.Context()); err != nil {
		t.Fatal(err)
	}
	first, second := do(t, application, ask{target: "/a.cgi"}), do(t, application, ask{target: "/a.cgi"})
	if first.body != second.body || filepath.Dir(first.body) != scratch {
		t.Errorf("the temporary directory is %q, then %q", first.body, second.body)
	}
	if _, err := os.Stat(first.body); err != nil {
		t.Errorf("a directory that is still in use: %v", err)
	}
	if err := application.shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(first.body); !os.IsNotExist(err) {
		t.Errorf("the temporary directory is left behind: %v", err)
	}
}
