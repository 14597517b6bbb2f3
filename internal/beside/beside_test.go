//go:build unix

package beside

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// newSet returns a Set with the log of its programs. It is stopped at the end.
func newSet(t *testing.T) (*Set, *testkit.Log) {
	t.Helper()
	log := &testkit.Log{}
	s := New(log.Logger())
	t.Cleanup(func() { s.Stop(0, closed()) })
	return s, log
}

func closed() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// sh returns a program that a shell runs.
func sh(t *testing.T, name, script string) Program {
	t.Helper()
	return Program{
		Name: name, Args: []string{testkit.Tool(t, "sh", "dash"), "-c", script}, Dir: t.TempDir(), Env: []string{"PATH=" + os.Getenv("PATH")},
		StopSignal: syscall.SIGTERM, StopTimeout: time.Minute,
	}
}

func (s *Set) service(t *testing.T, name string) (is status.Service) {
	t.Helper()
	services, _ := s.Status()
	i := slices.IndexFunc(services, func(one status.Service) bool { return one.Service == name })
	if i < 0 {
		t.Fatalf("there is no service %s", name)
	}
	return services[i]
}

func (s *Set) job(t *testing.T, name string) (is status.Job) {
	t.Helper()
	_, jobs := s.Status()
	i := slices.IndexFunc(jobs, func(one status.Job) bool { return one.Job == name })
	if i < 0 {
		t.Fatalf("there is no job %s", name)
	}
	return jobs[i]
}

// isGone reports whether a process has ended and was reaped.
func isGone(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH }

func TestAServiceIsStartedAgainAndEndsWithItsChildren(t *testing.T) {
	s, log := newSet(t)
	p := sh(t, "svc", "echo up; sleep 1000 & echo child $!; exec sleep 1001")
	s.Apply([]Service{{p}}, nil)
	if got := s.service(t, "svc").State; got != "waiting" {
		t.Errorf("before Start it is %s", got)
	}
	s.Start(nil)
	log.WaitFor(t, "msg=up", "service=svc")
	log.WaitFor(t, "child ", "service=svc")
	testkit.Eventually(t, "it runs", func() bool { return s.service(t, "svc").State == "running" })
	first := s.service(t, "svc").PID
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it runs again", func() bool {
		is := s.service(t, "svc")
		return is.State == "running" && is.PID != first && is.Restarts == 1 && is.LastExit == "signal: killed"
	})
	testkit.Eventually(t, "both children are told", func() bool { return strings.Count(log.String(), "child ") == 2 })
	s.Stop(0, nil)
	for _, line := range strings.Split(log.String(), "\n") {
		if _, after, found := strings.Cut(line, "child "); found {
			number, _, _ := strings.Cut(after, `"`)
			pid, err := strconv.Atoi(number)
			testkit.Eventually(t, "the child "+number+" has ended", func() bool { return err == nil && isGone(pid) })
		}
	}
}

func TestAServiceThatCannotRunIsTriedLessAndLess(t *testing.T) {
	s, log := newSet(t)
	p := sh(t, "none", "")
	p.Args = []string{filepath.Join(p.Dir, "none")}
	s.Apply([]Service{{p}, {sh(t, "brief", "exit 3")}}, nil)
	s.Start(nil)
	log.WaitFor(t, "service=none", "cannot be started", "in=500ms")
	log.WaitFor(t, "service=none", "cannot be started", "in=1s")
	log.WaitFor(t, "service=brief", `exit="exit status 3"`, "in=1s")
	testkit.Eventually(t, "the status tells", func() bool {
		is := s.service(t, "none")
		return is.State == "paused" && is.NextStart.After(time.Now()) && strings.Contains(is.LastExit, "no such file")
	})
}

// A service notes in a file when it begins and ends; two at once would be seen there.
func TestAChangedServiceIsReplacedAndAnotherOneKept(t *testing.T) {
	s, log := newSet(t)
	notes := filepath.Join(t.TempDir(), "notes")
	script := func(n int) string {
		return fmt.Sprintf(`echo begin %d >> %s; trap 'echo end %d >> %s; exit 0' TERM; echo ready %d; while :; do sleep 0.02; done`, n, notes, n, notes, n)
	}
	kept := sh(t, "kept", "exec sleep 1000")
	changed := sh(t, "changed", script(1))
	gone := sh(t, "gone", "exec sleep 1000")
	s.Apply([]Service{{kept}, {changed}, {gone}}, nil)
	s.Start(nil)
	log.WaitFor(t, `msg="ready 1"`)
	testkit.Eventually(t, "all run", func() bool {
		return s.service(t, "kept").PID != 0 && s.service(t, "gone").PID != 0
	})
	pid, leaving := s.service(t, "kept").PID, s.service(t, "gone").PID
	changed.Args = slices.Clone(changed.Args)
	changed.Args[2] = script(2)
	s.Apply([]Service{{kept}, {changed}}, nil)
	log.WaitFor(t, `msg="ready 2"`)
	if got := s.service(t, "kept").PID; got != pid {
		t.Errorf("the service that has not changed is process %d, and was %d", got, pid)
	}
	testkit.Eventually(t, "the removed one has ended", func() bool { return isGone(leaving) })
	s.Stop(0, nil)
	text, err := os.ReadFile(notes)
	if want := "begin 1\nend 1\nbegin 2\nend 2\n"; err != nil || string(text) != want {
		t.Errorf("the notes are %q (%v), want %q", text, err, want)
	}
}

