//go:build linux

package confine

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/private"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// Two users without an entry in the system's list, and a group.
const (
	firstUser  = "61001"
	secondUser = "61002"
	thirdGroup = "61003"
)

// TestUsersApart: two adapters of two users, each with files, a socket and a process, and a key of the gateway.
func TestUsersApart(t *testing.T) {
	t.Parallel()
	asRoot(t)
	dir := directory(t)
	key := write(t, join(dir, "key.pem"), "key", 0o600)
	type tenant struct{ user, dir, file, socket, pid string }
	var tenants []tenant
	for _, user := range []string{firstUser, secondUser} {
		own := join(dir, user)
		uid, _ := strconv.Atoi(user)
		if err := errors.Join(os.Mkdir(own, 0o700), os.Chown(own, uid, uid)); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("unix", join(own, "s"))
		if err == nil {
			err = os.Chmod(join(own, "s"), 0o666) // only the directory protects it
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() }) // the clients have ended
		i := Isolation{User: user, Group: user}
		_, pid := start(t, i, Needs{}, "/bin/sh", "-c", "umask 022; echo x >"+own+"/file; echo $$; cat")
		tenants = append(tenants, tenant{user, own, join(own, "file"), join(own, "s"), pid})
	}
	for n, me := range tenants {
		other := tenants[1-n]
		attempt(t, Isolation{User: me.user, Group: me.user}, Needs{},
			tried{"read " + me.file, 0},
			tried{"write " + me.file, 0},
			tried{"unix " + me.socket, 0},
			tried{"read /proc/" + me.pid + "/environ", 0},
			tried{"read " + other.dir, syscall.EACCES},
			tried{"read " + other.file, syscall.EACCES},
			tried{"write " + other.file, syscall.EACCES},
			tried{"unix " + other.socket, syscall.EACCES},
			tried{"read /proc/" + other.pid + "/environ", syscall.EACCES},
			tried{"read /proc/" + other.pid + "/mem", syscall.EACCES},
			tried{"kill " + other.pid, syscall.EPERM},
			tried{"read /proc/" + strconv.Itoa(os.Getpid()) + "/mem", syscall.EACCES},
			tried{"read /proc/" + strconv.Itoa(os.Getpid()) + "/environ", syscall.EACCES},
			tried{"read " + key, syscall.EACCES},
		)
	}
}

func TestSupplementaryGroupsAreCleared(t *testing.T) {
	asRoot(t)
	before, err := syscall.Getgroups()
	if err == nil {
		err = syscall.Setgroups([]int{0, 61009})
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setgroups(before); err != nil {
			t.Error(err)
		}
	}()
	i := Isolation{User: firstUser, Group: secondUser}
	if got := run(t, i, Needs{}, "id", "-G"); got != "61002\n" {
		t.Errorf("got %q", got)
	}
	i.SupplementaryGroups = []string{thirdGroup}
	if got := run(t, i, Needs{}, "id", "-G"); got != "61002 61003\n" {
		t.Errorf("with one: %q", got)
	}
	for _, wrong := range []Isolation{
		{User: firstUser},
		{User: "0"},
		{User: firstUser, Group: "0"},
		{User: firstUser, Group: secondUser, SupplementaryGroups: []string{"root"}},
		{User: "no-such-user"},
	} {
		if _, err := wrong.Prepare(command("id"), Needs{}); err == nil {
			t.Errorf("%s is accepted", wrong.Key())
		}
	}
}

func TestSetuidProgramsGiveNoPrivileges(t *testing.T) {
	asRoot(t)
	id, err := os.ReadFile(testkit.Tool(t, "id", "coreutils"))
	if err != nil {
		t.Fatal(err)
	}
	program := write(t, join(directory(t), "id"), string(id), 0o755|os.ModeSetuid)
	i := Isolation{User: firstUser, Group: firstUser, NoNewPrivileges: &no}
	if got := run(t, i, Needs{}, program, "-u"); got != "0\n" {
		t.Skipf("setuid programs have no effect here at all (a file system mounted nosuid?): %q", got)
	}
	i.NoNewPrivileges = nil
	if got := run(t, i, Needs{}, program, "-u"); got != firstUser+"\n" {
		t.Errorf("the user is %q", got)
	}
}

