package psgi

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/leased"
	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// hanging is an application that hangs in many ways, by the path. The line in which each hangs is marked with its name.
const hanging = `use strict; use warnings; use Socket;
sub hang {
    my ($how) = @_;
    if ($how eq 'sleep')    { sleep 1000 }
    if ($how eq 'sysread')  { socket my $s, PF_INET, SOCK_STREAM, 0; connect $s, pack_sockaddr_in $ENV{PORT}, inet_aton '127.0.0.1'; sysread $s, my $b, 1 }
    if ($how eq 'readline') { pipe my $r, my $w; my $line = <$r> }
    if ($how eq 'waitpid')  { my $pid = fork; exec 'sleep', '1000' if !$pid; waitpid $pid, 0 }
    if ($how eq 'spin')     { my %h; while (1) { $h{ 1 + keys %h } = [ map { "x$_" } 1 .. 20 ]; %h = () if keys %h > 999 } }
    if ($how eq 'regex')    { my $x = 'a' x 60; $x =~ /^(?:(a|aa)+)+\1[b-d]/ }
    if ($how eq 'flock')    { open my $f, '>', $ENV{LOCK}; flock $f, 2 }
    if ($how eq 'fifo')     { open my $f, '<', $ENV{FIFO} }
    if ($how eq 'deaf')     { local $SIG{TERM} = 'IGNORE'; $SIG{ILL} = $SIG{NUM60} = 'IGNORE'; select undef, undef, undef, 0.1 while 1 }
    if ($how eq 'own')      { $SIG{NUM60} = 'DEFAULT'; $SIG{ILL} = sub { syswrite STDERR, "the application's own handler\n" }; sleep 1 while 1 }
    if ($how eq 'stderr')   { open STDERR, '>', '/dev/null'; sleep 1000 }
    if ($how eq 'stopped')  { kill STOP => $$; sleep 1000 }
}
sub outer { hang(@_) }
sub { outer(substr $_[0]{PATH_INFO}, 1); [200, [], ['went on']] }
`

// hangs mounts it as a file, with a short time limit.
func hangs(t *testing.T, o PSGI) (m *mounted, file, peer string) {
	t.Helper()
	dir := t.TempDir()
	o.App = filepath.Join(dir, "hang.psgi")
	lock, fifo := filepath.Join(dir, "lock"), filepath.Join(dir, "fifo")
	held, err := os.Create(lock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = held.Close() })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	for _, err := range []error{
		os.WriteFile(o.App, []byte(hanging), 0o600), syscall.Flock(int(held.Fd()), syscall.LOCK_EX), syscall.Mkfifo(fifo, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	o.Env = map[string]string{"LOCK": lock, "FIFO": fifo, "PORT": fmt.Sprint(listener.Addr().(*net.TCPAddr).Port)}
	o.RequestTimeout, o.KillAfter = 300*time.Millisecond, 500*time.Millisecond
	return mount(t, o), o.App, listener.Addr().String()
}

// lineOf returns the line of the application in which a text stands.
func lineOf(how string) int {
	before, _, _ := strings.Cut(hanging, how)
	return 1 + strings.Count(before, "\n")
}

// record returns the log record of where it hung, with its attributes as text.
func record(t *testing.T, m *mounted) string {
	t.Helper()
	found := ""
	testkit.Eventually(t, "the log to tell where it hung", func() bool {
		for line := range strings.Lines(m.log.String()) {
			if strings.Contains(line, "where it hung") {
				found = line
			}
		}
		return found != ""
	})
	return found
}

func TestWhereItHung(t *testing.T) {
	for _, c := range []struct {
		how  string
		want []string // in the record, besides the Perl line
	}{
		{"sleep", []string{"clock_nanosleep"}},
		{"sysread", []string{"read(fd ", "socket tcp PEER"}},
		{"readline", []string{"read(fd ", "pipe:"}},
		{"waitpid", []string{"wait4"}},
		{"spin", nil},
		{"regex", nil},
		{"flock", []string{"flock(fd ", "/lock"}},
		{"fifo", []string{"openat"}},
		{"stderr", []string{"clock_nanosleep"}},
	} {
		for _, preload := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, preload %v", c.how, preload), func(t *testing.T) {
				t.Parallel()
				m, file, peer := hangs(t, PSGI{Processes: worker.Processes{Preload: preload}})
				pid := strings.Trim(m.pids(), "[]")
				begin := time.Now()
				if r := m.get("/" + c.how); r.statusCode() != 504 {
					t.Errorf("%d %q, %v", r.status, r.body, r.err)
				}
				if took := time.Since(begin); took > testkit.Patience/2 {
					t.Errorf("the answer took %v", took)
				}
				got := record(t, m)
				want := append([]string{
					fmt.Sprintf("%s:%d hang < %s:%d outer", file, lineOf("$how eq '"+c.how+"'"), file, lineOf("sub outer")),
					"pid=" + pid, "request=\"GET /" + c.how + "\"", "running_for=", "request_timeout", "state=",
				}, c.want...)
				for _, text := range want {
					if text == "request_timeout" {
						text = "no sign of life"
					}
					if text = strings.ReplaceAll(text, "PEER", peer); !strings.Contains(got, text) {
						t.Errorf("%q is missing in\n%s", text, got)
					}
				}
				h := m.app.(*app).Status().LastHang
				if h == nil || fmt.Sprint(h.PID) != pid || len(h.Perl) == 0 || h.Request == nil || h.Request.Path != "/"+c.how || h.Kernel == nil || h.Kernel.State == "" {
					t.Errorf("the status says %+v", h)
				}
				if strings.Contains(m.log.String(), "\x1e") {
					t.Errorf("the log has a raw stack:\n%s", m.log)
				}
			})
		}
	}
}