func TestNothingBeginsBeforeTheOtherProcessHasEndedItsOwn(t *testing.T) {
	s, log := newSet(t)
	after := make(chan struct{})
	s.Apply([]Service{{sh(t, "svc", "echo up; exec sleep 1000")}}, []Job{{Program: sh(t, "job", "echo run"), Next: every(time.Millisecond)}})
	s.Start(after)
	if err := s.Run("job"); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a job runs: %v", err)
	}
	if strings.Contains(log.String(), "msg=") {
		t.Errorf("something has begun: %s", log)
	}
	close(after)
	log.WaitFor(t, "msg=up")
	log.WaitFor(t, "msg=run")
}

func every(d time.Duration) func(time.Time) time.Time {
	return func(t time.Time) time.Time { return t.Add(d) }
}

func never(time.Time) time.Time { return time.Now().Add(time.Hour) }

func TestAJobNeverRunsTwiceAtOnce(t *testing.T) {
	s, log := newSet(t)
	go1 := filepath.Join(t.TempDir(), "go")
	j := Job{Program: sh(t, "slow", "echo begun; while [ ! -e "+go1+" ]; do sleep 0.01; done; exit 4"), Schedule: "often", Next: every(20 * time.Millisecond)}
	s.Apply(nil, []Job{j})
	s.Start(nil)
	log.WaitFor(t, "msg=begun")
	log.WaitFor(t, "is left out", "job=slow")
	if err := s.Run("slow"); err == nil {
		t.Error("it can be run twice")
	}
	// Another schedule, none, and the first again: the run goes on, and stays the only one.
	changed := j
	changed.Schedule = "other"
	s.Apply(nil, []Job{changed})
	s.Apply(nil, nil)
	s.Apply(nil, []Job{j})
	before := s.job(t, "slow").Skipped
	testkit.Eventually(t, "it is skipped again", func() bool { return s.job(t, "slow").Skipped > before })
	if n := strings.Count(log.String(), "msg=begun"); n != 1 {
		t.Fatalf("it has begun %d times", n)
	}
	if is := s.job(t, "slow"); is.PID == 0 || is.Runs != 0 {
		t.Errorf("the status is %+v", is)
	}
	if err := os.WriteFile(go1, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	log.WaitFor(t, "the job has failed", `exit="exit status 4"`)
	testkit.Eventually(t, "the status tells", func() bool {
		is := s.job(t, "slow")
		return is.Runs > 0 && is.Failures == is.Runs && is.LastExit == "exit status 4"
	})
}

func TestAJobThatTakesTooLongIsEnded(t *testing.T) {
	s, log := newSet(t)
	p := sh(t, "long", "trap '' TERM; sleep 1000 & echo child $!; while :; do wait; done")
	p.StopTimeout = 50 * time.Millisecond
	s.Apply(nil, []Job{{Program: p, Next: never, Timeout: 100 * time.Millisecond}})
	s.Start(nil)
	testkit.Eventually(t, "it can be run", func() bool { return s.Run("long") == nil })
	log.WaitFor(t, "took too long", `exit="signal: killed"`)
	_, after, _ := strings.Cut(log.String(), "child ")
	number, _, _ := strings.Cut(after, `"`)
	pid, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "its child has ended", func() bool { return isGone(pid) })
	if err := s.Run("other"); err == nil || !strings.Contains(err.Error(), "[long]") {
		t.Errorf("another one: %v", err)
	}
}

// At the end of a gateway a job may go on for a while, a program that does not end is killed, and nothing begins.
func TestStop(t *testing.T) {
	s, log := newSet(t)
	p := sh(t, "deaf", "trap '' TERM; echo up; while :; do sleep 0.02; done")
	s.Apply([]Service{{p}}, []Job{{Program: sh(t, "job", "echo begun; sleep 0.2; echo done"), Next: never}})
	s.Start(nil)
	log.WaitFor(t, "msg=up")
	testkit.Eventually(t, "the job runs", func() bool { return s.Run("job") == nil })
	log.WaitFor(t, "msg=begun")
	hurry := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.Stop(time.Minute, hurry)
	}()
	log.WaitFor(t, "msg=done")
	log.WaitFor(t, "the job has ended")
	testkit.Eventually(t, "the service is told", func() bool { return s.service(t, "deaf").State == "stopping" })
	close(hurry)
	testkit.Await(t, stopped)
	s.Apply([]Service{{sh(t, "new", "echo new")}}, nil)
	if err := s.Run("job"); err == nil {
		t.Error("a job can be run")
	}
	if strings.Contains(log.String(), "msg=new") {
		t.Error("a service has begun after the end")
	}
}

// What the clock on the wall does must not make a job run in a loop, nor hold it back.
func TestAJobFollowsTheClock(t *testing.T) {
	s, log := newSet(t)
	at := time.Now().Add(time.Hour)
	due := make(chan time.Time, 10)
	s.now = func() time.Time { return at }
	s.Apply(nil, []Job{{Program: sh(t, "job", "echo run"), Next: func(now time.Time) time.Time {
		due <- now
		if len(due) == 1 {
			return now.Add(-time.Minute) // the clock was set forward
		}
		return time.Time{}
	}}})
	s.Start(nil)
	log.WaitFor(t, "msg=run")
	log.WaitFor(t, "is never due")
}

func TestLinesOfOutput(t *testing.T) {
	log := &testkit.Log{}
	copyLines(strings.NewReader("one\r\n\n"+strings.Repeat("x", longestLine+3)+"\nbad \xff\nlast"), log.Logger())
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 5 || !strings.Contains(lines[0], "msg=one") || !strings.Contains(lines[2], "msg=xxx\n"[:7]) || !strings.Contains(lines[4], "msg=last") {
		t.Errorf("the log has %d lines: %.300q", len(lines), lines)
	}
}