// TestUsualReads is about an adapter of root, whom only Landlock stops.
func TestUsualReads(t *testing.T) {
	t.Parallel()
	withLandlock(t, 1)
	asRoot(t)
	dir := directory(t)
	own, data, other := join(dir, "own"), join(dir, "data"), join(dir, "other")
	for _, d := range []string{own, data, data + "/a", data + "/b", other} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script := write(t, join(own, "script"), "#!/bin/sh\nexit 0\n", 0o755)
	secret := write(t, join(other, "secret"), "x", 0o644)
	single := write(t, join(other, "single"), "x", 0o644)
	moved := write(t, join(data, "a", "moved"), "x", 0o644)
	mine := write(t, join(data, "mine"), "x", 0o644)
	gateway := "/proc/" + strconv.Itoa(os.Getpid())
	i := Isolation{Read: []string{own, single}, Write: []string{data}, PrivateTmp: true}
	attempts := []tried{
		{"read " + script, 0}, {"run " + script, 0}, {"read " + own, 0}, {"read " + single, 0},
		{"read /etc/passwd", 0}, {"read /dev/urandom", 0}, {"write /dev/null", 0}, {"read /proc/self/status", 0},
		{"write " + mine, 0}, {"create " + join(data, "new"), 0}, {"mkdir " + join(data, "dir"), 0},
		{"rename " + moved + " " + join(data, "b", "moved"), 0}, {"rename " + join(data, "b", "moved") + " " + moved, 0},

		{"read /etc/shadow", syscall.EACCES}, {"read /root", syscall.EACCES}, {"read /", syscall.EACCES}, {"read /etc", syscall.EACCES},
		{"read " + secret, syscall.EACCES}, {"read " + other, syscall.EACCES}, {"read " + dir, syscall.EACCES},
		{"read " + own + "/../other/secret", syscall.EACCES},
		{"write " + script, syscall.EACCES}, {"write " + secret, syscall.EACCES}, {"write " + single, syscall.EACCES},
		{"create " + join(own, "new"), syscall.EACCES}, {"create " + join(dir, "new"), syscall.EACCES}, {"create /tmp/new", syscall.EACCES},
		{"mkdir " + join(own, "new"), syscall.EACCES}, {"unlink " + secret, syscall.EACCES}, {"unlink " + script, syscall.EACCES},
		{"rename " + mine + " " + join(other, "mine"), syscall.EACCES},
		{"symlink " + join(data, "trap") + " " + secret, 0}, {"read " + join(data, "trap"), syscall.EACCES}, {"unlink " + join(data, "trap"), 0},
		{"link " + secret + " " + join(data, "hard"), syscall.EXDEV},
		{"read " + gateway + "/environ", syscall.EACCES}, {"read " + gateway + "/mem", syscall.EACCES}, {"readlink " + gateway + "/cwd", syscall.EACCES},
		{"write /proc/sys/kernel/hostname", syscall.EACCES},
	}
	if landlockVersion() >= 3 {
		attempts = append(attempts, tried{"truncate " + secret, syscall.EACCES})
	}
	if landlockVersion() >= 6 {
		attempts = append(attempts, tried{"kill " + strconv.Itoa(os.Getpid()), syscall.EPERM})
	}
	attempt(t, i, Needs{}, attempts...)

	attempt(t, Isolation{Read: []string{}, PrivateTmp: true}, Needs{Read: []string{own}, Write: []string{data}},
		tried{"read " + script, 0}, tried{"write " + mine, 0}, tried{"read " + secret, syscall.EACCES}, tried{"write " + script, syscall.EACCES})
}

