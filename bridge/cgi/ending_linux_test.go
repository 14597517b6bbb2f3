//go:build amd64 || arm64 || riscv64

package cgi

import (
	"strings"
	"testing"
)

// A forked process ends without perl's last look at all objects where that has no effect, and only there. The witness is the
// destructor of a class that PagiBridge::CGI::Ending takes for harmless.
func TestWhichRunsEndWithoutALastLook(t *testing.T) {
	const witness = `sub Template::Provider::DESTROY { print STDOUT "looked" } our $witness = bless [], 'Template::Provider'; print "seen ";`
	for name, c := range map[string]struct {
		script string
		looks  bool
	}{
		"one that does nothing":                {``, false},
		"one that exits":                       {`exit 3;`, false},
		"one that dies":                        {`die "dead\n";`, false},
		"libraries of perl's":                  {`use POSIX; use List::Util; use Encode; use IO::Handle; use Time::HiRes;`, false},
		"one that is loaded late":              {`require List::Util; require File::Spec;`, false},
		"a child that has ended":               {`system 'true';`, false},
		"a file that is closed":                {`open my $f, '<', '/etc/passwd' or die; close $f;`, false},
		"a class without a destructor":         {`package Own; our $o = bless [];`, false},
		"END blocks":                           {`END { print 'end ' } END { $? = 2 }`, false},
		"an object whose class is looked up":   {`package Own; { my $o = bless []; }`, false},
		"a file that is open":                  {`our $f; open $f, '<', '/etc/passwd' or die;`, true},
		"files beyond many that are closed":    {`our @f; for (1 .. 70) { open my $f, "<", "/etc/passwd" or die; push @f, $f } close $_ for @f[0 .. 60];`, true},
		"a child that is left":                 {`if (!fork) { exec 'sleep', 100 }`, true},
		"a program that is written to":         {`our $p; open $p, '|-', 'cat' or die; print $p 'piped ';`, true},
		"STDERR somewhere else":                {`open STDERR, '>>', "$ENV{SCRATCH}/log";`, true},
		"a handler for PIPE":                   {`$SIG{PIPE} = sub { };`, true},
		"a destructor":                         {`package Own; sub DESTROY { }`, true},
		"one that a string defines":            {`eval 'package Own::Inner; sub DESTROY { } 1' or die;`, true},
		"one that is assigned":                 {`*{"Own::DESTROY"} = sub { };`, true},
		"one in the place of a harmless one":   {`*{"Template::Provider::DESTROY"} = sub { print STDOUT "looked" };`, true},
		"one for a name that was looked up":    {`package Own; { my $o = bless []; } eval 'sub AUTOLOAD { } 1' or die;`, true},
		"one that was only declared":           {`sub Own::DESTROY; eval 'sub Own::DESTROY { } 1' or die;`, true},
		"AUTOLOAD":                             {`package Own; sub AUTOLOAD { }`, true},
		"one of a library that is loaded late": {`require File::Temp;`, true},
		"another library of C":                 {`use Devel::Peek;`, true},
		"another library of C, loaded late":    {`require Devel::Peek;`, true},
		"taint checks":                         {"\n#taint", true},
	} {
		t.Run(name, func(t *testing.T) {
			first := "#!/usr/bin/perl"
			if strings.Contains(c.script, "#taint") {
				first += " -T"
			}
			d := serveTree(t, ModeFork, CGI{}, map[string]string{
				"a.cgi": first + "\nprint \"Content-Type: text/plain\\n\\n\"; { " + witness + "} " + c.script,
			})
			d.body(t, "/a.cgi")
			if why := d.settle(t, "a.cgi"); why != "" {
				t.Fatal(why)
			}
			body := d.body(t, "/a.cgi")
			if !strings.HasPrefix(body, "seen ") || strings.Contains(body, "looked") != c.looks {
				t.Errorf("%q, and perl is to look: %v", body, c.looks)
			}
		})
	}
}
