package perlpagi_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/mux"
	"github.com/pagi-go/pagi-bridge/bridge/perlpagi"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// hanging is an application that blocks its event loop in many ways, by the path.
const hanging = `use strict; use warnings; use Future::AsyncAwait;
sub hang {
    my ($how) = @_;
    if ($how eq '/sleep')   { sleep 1000 }
    if ($how eq '/sysread') { pipe my $r, my $w; sysread $r, my $b, 1 }
    if ($how eq '/waitpid') { my $pid = fork; exec 'sleep', '1000' if !$pid; waitpid $pid, 0 }
    if ($how eq '/spin')    { my %h; while (1) { $h{ 1 + keys %h } = [ map { "x$_" } 1 .. 20 ]; %h = () if keys %h > 999 } }
    if ($how eq '/fifo')    { open my $f, '<', $ENV{FIFO} }
}
async sub {
    my ($scope, $receive, $send) = @_;
    return if $scope->{type} ne 'http';
    hang($scope->{path});
    await $send->({ type => 'http.response.start', status => 200, headers => [] });
    await $send->({ type => 'http.response.body', body => 'went on' });
}
`

func TestWhereTheLoopHung(t *testing.T) {
	for _, how := range []string{"sleep", "sysread", "waitpid", "spin", "fifo"} {
		for _, preload := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, preload %v", how, preload), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				app, fifo := filepath.Join(dir, "hang.pl"), filepath.Join(dir, "fifo")
				if err := os.WriteFile(app, []byte(hanging), 0o600); err != nil {
					t.Fatal(err)
				}
				makeFIFO(t, fifo)
				m := mount(t, perlpagi.PAGI{
					App: app, Processes: worker.Processes{Workers: 1, Preload: preload}, Limits: worker.Limits{KillAfter: time.Second},
					Ping: mux.Ping{Every: 50 * time.Millisecond, Patience: time.Second}, Env: map[string]string{"FIFO": fifo},
				})
				pid := m.status().Workers[0].PID
				if r := m.Get("/" + how); r.Err == nil && r.Status < 500 {
					t.Errorf("%d %q", r.Status, r.Text())
				}
				testkit.Eventually(t, "the log to tell where it hung", func() bool { return strings.Contains(m.log.String(), "where it hung") })
				before, _, _ := strings.Cut(hanging, "'/"+how+"'")
				for _, want := range []string{
					fmt.Sprintf(`perl="%s:%d hang <`, app, 1+strings.Count(before, "\n")), fmt.Sprintf("pid=%d", pid), `request="GET /` + how + `"`,
					"running_for=", "no sign of life", "state=",
				} {
					if !strings.Contains(m.log.String(), want) {
						t.Errorf("%q is missing in\n%s", want, m.log)
					}
				}
				var last *status.Hang
				testkit.Eventually(t, "the status to have it", func() bool { last = m.status().LastHang; return last != nil })
				if last.PID != pid || len(last.Perl) == 0 || last.Request == nil || last.Kernel == nil {
					t.Errorf("the status says %+v", last)
				}
			})
		}
	}
}

func makeFIFO(t *testing.T, name string) {
	t.Helper()
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
}