func TestAllThreadsAreConfined(t *testing.T) {
	t.Parallel()
	withLandlock(t, 1)
	secret := write(t, join(directory(t), "secret"), "x", 0o644)
	i := Isolation{Read: []string{}, PrivateTmp: true}
	if got := run(t, i, Needs{}, "threads", secret); got != "refused 20\n" {
		t.Errorf("got %q", got)
	}
	if got := run(t, i, Needs{}, "family"); got != "start <nil>\nenviron <nil>\nkill <nil>\nwait signal: terminated\n" {
		t.Errorf("a thread and the child of another: %q", got)
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	withLandlock(t, landlockNetwork)
	port := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() }) // the connections were only opened
		_, port, _ := net.SplitHostPort(l.Addr().String())
		return port
	}
	open, closed := port(), port()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, toBind, _ := net.SplitHostPort(free.Addr().String())
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	attempt(t, Isolation{Network: []string{"none"}}, Needs{},
		tried{"connect " + open, syscall.EACCES}, tried{"bind " + toBind, syscall.EACCES}, tried{"read /etc/passwd", 0})
	attempt(t, Isolation{Network: []string{open}}, Needs{},
		tried{"connect " + open, 0}, tried{"connect " + closed, syscall.EACCES}, tried{"bind " + toBind, syscall.EACCES})
	attempt(t, Isolation{Network: []string{"bind:" + toBind}}, Needs{},
		tried{"connect " + open, syscall.EACCES}, tried{"bind " + toBind, 0}, tried{"bind 0", syscall.EACCES})
	attempt(t, Isolation{Nice: 1}, Needs{}, tried{"connect " + open, 0})
}

