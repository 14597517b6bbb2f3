//go:build unix

package confine

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Names of the control groups that the gateway makes. The number behind groupPrefix is that of the gateway's process.
const (
	groupPrefix = "pagi-bridge-adapter-"
	gatewayLeaf = "pagi-bridge-gateway"
)

// place is a control group (version 2) below which this process may make others.
type place struct{ dir string }

// limits of a group. 0 means none.
type groupLimits struct {
	memory     int64
	cpuPercent int
	processes  int
}

// controllers returns which controller each limit needs, by the option's name.
func (l groupLimits) controllers() map[string]string {
	needed := map[string]string{}
	if l.memory > 0 {
		needed["memory"] = "memory"
	}
	if l.cpuPercent > 0 {
		needed["cpu"] = "cpu"
	}
	if l.processes > 0 {
		needed["processes"] = "pids"
	}
	return needed
}

// without returns the limits without those of the named options.
func (l groupLimits) without(options []string) groupLimits {
	for _, name := range options {
		switch name {
		case "memory":
			l.memory = 0
		case "cpu":
			l.cpuPercent = 0
		case "processes":
			l.processes = 0
		}
	}
	return l
}

func (l groupLimits) isSet() bool { return l != groupLimits{} }

// enable makes controllers available to the groups below the place, and returns an error for each that is not. The kernel
// gives a group's controllers to its children only once it has no processes itself. So enable moves the gateway's processes
// into a group beside those of the adapters.
func (p *place) enable(controllers []string) map[string]error {
	failed := map[string]error{}
	available, err := words(filepath.Join(p.dir, "cgroup.controllers"))
	for _, name := range controllers {
		switch {
		case err != nil:
			failed[name] = err
		case !slices.Contains(available, name):
			failed[name] = fmt.Errorf("the control group %s has no controller %q", p.dir, name)
		default:
			if err := p.enableOne(name); err != nil {
				failed[name] = err
			}
		}
	}
	return failed
}

func (p *place) enableOne(name string) error {
	control := filepath.Join(p.dir, "cgroup.subtree_control")
	enabled, err := words(control)
	if err != nil || slices.Contains(enabled, name) {
		return err
	}
	err = os.WriteFile(control, []byte("+"+name), 0)
	if errors.Is(err, syscall.EBUSY) {
		if err = p.moveOut(); err == nil {
			err = os.WriteFile(control, []byte("+"+name), 0)
		}
	}
	return err
}

// moveOut moves this process and its descendants out of the place into a group below it. Processes of others are an error.
func (p *place) moveOut() error {
	pids, err := words(filepath.Join(p.dir, "cgroup.procs"))
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if !isOurs(pid) {
			return fmt.Errorf("the control group %s holds process %s, which is not the gateway's", p.dir, pid)
		}
	}
	leaf := filepath.Join(p.dir, gatewayLeaf)
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for _, pid := range pids {
		err := os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte(pid), 0)
		if err != nil && !errors.Is(err, syscall.ESRCH) { // it has ended
			return err
		}
	}
	return nil
}

// isOurs reports whether a process is this one or a descendant.
func isOurs(pid string) bool {
	own := strconv.Itoa(os.Getpid())
	for range 64 { // generations
		if pid == own {
			return true
		}
		if pid == "" || pid == "0" || pid == "1" {
			return false
		}
		pid = parentOf(pid)
	}
	return false
}

// parentOf reads the number of the parent from /proc. It returns "" for a process that has gone.
func parentOf(pid string) string {
	status, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return ""
	}
	// The name in parentheses may hold anything.
	fields := strings.Fields(string(status[strings.LastIndexByte(string(status), ')')+1:]))
	if len(fields) < 2 {
		return ""
	}
	return fields[1]
}

// group is a control group of one adapter.
type group struct{ dir string }

var groupNumber atomic.Int64

// sweepOnce removes the leftovers of dead gateways once for each place.
var swept sync.Map

// make makes a group with limits, whose controllers are enabled.
func (p *place) make(limits groupLimits) (*group, error) {
	if _, done := swept.LoadOrStore(p.dir, true); !done {
		p.sweep()
	}
	g := &group{filepath.Join(p.dir, fmt.Sprintf("%s%d-%d", groupPrefix, os.Getpid(), groupNumber.Add(1)))}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return nil, err
	}
	if err := g.limit(limits); err != nil {
		return nil, errors.Join(err, g.remove())
	}
	return g, nil
}

// cpuPeriod is the time, in microseconds, of which a group gets its share.
const cpuPeriod = 100_000

func (g *group) limit(limits groupLimits) error {
	write := func(file, text string) error { return os.WriteFile(filepath.Join(g.dir, file), []byte(text), 0o644) }
	var errs []error
	if limits.memory > 0 {
		errs = append(errs, write("memory.max", strconv.FormatInt(limits.memory, 10)))
		// Without this the group would fill the swap space of all. A kernel without swap has no such file.
		if err := write("memory.swap.max", "0"); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			errs = append(errs, err)
		}
	}
	if limits.cpuPercent > 0 {
		errs = append(errs, write("cpu.max", fmt.Sprintf("%d %d", limits.cpuPercent*(cpuPeriod/100), cpuPeriod)))
	}
	if limits.processes > 0 {
		errs = append(errs, write("pids.max", strconv.Itoa(limits.processes)))
	}
	return errors.Join(errs...)
}

// killed returns how many processes of the group the kernel has killed for its memory limit.
func (g *group) killed() int {
	f, err := os.Open(filepath.Join(g.dir, "memory.events"))
	if err != nil {
		return 0 // the group has no memory limit, or is gone
	}
	defer f.Close() // opened for reading
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "oom_kill "); ok {
			n, _ := strconv.Atoi(text) // the kernel writes a number
			return n
		}
	}
	return 0
}

// Removal of a group waits for its last processes, which the kernel has killed.
const (
	removeTries = 200
	removeAgain = 10 * time.Millisecond
)

// remove kills what is left in the group, and removes it.
func (g *group) remove() error {
	// A kernel before 5.14 has no such file: what is left goes on, and the group stays until a later sweep.
	if f, err := os.OpenFile(filepath.Join(g.dir, "cgroup.kill"), os.O_WRONLY, 0); err == nil {
		_, err = f.WriteString("1")
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	var err error
	for range removeTries {
		if err = syscall.Rmdir(g.dir); !errors.Is(err, syscall.EBUSY) {
			break
		}
		time.Sleep(removeAgain)
	}
	if errors.Is(err, syscall.ENOENT) {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "rmdir", Path: g.dir, Err: err}
	}
	return nil
}

// sweep removes groups without processes that gateways which have ended left behind. A group whose adapter lives on stays.
func (p *place) sweep() {
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return // make reports it
	}
	for _, entry := range entries {
		rest, ours := strings.CutPrefix(entry.Name(), groupPrefix)
		number, _, _ := strings.Cut(rest, "-")
		pid, err := strconv.Atoi(number)
		if ours && err == nil && pid > 1 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = syscall.Rmdir(filepath.Join(p.dir, entry.Name())) // EBUSY: it is in use
		}
	}
}

// words reads a file of words.
func words(file string) ([]string, error) {
	text, err := os.ReadFile(file)
	return strings.Fields(string(text)), err
}
