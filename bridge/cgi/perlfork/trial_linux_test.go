//go:build amd64 || arm64 || riscv64

package perlfork

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// mkdirCall is a system call that makes a directory without the C library.
func mkdirCall(arguments string) string {
	return fmt.Sprintf("syscall %d, -100, %s", unix.SYS_MKDIRAT, arguments)
}

// TestACompilationIsEndedBeforeItsEffect has a script compiled that would do something, and looks whether it was done.
func TestACompilationIsEndedBeforeItsEffect(t *testing.T) {
	for effect, why := range map[string]string{
		`mkdir "$d/made"`:                                 "makes a directory",
		`open my $f, '>', "$d/made"`:                      "for writing",
		`open my $f, '>>', "$d/kept"`:                     "for writing",
		`open my $f, '+<', "$d/kept"`:                     "for writing",
		`sysopen my $f, "$d/made", 0100`:                  "for writing",
		`unlink "$d/kept"`:                                "removes a file",
		`rename "$d/kept", "$d/made"`:                     "renames a file",
		`link "$d/kept", "$d/made"`:                       "changes files",
		`open my $f, '<', "$d/random"`:                    "random numbers",
		`open my $f, '<', "$d/fifo"`:                      "no plain file",
		`-e "$d/self"`:                                    "looks at /proc",
		`symlink 'kept', "$d/made"`:                       "changes files",
		`chmod 0777, "$d/kept"`:                           "changes files",
		`utime 1, 1, "$d/kept"`:                           "changes files",
		`truncate "$d/kept", 0`:                           "changes files|for writing",
		`system "touch $d/made"`:                          "pipe|process",
		`exec 'touch', "$d/made"`:                         "runs a program",
		`fork || do { mkdir "$d/made"; exit }`:            "starts processes",
		`kill USR1 => getppid`:                            "number of its process",
		`kill USR1 => $ENV{GATEWAY}`:                      "sends a signal",
		mkdirCall(`"$d/made", 0777`):                      "makes a directory",
		`opendir my $h, '/proc'`:                          "lists /proc",
		`open my $f, '<', '/proc/sys/kernel/random/uuid'`: "looks at /proc/sys/kernel/random/uuid",
		`open my $f, '<', '/proc/cpuinfo'`:                "looks at /proc/cpuinfo",
		`stat STDOUT`:                                     "standard handle",
		`stat STDERR`:                                     "standard handle",
		`require POSIX; POSIX::mkfifo("$d/made", 0600)`:   "changes files",
	} {
		t.Run(effect, func(t *testing.T) {
			d := serveTree(t, ModeFork, Config{Inherited: []string{"GATEWAY=" + strconv.Itoa(os.Getpid())}}, map[string]string{
				"a.cgi": "BEGIN { our $d = $ENV{SCRATCH}; " + effect + " }\nEND { mkdir \"$d/end\" }\nprint 1;",
			})
			kept := filepath.Join(d.scratch, "kept")
			if err := os.WriteFile(kept, []byte("text"), 0o600); err != nil {
				t.Fatal(err)
			}
			err := errors.Join(os.Symlink("/dev/urandom", filepath.Join(d.scratch, "random")), os.Symlink("/proc/self/stat", filepath.Join(d.scratch, "self")),
				unix.Mkfifo(filepath.Join(d.scratch, "fifo"), 0o600))
			if err != nil {
				t.Fatal(err)
			}
			var before unix.Stat_t
			if err := unix.Stat(kept, &before); err != nil {
				t.Fatal(err)
			}
			_, err = d.compile(t, "a.cgi")
			if refused := (*refusedError)(nil); why != "." && (!errors.As(err, &refused) || !matches(why, err.Error())) {
				t.Errorf("it was compiled, %v", err)
			}
			if names := glob(t, filepath.Join(d.scratch, "*")); len(names) != 4 {
				t.Errorf("it has made %v", names)
			}
			var after unix.Stat_t
			if err := unix.Stat(kept, &after); err != nil || after != before {
				t.Errorf("the file has changed: %v, %v, %v", before, after, err)
			}
		})
	}
}

func matches(alternatives, text string) bool {
	for one := range strings.SplitSeq(alternatives, "|") {
		if strings.Contains(text, one) {
			return true
		}
	}
	return false
}

// TestATrialEndsWithItsContext also leaves nothing behind.
func TestATrialEndsWithItsContext(t *testing.T) {
	d := serveTree(t, ModeFork, Config{}, map[string]string{"a.cgi": `BEGIN { 1 while 1 } print 1;`})
	done := make(chan error)
	go func() {
		_, err := d.compile(t, "a.cgi")
		done <- err
	}()
	testkit.Eventually(t, "it to be compiled", func() bool { return children(t) != "" })
	d.halt()
	if err := <-done; !errors.As(err, new(transientError)) {
		t.Errorf("%v", err)
	}
	testkit.Eventually(t, "it to be gone", func() bool { return children(t) == "" })
}

func TestWhereHashesHaveAFixedOrder(t *testing.T) {
	for _, c := range []struct {
		env  []string
		want bool
	}{
		{nil, false},
		{[]string{"PERL_HASH_SEED=0"}, false},
		{[]string{"PERL_HASH_SEED=0x00"}, false},
		{[]string{"PERL_HASH_SEED=1"}, true},
		{[]string{"PERL_HASH_SEED=0x10"}, true},
		{[]string{"PERL_HASH_SEED=1", "PERL_PERTURB_KEYS=0"}, false},
		{[]string{"PERL_HASH_SEED=1", "PERL_PERTURB_KEYS=RANDOM"}, false},
		{[]string{"PERL_PERTURB_KEYS=2"}, true},
		{[]string{"PERL_PERTURB_KEYS=DETERMINISTIC"}, true},
	} {
		if got := hasFixedOrder(c.env); got != c.want {
			t.Errorf("%q: %v", c.env, got)
		}
	}
}