func TestWhatTheSystemLacks(t *testing.T) {
	bare := system{
		landlock: func() int { return 0 },
		place:    func() (*place, error) { return nil, errors.New("cgroup v2 is not mounted") },
		lessNice: func() bool { return false },
	}
	old := bare
	old.landlock = func() int { return 3 }
	for name, c := range map[string]struct {
		system    system
		isolation Isolation
		feature   string
		want      []string
	}{
		"no Landlock":      {bare, Isolation{Read: []string{"/usr"}}, "landlock", []string{"read: the kernel has no Landlock", "the adapter reads and writes what its user may"}},
		"only writing":     {bare, Isolation{Write: []string{"/usr"}}, "landlock", []string{"write: the kernel has no Landlock"}},
		"an old Landlock":  {old, Isolation{Network: []string{"none"}}, "landlock", []string{"network: it needs version 4 of Landlock's interface (Linux 6.7), the system has 3; the adapter uses the network as it likes"}},
		"no group: memory": {bare, Isolation{Memory: 512 << 20}, "cgroup", []string{"memory: cgroup v2 is not mounted; each process is limited to 512MiB instead of all together"}},
		"no group: cpu":    {bare, Isolation{CPU: "50%"}, "cgroup", []string{"cpu: cgroup v2 is not mounted; the adapter runs without it"}},
		"negative nice":    {bare, Isolation{Nice: -5}, "nice", []string{"nice: a negative value needs the capability SYS_NICE; the adapter runs without it"}},
	} {
		cmd := command("true")
		plan, err := c.isolation.prepare(c.system, cmd, Needs{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(plan.Missing()) != 1 || slices.ContainsFunc(c.want, func(part string) bool { return !strings.Contains(plan.Missing()[0], part) }) {
			t.Errorf("%s: %q, want %q", name, plan.Missing(), c.want)
		}
		if err := plan.Close(); err != nil {
			t.Error(err)
		}
		for _, feature := range []string{c.feature, "all"} {
			c.isolation.Require = []string{feature}
			_, err = c.isolation.prepare(c.system, command("true"), Needs{})
			if option, _, _ := strings.Cut(c.want[0], ":"); err == nil || !strings.HasPrefix(err.Error(), option+": the system lacks") {
				t.Errorf("%s, %s required: %v", name, feature, err)
			}
		}
		c.isolation.Require = []string{map[string]string{"landlock": "cgroup", "cgroup": "nice", "nice": "landlock"}[c.feature]}
		if plan, err = c.isolation.prepare(c.system, command("true"), Needs{}); err != nil {
			t.Errorf("%s: the site requires something else: %v", name, err)
		} else if err := plan.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestWithoutAGroupProcessesAreLimited(t *testing.T) {
	asRoot(t)
	bare := thisSystem
	bare.place = func() (*place, error) { return nil, errors.New("there is none") }
	cmd := command("/bin/sh", "-c", "cat /proc/self/limits")
	// The race detector reserves more than any sensible limit.
	plan, err := Isolation{User: firstUser, Group: firstUser, Memory: 1 << 50, Processes: 4000}.prepare(bare, cmd, Needs{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if data, n := limitOf(out, "Max data size"), limitOf(out, "Max processes"); data != "1125899906842624" || n != "4000" {
		t.Errorf("the limits are %s and %s", data, n)
	}
	if want := "processes: there is none; the limit counts all processes of the user instead"; !slices.Contains(plan.Missing(), want) {
		t.Errorf("%q", plan.Missing())
	}
	if err := plan.Close(); err != nil {
		t.Error(err)
	}
}

// limitOf returns the hard limit in a /proc/PID/limits.
func limitOf(limits []byte, name string) string {
	for line := range strings.Lines(string(limits)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.Fields(rest)[1]
		}
	}
	return ""
}

func TestLimitsAndNiceReachChildren(t *testing.T) {
	t.Parallel()
	out := run(t, Isolation{OpenFiles: 100, Nice: 3}, Needs{}, "/bin/sh", "-c", "cat /proc/self/limits; nice")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if files, nice := limitOf([]byte(out), "Max open files"), lines[len(lines)-1]; files != "100" || nice != "3" {
		t.Errorf("%s files, nice %s", files, nice)
	}
	if !mayBeLessNice() {
		t.Log("not tried: a negative nice, which needs the capability SYS_NICE")
		return
	}
	a, _ := start(t, Isolation{Nice: -2}, Needs{}, "/bin/sh", "-c", "echo; read x; nice")
	if _, err := fmt.Fprintln(a.in); err != nil {
		t.Fatal(err)
	}
	if line, err := a.out.ReadString('\n'); line != "-2\n" {
		t.Errorf("nice is %q, %v", line, err)
	}
}

func TestPrivateTmp(t *testing.T) {
	t.Parallel()
	for _, i := range []Isolation{{PrivateTmp: true}, {PrivateTmp: true, User: firstUser, Group: firstUser}} {
		if i.User != "" && os.Geteuid() != 0 {
			continue
		}
		uid := strconv.Itoa(os.Geteuid())
		if i.User != "" {
			uid = i.User
		}
		cmd := command("/bin/sh", "-c", `echo x >"$TMPDIR/x" && stat -c "%a %u" "$TMPDIR" && echo "$TMPDIR"; ls /proc/self/fd | wc -l`)
		plan := prepare(t, i, cmd, Needs{})
		out, err := cmd.CombinedOutput()
		lines := strings.Split(string(out), "\n")
		// ls has 0, 1, 2 and the directory that it reads.
		if err != nil || len(lines) != 4 || lines[0] != "700 "+uid || lines[2] != "4" {
			t.Fatalf("%q, %v", out, err)
		}
		if _, err := os.Stat(join(lines[1], "x")); err != nil {
			t.Error(err)
		}
		outer := plan.State().TempDir
		if err := plan.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(outer); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("it is left: %v", err)
		}
	}
}

// TestPrivateTmpOutlivesTheGateway: the directory stays as long as the adapter runs, and another gateway removes it.
func TestPrivateTmpOutlivesTheGateway(t *testing.T) {
	a, dir := start(t, Isolation{PrivateTmp: true}, Needs{}, "/bin/sh", "-c", `echo $TMPDIR; cat`)
	if err := a.plan.tmp.Lock().Close(); err != nil { // as the kernel does at the gateway's end
		t.Fatal(err)
	}
	a.plan.tmp = nil
	if _, err := private.Sweep(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("a sweep has removed the directory of a running adapter: %v", err)
	}
	a.plan = Resume(a.plan.State())
	a.stop()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is left: %v", err)
	}
}

func TestEnvironmentIsExact(t *testing.T) {
	env := testkit.Tool(t, "env", "coreutils")
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		t.Setenv(name, "") // restores it
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range map[string]string{"PATH": "/usr/bin:/bin", "SECRET": "x", "DATABASE_URL": "y", "LC_TIME": "C", "PERL5LIB": "/p", "APP_A": "1", "APP_B": "2", "HOME": "/root", "TMPDIR": "/tmp"} {
		t.Setenv(name, value)
	}
	got := func(i Isolation, own ...string) []string {
		cmd := command(env)
		cmd.Env = append(cmd.Env, own...)
		if i.AsksNothing() {
			cmd.Env = nil
		}
		prepare(t, i, cmd, Needs{})
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
		lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		slices.Sort(lines)
		return slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "GORACE=") }) // see command
	}
	want := []string{"LC_TIME=C", "OWN=1", "PATH=/usr/bin:/bin", "PERL5LIB=/p", "TMPDIR=/tmp"}
	if diff := cmp.Diff(want, got(Isolation{Nice: 1}, "OWN=1")); diff != "" {
		t.Error(diff)
	}
	want = []string{"APP_A=1", "APP_B=2", "LC_TIME=C", "PATH=/usr/bin:/bin", "PERL5LIB=/p", "TMPDIR=/tmp"}
	if diff := cmp.Diff(want, got(Isolation{Nice: 1, PassEnv: []string{"APP_*"}})); diff != "" {
		t.Error(diff)
	}
	if all := got(Isolation{Name: "asks-nothing"}); !slices.Contains(all, "SECRET=x") || !slices.Contains(all, "HOME=/root") {
		t.Errorf("an Isolation that asks for nothing has %q", all)
	}
	if os.Geteuid() != 0 {
		t.Log("not tried: the variables of another user, which needs root")
		return
	}
	if of := got(Isolation{User: "nobody"}); !slices.Contains(of, "USER=nobody") || !slices.Contains(of, "LOGNAME=nobody") || slices.Contains(of, "HOME=/root") {
		t.Errorf("nobody has %q", of)
	}
}