// What gives no Perl stack is ended in time all the same.
func TestWhereItHungWithoutPerl(t *testing.T) {
	for _, c := range []struct{ how, signal, want string }{
		{"deaf", "", "no handler"},
		{"own", "", "has not answered"},
		{"stopped", "", "stopped"},
		{"sleep", "off", "not asked"},
	} {
		t.Run(c.how+c.signal, func(t *testing.T) {
			t.Parallel()
			m, _, _ := hangs(t, PSGI{Processes: worker.Processes{StackSignal: c.signal}})
			before := m.pids()
			if r := m.get("/" + c.how); r.statusCode() != 504 {
				t.Errorf("%d %q, %v", r.status, r.body, r.err)
			}
			if got := record(t, m); !strings.Contains(got, c.want) || !strings.Contains(got, "state=") {
				t.Errorf("%q is missing in\n%s", c.want, got)
			}
			testkit.Eventually(t, "another worker", func() bool { now := m.pids(); return now != before && !strings.Contains(now, "[]") })
			if r := m.get("/none"); r.body != "went on" {
				t.Errorf("the next request: %d %q, %v", r.status, r.body, r.err)
			}
		})
	}
}

// A signal that Perl would not handle at once is refused.
func TestStackSignalIsChecked(t *testing.T) {
	_, err := PSGI{Code: "1", Processes: worker.Processes{StackSignal: "USR1"}}.Build()
	if err == nil || !strings.Contains(err.Error(), "stack_signal") {
		t.Errorf("the error is %v", err)
	}
}

// An application that does not get ready is also asked where it is.
func TestWhereTheStartHung(t *testing.T) {
	log := &testkit.Log{}
	built, err := PSGI{
		Code: "sub slow_start {\nsleep 1000 while 1 }\nslow_start(); sub {}", Logger: log.Logger(),
		Processes: worker.Processes{Workers: 1}, Limits: pool.Limits{Limits: worker.Limits{StartTimeout: 2 * time.Second, KillAfter: time.Second}},
	}.Build()
	if err != nil {
		t.Fatal(err)
	}
	if err := built.(*app).startup(t.Context()); err == nil {
		t.Fatal("it has started")
	}
	if text := log.String(); !strings.Contains(text, "where it hung") || !strings.Contains(text, "slow_start") {
		t.Errorf("the log does not tell where:\n%s", text)
	}
}

// Workers of another process are asked by that one.
func TestWhereItHungOverALease(t *testing.T) { leased.Again(t, "^TestWhereItHung$") }
