//go:build amd64

package perlfork

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// TestWhatLibrariesMayLookAt is about modules that look at the time and the like while they are loaded, and keep nothing. What
// a script then looks at itself counts.
func TestWhatLibrariesMayLookAt(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	skipAtNewYear(t)
	for _, c := range []struct{ module, own, want string }{
		{"Time::Local", "", ""},
		{"Time::Local", "BEGIN { $main::x = time }", "looks at the clock"},
		// OpenSSL could tell what it has learned, and needs no system call for it once it has a seed.
		{"IO::Socket::SSL", "", "random numbers|process|clock"},
		{"Net::SSLeay", "BEGIN { Net::SSLeay::RAND_bytes(my $b, 8); our $x = $b }", "random numbers|process"},
		{"Net::SSLeay", "BEGIN { my $t = Net::SSLeay::ASN1_TIME_new(); Net::SSLeay::X509_gmtime_adj($t, 0); our $x = Net::SSLeay::P_ASN1_TIME_get_isotime($t) }", "clock"},
		{"XML::LibXML", "", ""},
		{"XML::LibXML", "BEGIN { $main::x = localtime }", "looks at the clock"},
		{"DBD::Pg", "", ""},
		{"GD", "", ""},
		{"GD", "BEGIN { open my $f, '<', '/proc/self/status' }", "looks at /proc/self/status"},
		{"Mojo::Util", "", ""},
		{"Mojo::Util", "BEGIN { $main::x = Mojo::Util::steady_time() }", "looks at the clock"},
	} {
		t.Run(c.module+" "+c.own, func(t *testing.T) {
			if err := exec.Command("perl", "-M"+c.module, "-e1").Run(); err != nil {
				t.Skipf("the Perl module %s is not installed", c.module)
			}
			d := serveTree(t, ModeFork, Config{}, map[string]string{"a.cgi": "use " + c.module + "; " + c.own + " print 1;"})
			why := ""
			if _, err := d.compile(t, "a.cgi"); err != nil {
				why = err.Error()
			}
			if (why == "") != (c.want == "") || !regexp.MustCompile(c.want).MatchString(why) {
				t.Errorf("it is run by exec because of %q, want %q", why, c.want)
			}
		})
	}
}

// TestAScriptThatLoadsTimeLocalIsCompiledAnewInANewYear has the year change.
func TestAScriptThatLoadsTimeLocalIsCompiledAnewInANewYear(t *testing.T) {
	skipAtNewYear(t)
	d := serveTree(t, ModeFork, Config{}, map[string]string{"a.cgi": `use Time::Local; print 1;`, "b.cgi": `print 1;`})
	for name, want := range map[string]bool{"a.cgi": true, "b.cgi": false} {
		d.body(t, name)
		z := d.zygote(name)
		if z == nil {
			t.Fatalf("%s is not compiled", name)
		}
		if got := z.isStale(z.since.AddDate(1, 0, 0)); got != want {
			t.Errorf("%s: a year later it is stale: %v, want %v", filepath.Base(name), got, want)
		}
	}
}
