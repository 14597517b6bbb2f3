package moved_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// machine is a copy of this machine for a test: its root directory is that of this machine, and changes to it are lost with the test.
type machine struct {
	t    *testing.T
	root string // in the namespace of mounts of the process pid
	pid  int
}

// makeMachine makes the root directory below $1, with the directory $2 as it is, and keeps it until standard input ends.
const makeMachine = `set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/changes" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/changes,workdir=$1/work" "$1/root"
mount --rbind /dev "$1/root/dev"
mount -t proc proc "$1/root/proc"
mount -t tmpfs -o mode=755 tmpfs "$1/root/run"
mkdir -p "$1/root$2"
mount --bind "$2" "$1/root$2"
echo ready
exec cat`

// newMachine makes a machine that has the directory dir of this one. The test is skipped where that is not allowed.
func newMachine(t *testing.T, dir string) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a root directory")
	}
	for _, tool := range []string{"unshare", "nsenter"} {
		testkit.Tool(t, tool, "util-linux")
	}
	testkit.Tool(t, "dpkg", "dpkg")
	place := t.TempDir()
	holder := exec.Command("unshare", "--mount", "sh", "-c", makeMachine, "sh", place, dir)
	var log testkit.Log
	holder.Stderr = &log
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "ready\n" {
		_ = holder.Wait() // the text says why
		t.Skipf("a root directory cannot be made: %v\n%s", err, &log)
	}
	t.Cleanup(func() {
		_ = in.Close() // it ends then, and its mounts with it
		if err := holder.Wait(); err != nil {
			t.Errorf("%v\n%s", err, &log)
		}
	})
	return &machine{t: t, root: filepath.Join(place, "root"), pid: holder.Process.Pid}
}

// command runs a program on the machine.
func (m *machine) command(user, name string, args ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{"--target", fmt.Sprint(m.pid), "--mount", "chroot", "--userspec=" + user, m.root, name}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	return cmd
}

// run runs a program that must succeed as root, and returns its output.
func (m *machine) run(name string, args ...string) string {
	m.t.Helper()
	out, err := m.command("root:root", name, args...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// install installs a package.
func (m *machine) install(deb string) {
	m.t.Helper()
	text, err := os.ReadFile(deb)
	if err != nil {
		m.t.Fatal(err)
	}
	cmd := m.command("root:root", "sh", "-c", "cat >/package.deb && dpkg --install /package.deb")
	cmd.Stdin = strings.NewReader(string(text))
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("dpkg: %v\n%s", err, out)
	}
}

// service is the running service of the package.
type service struct {
	t       *testing.T
	program *testkit.Program
}

var execStart = regexp.MustCompile(`(?m)^ExecStart=(.*)$`)

// serve starts the service as systemd does: its command, as its user, with its directory in /run.
func (m *machine) serve() *service {
	m.t.Helper()
	unit := execStart.FindStringSubmatch(m.run("cat", "/lib/systemd/system/pagi-bridge.service"))
	if unit == nil {
		m.t.Fatal("the unit has no ExecStart")
	}
	m.run("install", "-d", "-m", "0700", "-o", "pagi-bridge", "-g", "pagi-bridge", "/run/pagi-bridge")
	words := strings.Fields(unit[1])
	return &service{m.t, testkit.Start(m.t, m.command("pagi-bridge:pagi-bridge", words[0], words[1:]...))}
}

// stop stops the service as systemd does.
func (s *service) stop() {
	s.t.Helper()
	if code := s.program.Stop(syscall.SIGTERM); code != 0 {
		s.t.Errorf("the service ended with %d:\n%s", code, &s.program.Log)
	}
}
