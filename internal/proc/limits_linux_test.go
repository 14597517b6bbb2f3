package proc

import (
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// own returns what the shell and cat say of themselves when they are run with a profile.
func own(t testing.TB, p *Profile) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	process, err := Start(Spec{
		Args: []string{"/bin/sh", "-c", "id -u; echo Nice $(nice); cat /proc/self/limits"}, Env: []string{"PATH=/usr/bin:/bin"}, Dir: "/",
		Files: []uintptr{w.Fd(), w.Fd(), w.Fd()}, Profile: p,
	})
	if err != nil {
		t.Fatal(errors.Join(err, w.Close()))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if exit := process.Finish(); err != nil || exit.Status != 0 {
		t.Fatalf("%v, %v: %s", exit, err, text)
	}
	return strings.Join(strings.Fields(string(text)), " ")
}

// niceness returns this process's own.
func niceness(t testing.TB) int {
	t.Helper()
	own, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	return 20 - own
}

// Containers often run root without these capabilities.
func TestANiceIsSetOrRefusedWithoutTheRightToChangeOtherUsers(t *testing.T) {
	if !hasCapability(unix.CAP_SYS_NICE) || os.Geteuid() != 0 {
		t.Skip("not root with all capabilities")
	}
	user, err := LookupUser("nobody", "")
	if err != nil {
		t.Fatal(err)
	}
	for name, dropped := range map[string]uint32{
		"SYS_NICE is missing":     1 << unix.CAP_SYS_NICE,
		"SYS_RESOURCE is missing": 1 << unix.CAP_SYS_RESOURCE,
		"both are missing":        1<<unix.CAP_SYS_NICE | 1<<unix.CAP_SYS_RESOURCE,
	} {
		t.Run(name, func(t *testing.T) {
			runtime.LockOSThread() // for good: the thread has lost its rights
			header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var data [2]unix.CapUserData
			if err := unix.Capget(&header, &data[0]); err != nil {
				t.Fatal(err)
			}
			data[0].Effective &^= dropped
			data[0].Permitted &^= dropped
			if err := unix.Capset(&header, &data[0]); err != nil {
				t.Skip(err)
			}
			for _, limits := range []Limits{{Nice: 3}, {Nice: 3, OpenFiles: 33}} {
				profile, err := NewProfile(user, limits)
				if err != nil {
					t.Fatal(err)
				}
				if got, want := own(t, profile), "65534 Nice "+strconv.Itoa(min(19, niceness(t)+3))+" "; !strings.HasPrefix(got, want) {
					t.Errorf("%+v: got %s, want %s", limits, got, want)
				}
			}
			for _, who := range []*syscall.Credential{user, nil} {
				profile, err := NewProfile(who, Limits{Nice: -1, OpenFiles: 33})
				if refused := dropped&(1<<unix.CAP_SYS_NICE) != 0; refused != errors.Is(err, ErrNoNice) {
					t.Fatalf("a negative value: %v", err)
				} else if !refused && !strings.Contains(own(t, profile), "Nice "+strconv.Itoa(max(-20, niceness(t)-1))+" ") {
					t.Error("a negative value is not set")
				}
			}
		})
	}
}

func TestLimitsAreThereFromTheFirstInstruction(t *testing.T) {
	all := Limits{CPU: 1500 * time.Millisecond, CPUGrace: 3 * time.Second, Memory: 100 << 20, Processes: 3000, OpenFiles: 33, Nice: 2}
	want := []string{"Max cpu time 2 5 seconds", "Max data size 104857600 104857600 bytes", "Max open files 33 33 files", "Max processes 3000 3000 processes",
		"Nice " + strconv.Itoa(min(19, niceness(t)+2)) + " "}
	profile, err := NewProfile(nil, all)
	if err != nil {
		t.Fatal(err)
	}
	profiles := map[string]*Profile{"set while it is stopped": profile}
	if program, err := exec.LookPath(launcherProgram); err == nil {
		launched := &Profile{limits: all}
		launched.launch(program)
		profiles["set by prlimit"] = launched
	}
	for name, p := range profiles {
		got := own(t, p)
		for _, line := range want {
			if !strings.Contains(got, line) {
				t.Errorf("%s: no %q in %s", name, line, got)
			}
		}
		got = own(t, p.WithoutCPU())
		if strings.Contains(got, want[0]) || !strings.Contains(got, want[1]) {
			t.Errorf("%s: without processor time: %s", name, got)
		}
	}
	if p, err := NewProfile(nil, Limits{}); err != nil || p.WithoutCPU() != p || (*Profile)(nil).WithoutCPU() != nil {
		t.Errorf("no limits: %+v, %v", p, err)
	}
}

// A limit that cannot be set leaves no process behind that runs without it.
func TestAProcessThatCannotBeLimitedDoesNotRun(t *testing.T) {
	file := t.TempDir() + "/ran"
	p := &Profile{limits: Limits{OpenFiles: math.MaxInt32}} // more than the kernel allows anybody
	if _, err := Start(Spec{Args: []string{"/bin/sh", "-c", "echo >" + file}, Env: []string{}, Dir: "/", Profile: p}); err == nil {
		t.Error("no error")
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Error("it has run")
	}
}

func TestATracedProcessStopsBeforeItsFirstInstruction(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for name, limits := range map[string]Limits{"without limits": {}, "with limits": {OpenFiles: 33}} {
		profile, err := NewProfile(nil, limits)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Start(Spec{Args: []string{"/bin/true"}, Env: []string{}, Dir: "/", Profile: profile, Traced: true, DiesWithParent: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := awaitStop(p.Pid()); err != nil {
			t.Error(err)
		}
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(p.Pid(), &status, syscall.WALL, nil); err != nil || !status.Stopped() {
			t.Errorf("%s: %v, %v", name, status, err)
		}
		p.Signal(syscall.SIGKILL)
		if exit := p.Finish(); exit.String() != "signal: killed" {
			t.Errorf("%s: %v", name, exit)
		}
	}
}

func TestAUserIsLookedUp(t *testing.T) {
	if os.Geteuid() != 0 {
		if _, err := LookupUser("nobody", ""); err == nil || !strings.HasPrefix(err.Error(), "user: ") {
			t.Error(err)
		}
		return
	}
	for name, c := range map[string]struct{ user, group, want string }{
		"by name":              {"nobody", "", ""},
		"by numbers":           {"54321", "54322", ""},
		"nobody in particular": {"", "", ""},
		"a group alone":        {"", "nogroup", "group: needs user"},
		"root":                 {"root", "", "user: root is root"},
		"root's group":         {"nobody", "root", "group: root is root's"},
		"one that is unknown":  {"no-such-user", "", "user: "},
	} {
		user, err := LookupUser(c.user, c.group)
		if (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if (user == nil) != (c.user == "" || c.want != "") {
			t.Errorf("%s: %+v", name, user)
		}
	}
	user, err := LookupUser("nobody", "")
	if err != nil {
		t.Fatal(err)
	}
	profile, err := NewProfile(user, Limits{OpenFiles: 33})
	if errors.Is(err, ErrNoLauncher) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := own(t, profile); !strings.HasPrefix(got, "65534 ") || !strings.Contains(got, "Max open files 33 33") {
		t.Error(got)
	}
}

func TestScriptsThatTheKernelCannotRunAreNotRunByAShell(t *testing.T) {
	program, err := exec.LookPath(launcherProgram)
	if err != nil {
		t.Skip(err)
	}
	dir := testkit.Tree(t, map[string]string{"noline": "echo"})
	if err := os.Chmod(dir+"/noline", 0o755); err != nil {
		t.Fatal(err)
	}
	p := &Profile{limits: Limits{OpenFiles: 33}}
	p.launch(program)
	if _, err := Start(Spec{Args: []string{dir + "/noline"}, Env: []string{}, Dir: "/", Profile: p}); !errors.Is(err, syscall.ENOEXEC) {
		t.Error(err)
	}
}

// BenchmarkLimits tells what limits cost per start: go test -bench Limits -cpu 2
func BenchmarkLimits(b *testing.B) {
	limits := Limits{Memory: 1 << 30}
	stopped, err := NewProfile(nil, limits)
	if err != nil {
		b.Skip(err)
	}
	ways := map[string]*Profile{"none": nil, "stopped": stopped}
	if program, err := exec.LookPath(launcherProgram); err == nil {
		launched := &Profile{limits: limits}
		launched.launch(program)
		ways["launcher"] = launched
	}
	for name, profile := range ways {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(4)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					p, err := Start(Spec{Args: []string{"/bin/true"}, Env: []string{}, Dir: "/", Profile: profile, DiesWithParent: true})
					if err != nil {
						b.Error(err)
						return
					}
					p.Finish()
				}
			})
		})
	}
}
