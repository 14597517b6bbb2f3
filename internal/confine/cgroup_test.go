//go:build linux

package confine

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// fakePlace is a directory that looks like a control group.
func fakePlace(t *testing.T, controllers, enabled string) *place {
	t.Helper()
	dir := testkit.Tree(t, map[string]string{"cgroup.controllers": controllers + "\n", "cgroup.subtree_control": enabled, "cgroup.procs": ""})
	return &place{dir}
}

func TestLimitsOfAGroup(t *testing.T) {
	p := fakePlace(t, "cpu memory pids", "")
	if failed := p.enable([]string{"cpu"}); len(failed) > 0 {
		t.Fatal(failed)
	}
	content := func(elements ...string) string {
		text, err := os.ReadFile(join(elements...))
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}
	if got := content(p.dir, "cgroup.subtree_control"); got != "+cpu" {
		t.Errorf("enabled: %q", got)
	}
	g, err := p.make(groupLimits{memory: 64 << 20, cpuPercent: 150, processes: 40})
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"memory.max": "67108864", "memory.swap.max": "0", "cpu.max": "150000 100000", "pids.max": "40"} {
		if got := content(g.dir, file); got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
	only, err := p.make(groupLimits{processes: 50})
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(only.dir); len(entries) != 1 || entries[0].Name() != "pids.max" {
		t.Errorf("one limit: %v, %v", entries, err)
	}
}

func TestAControllerThatIsNotThere(t *testing.T) {
	p := fakePlace(t, "cpu pids", "cpu pids")
	failed := p.enable([]string{"cpu", "memory", "pids"})
	if len(failed) != 1 || !strings.Contains(failed["memory"].Error(), `has no controller "memory"`) {
		t.Errorf("got %v", failed)
	}
	sys := thisSystem
	sys.place = func() (*place, error) { return fakePlace(t, "", ""), nil }
	plan, err := Isolation{CPU: "50%"}.prepare(sys, command("true"), Needs{})
	if err != nil || len(plan.Missing()) != 1 || !strings.Contains(plan.Missing()[0], `has no controller "cpu"; the adapter runs without it`) || plan.State().Group != "" {
		t.Errorf("%+v, %v", plan, err)
	}
}