func TestAnAdapterThatDoesNotConfineItselfIsNoticed(t *testing.T) {
	cmd := exec.Command("cat")
	plan := prepare(t, Isolation{Nice: 1}, cmd, Needs{})
	in, err := cmd.StdinPipe()
	if err := errors.Join(err, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	if err := plan.Started(cmd.Process.Pid); err == nil || !strings.Contains(err.Error(), "does not call confine.Apply") {
		t.Errorf("got %v", err)
	}
	if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
		t.Error(err)
	}
}

func TestADirectoryThatIsNotThere(t *testing.T) {
	t.Parallel()
	withLandlock(t, 1)
	dir := directory(t)
	if _, err := (Isolation{Read: []string{join(dir, "gone")}}).Prepare(command("true"), Needs{}); err == nil || !strings.HasPrefix(err.Error(), "read: stat ") {
		t.Errorf("got %v", err)
	}
	asRoot(t)
	closed := join(dir, "closed")
	if err := errors.Join(os.Mkdir(closed, 0o700), os.Mkdir(join(closed, "in"), 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := command("true")
	prepare(t, Isolation{User: firstUser, Group: firstUser, Read: []string{join(closed, "in")}}, cmd, Needs{})
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "the adapter's user cannot reach what the site lets it use: stat "+closed) {
		t.Errorf("%s, %v", out, err)
	}
}

func TestOfNoneThereIsNoPlan(t *testing.T) {
	if _, err := (Isolation{Name: None}).Prepare(command("true"), Needs{}); err == nil {
		t.Error("there is one")
	}
	// Nothing asked: a group of its own, and nothing else.
	cmd := exec.Command("true")
	plan := prepare(t, Isolation{}, cmd, Needs{})
	if !cmd.SysProcAttr.Setpgid || cmd.SysProcAttr.Pdeathsig != 0 || cmd.SysProcAttr.Credential != nil || cmd.Env != nil || len(plan.Applied()) > 0 {
		t.Errorf("%+v, %q, %q", cmd.SysProcAttr, cmd.Env, plan.Applied())
	}
}

func TestDirectoriesOfPerl(t *testing.T) {
	perl := testkit.Tool(t, "perl", "perl")
	dir := t.TempDir()
	dirs, err := PerlDirs(t.Context(), perl, []string{"PERL5LIB=" + dir + ":/no/such/dir"})
	if err != nil || !slices.Contains(dirs, dir) || slices.Contains(dirs, "/no/such/dir") || !slices.ContainsFunc(dirs, func(d string) bool {
		_, err := os.Stat(join(d, "strict.pm"))
		return err == nil
	}) {
		t.Errorf("%q, %v", dirs, err)
	}
	if _, err := PerlDirs(t.Context(), "/no/such/perl", nil); err == nil {
		t.Error("a perl that is not there has directories")
	}
}