// TestTheMemoryLimitIsToldInWords reads a file that the kernel writes, in the form of Documentation/admin-guide/cgroup-v2.rst.
func TestTheMemoryLimitIsToldInWords(t *testing.T) {
	dir := t.TempDir()
	events := func(kills int) {
		text := fmt.Sprintf("low 0\nhigh 0\nmax 17\noom %d\noom_kill %d\noom_group_kill 0\n", kills+5, kills)
		if err := os.WriteFile(join(dir, "memory.events"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	events(2)
	p := Resume(State{Group: dir, Memory: 64 << 20, Killed: 2})
	if got := p.Ended("signal: killed"); got != "signal: killed" {
		t.Errorf("nothing new: %q", got)
	}
	events(3)
	if got := p.Ended("signal: killed"); got != "signal: killed, by the kernel for the memory limit of 64MiB" {
		t.Errorf("got %q", got)
	}
	if got := p.Ended("exit status 1"); got != "exit status 1" {
		t.Errorf("told twice: %q", got)
	}
	if got := Resume(State{}).Ended("signal: killed"); got != "signal: killed" {
		t.Errorf("without a group: %q", got)
	}
}

func TestWhereGroupsAreMade(t *testing.T) {
	mount := t.TempDir()
	service, session := join(mount, "system.slice", "gateway.service"), join(mount, "session")
	for _, dir := range []string{join(service, gatewayLeaf), join(service, "main"), session} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	delegated := func(dir string) bool { return dir == service }
	for name, c := range map[string]struct {
		own           string
		root, systemd bool
		want          string
	}{
		"delegated by systemd":                  {service, false, true, service},
		"after the gateway has moved":           {join(service, gatewayLeaf), true, true, service},
		"with DelegateSubgroup":                 {join(service, "main"), true, true, service},
		"not delegated":                         {session, true, true, ""},
		"root without systemd":                  {session, true, false, mount},
		"a user's own group without systemd":    {session, false, false, session},
		"in a container's name space of groups": {mount, true, false, mount},
	} {
		p, err := choosePlace(mount, c.own, c.root, c.systemd, delegated)
		switch {
		case c.want == "" && (err == nil || !strings.Contains(err.Error(), "Delegate=yes")):
			t.Errorf("%s: %v, %v", name, p, err)
		case c.want != "" && (err != nil || p.dir != c.want):
			t.Errorf("%s: %v, %v; want %s", name, p, err, c.want)
		}
	}
	for text, want := range map[string]string{
		"0::/a/b\n": "/m/a/b", "9:memory:/x\n0::/\n": "/m", "0::/../other\n": "/m", "": "/m",
	} {
		if got := ownGroup(text, "/m", "/"); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	if got := ownGroup("0::/docker/x/y\n", "/m", "/docker/x"); got != "/m/y" {
		t.Errorf("a mount of a part: %s", got)
	}
}

// realPlace is where this machine lets groups be made.
func realPlace(t *testing.T) *place {
	t.Helper()
	p, err := findPlace()
	if err != nil {
		t.Skipf("no control groups here: %v", err)
	}
	return p
}

// TestStartsInItsGroup needs no controller: the group alone is used.
func TestStartsInItsGroup(t *testing.T) {
	p := realPlace(t)
	g, err := p.make(groupLimits{})
	if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS) {
		t.Skipf("no control groups here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := command("/bin/sh", "-c", "cat /proc/self/cgroup; setsid sleep 600 >/dev/null 2>&1 & echo $!")
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	dir, err := g.startIn(cmd)
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if err := errors.Join(err, dir.Close()); err != nil {
		t.Fatalf("%s, %v", out, err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if !strings.Contains(string(out), "/"+groupPrefix+strconv.Itoa(os.Getpid())+"-") {
		t.Errorf("its groups are %s", out)
	}
	left, err := strconv.Atoi(lines[len(lines)-1])
	if err != nil || syscall.Kill(left, 0) != nil {
		t.Errorf("nothing was left behind: %s", out)
	}
	if err := g.remove(); err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, "the end of the process left behind", func() bool {
		status, err := os.ReadFile("/proc/" + strconv.Itoa(left) + "/stat")
		return err != nil || strings.Contains(string(status), ") Z ")
	})
	if _, err := os.Stat(g.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is left: %v", err)
	}
}

// TestEnablesAController enables a controller that this machine has, whichever it is.
func TestEnablesAController(t *testing.T) {
	p := realPlace(t)
	have, err := words(join(p.dir, "cgroup.controllers"))
	if err != nil || len(have) == 0 {
		t.Skipf("cgroup v2 has no controller here (%v)", err)
	}
	control := join(p.dir, "cgroup.subtree_control")
	before, err := words(control)
	if err != nil {
		t.Fatal(err)
	}
	name := have[len(have)-1]
	if err := p.enable([]string{name})[name]; err != nil {
		t.Skipf("the gateway may not enable %s: %v", name, err)
	}
	if enabled, err := words(control); !slices.Contains(enabled, name) {
		t.Errorf("enabled are %q, %v", enabled, err)
	}
	if !slices.Contains(before, name) {
		if err := os.WriteFile(control, []byte("-"+name), 0); err != nil {
			t.Error(err)
		}
	}
}

func TestGroupsOfDeadGatewaysAreRemoved(t *testing.T) {
	p := &place{t.TempDir()}
	// No process has a number above 2^22.
	dead, used := join(p.dir, groupPrefix+"5000000-1"), join(p.dir, groupPrefix+"5000000-2")
	alive, foreign := join(p.dir, groupPrefix+strconv.Itoa(os.Getpid())+"-9"), join(p.dir, "foreign-5000000-1")
	for _, dir := range []string{dead, join(used, "held"), alive, foreign} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.sweep()
	for dir, want := range map[string]bool{dead: false, used: true, alive: true, foreign: true} {
		if exists(dir) != want {
			t.Errorf("%s: %v, want %v", dir, exists(dir), want)
		}
	}
}

// withController skips a test where no group can have the controller.
func withController(t *testing.T, name string) {
	t.Helper()
	if err := realPlace(t).enable([]string{name})[name]; err != nil {
		t.Skipf("control groups have no limit here: %v", err)
	}
}

func TestProcessesOfAGroupAreLimited(t *testing.T) {
	withController(t, "pids")
	perl := testkit.Tool(t, "perl", "perl")
	// The forked processes wait for the end of a pipe.
	const bomb = `pipe(my $r, my $w); my $n = 0; while (1) { my $p = fork; last unless defined $p; if (!$p) { close $w; <$r>; exit } $n++ } print "$n $!\n"`
	out := run(t, Isolation{Processes: 40}, Needs{}, perl, "-e", bomb)
	n, err := strconv.Atoi(strings.Fields(out)[0])
	if err != nil || n < 1 || n > 40 || !strings.Contains(out, "Resource temporarily unavailable") {
		t.Errorf("got %q", out)
	}
}

func TestAGroupOverItsMemoryLimitDiesAlone(t *testing.T) {
	withController(t, "memory")
	perl := testkit.Tool(t, "perl", "perl")
	cmd := command(perl, "-e", `my $x = "x" x (1<<30); print length $x`)
	plan := prepare(t, Isolation{Memory: 64 << 20}, cmd, Needs{})
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "signal: killed") {
		t.Errorf("%s, %v", out, err)
	}
	if got := plan.Ended("signal: killed"); got != "signal: killed, by the kernel for the memory limit of 64MiB" {
		t.Errorf("got %q", got)
	}
}

func TestAGroupGetsItsShareOfProcessorTime(t *testing.T) {
	withController(t, "cpu")
	plan := prepare(t, Isolation{CPU: "50%"}, command("true"), Needs{})
	if got, err := os.ReadFile(join(plan.State().Group, "cpu.max")); string(got) != "50000 100000\n" {
		t.Errorf("%q, %v", got, err)
	}
}
