//go:build unix

package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/private"
	"github.com/pagi-go/pagi-bridge/internal/proc"
)

// Needs are files and directories that an adapter has to reach besides those of its Isolation: the applications of its
// mounts, their modules, the directory of its sockets. They count where Landlock limits files. All must exist.
type Needs struct{ Read, Write []string }

// Plan is an adapter's confinement. It belongs to the gateway. Its methods are not for concurrent use.
type Plan struct {
	applied, missing []string

	state    State
	tmp      *private.Dir
	starting []*os.File // what must stay open until the adapter has started
	confined bool       // the adapter has an order to carry out
	nice     int        // what the adapter cannot set itself
}

// State is what another gateway needs to know to take the adapter over.
type State struct {
	// Group is the directory of the adapter's control group, "" where it has none.
	Group string `json:"group,omitzero"`
	// Memory is the limit of the group.
	Memory int64 `json:"memory,omitzero"`
	// Killed is how many processes the kernel has killed for that limit, as far as Ended has told.
	Killed int `json:"killed,omitzero"`
	// TempDir is the directory that is to be removed at the adapter's end.
	TempDir string `json:"temp_dir,omitzero"`
}

// system is what the machine has. A test replaces it.
type system struct {
	landlock func() int // the version of its interface, 0 for none
	place    func() (*place, error)
	lessNice func() bool
}

var thisSystem = system{landlock: landlockVersion, place: findPlace, lessNice: mayBeLessNice}

// Prepare changes cmd, which has not been started, so that it starts an adapter within the Isolation. cmd must not set
// SysProcAttr.Credential. The variables in cmd.Env are the adapter's own; those of the gateway that come along are put
// before them. The program must call Apply.
//
// An error begins with an option's name. It may be that the system lacks what Require lists. After an error nothing is left.
// Otherwise Close must be called at the adapter's end.
//
// The user must be able to run cmd.Path. "/proc/self/exe" is the gateway's program even where directories above it are
// closed to the user.
func (i Isolation) Prepare(cmd *exec.Cmd, needs Needs) (*Plan, error) {
	return i.prepare(thisSystem, cmd, needs)
}

func (i Isolation) prepare(sys system, cmd *exec.Cmd, needs Needs) (*Plan, error) {
	if err := i.Check(); err != nil {
		return nil, err
	}
	if i.IsNone() {
		return nil, option.Wrong("name", "none has no adapter")
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	proc.HideInherited() // the gateway's sockets and files are not the adapter's
	p := &Plan{}
	if i.AsksNothing() {
		return p, nil
	}
	b := &builder{Isolation: i, Plan: p, system: sys, cmd: cmd}
	for _, step := range []func() error{b.setUser, b.setGroup, b.setLimits, b.setNice, b.setTmp, b.setPrivileges, func() error { return b.setFiles(needs) }, b.setEnvironment} {
		if err := step(); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	return p, nil
}

// Applied says what the adapter is held to, one option an entry, in the words of the site file.
func (p *Plan) Applied() []string { return p.applied }

// Missing says what the system lacks and the adapter therefore runs without, one line an option.
func (p *Plan) Missing() []string { return p.missing }

// Started is called with the adapter's process number once the adapter has answered, which it does only after Apply. The
// error says that the adapter is not confined; the caller has to end it then.
func (p *Plan) Started(pid int) error {
	p.release()
	if p.confined {
		done, err := isConfined(pid)
		if err != nil {
			return err
		}
		if !done {
			return errors.New("the adapter has not confined itself: its program does not call confine.Apply, or has lost the variable " + orderVariable)
		}
	}
	if p.nice != 0 {
		return lessNice(pid, p.nice)
	}
	return nil
}

// release closes what had to be open until the adapter has started.
func (p *Plan) release() {
	for _, f := range p.starting {
		_ = f.Close() // nothing was written
	}
	p.starting = nil
}

// Ended completes the words for how a process of the adapter ended, "signal: killed", with the reason where that is the
// memory limit. It is called once for each end.
func (p *Plan) Ended(how string) string {
	if p.state.Group == "" {
		return how
	}
	killed := (&group{p.state.Group}).killed()
	if killed <= p.state.Killed {
		return how
	}
	p.state.Killed = killed
	return how + ", by the kernel for the memory limit of " + sizeWords(p.state.Memory)
}

// Close is called when the adapter has ended. It kills what the adapter has left behind in its control group, and removes
// its group and its directory of temporary files. A second Close does nothing.
func (p *Plan) Close() error {
	p.release()
	var errs []error
	if p.state.Group != "" {
		errs = append(errs, (&group{p.state.Group}).remove())
	}
	switch {
	case p.tmp != nil:
		errs = append(errs, p.tmp.Remove())
	case p.state.TempDir != "":
		errs = append(errs, os.RemoveAll(p.state.TempDir))
	}
	p.tmp, p.state = nil, State{}
	return errors.Join(errs...)
}

// State returns what Resume needs. A gateway that hands its adapter over to another one does not call Close.
func (p *Plan) State() State { return p.state }

// GivenDir returns the directory, the gateway's own, for files that the gateway gives to the adapter; "" without PrivateTmp:
// then any directory for temporary files will do.
func (p *Plan) GivenDir() string {
	if p.state.TempDir == "" {
		return ""
	}
	return filepath.Join(p.state.TempDir, "given")
}

// Resume returns the plan of an adapter that another gateway has started, for Ended and Close.
func Resume(s State) *Plan { return &Plan{state: s} }

// sizeWords writes a number of bytes as a site file has it.
func sizeWords(n int64) string {
	for _, unit := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= unit.size && n%unit.size == 0 {
			return strconv.FormatInt(n/unit.size, 10) + unit.name
		}
	}
	return strconv.FormatInt(n, 10) + " bytes"
}

// builder fills a Plan.
type builder struct {
	Isolation
	*Plan
	system
	cmd   *exec.Cmd
	order order
	env   []string // variables that the confinement sets
	tmpIn string   // the directory of temporary files, "" for that of the gateway
}

func (b *builder) does(format string, args ...any) {
	b.applied = append(b.applied, fmt.Sprintf(format, args...))
}

// lacks notes that the system lacks a feature for an option. instead says what the adapter does. It is an error where the
// site requires the feature.
func (b *builder) lacks(feature, name string, why error, instead string) error {
	if b.requires(feature) {
		return option.Wrong(name, "the system lacks what it needs, and the site requires %s: %w", feature, why)
	}
	b.missing = append(b.missing, fmt.Sprintf("%s: %v; %s", name, why, instead))
	return nil
}

const runsWithout = "the adapter runs without it"

func (b *builder) setUser() error {
	if b.User == "" {
		return nil
	}
	if b.cmd.SysProcAttr.Credential != nil {
		return option.Wrong("user", "the command has a user already")
	}
	if own, err := user.Current(); err == nil && os.Geteuid() != 0 && b.Group == "" && b.SupplementaryGroups == nil && (b.User == own.Username || b.User == own.Uid) {
		b.does("user %s", b.User)
		return nil // it is this one
	}
	c, err := b.Credential()
	if err != nil {
		return err
	}
	b.cmd.SysProcAttr.Credential = c
	home := "/"
	if u, err := user.LookupId(strconv.FormatUint(uint64(c.Uid), 10)); err == nil {
		b.env = append(b.env, "USER="+u.Username, "LOGNAME="+u.Username)
		home = u.HomeDir
	}
	b.env = append(b.env, "HOME="+home)
	b.does("user %d, group %d, supplementary groups %v", c.Uid, c.Gid, c.Groups)
	return nil
}

// Credential returns the user and the groups of the adapter; nil for those of this process.
func (i Isolation) Credential() (*syscall.Credential, error) {
	if i.User == "" {
		return nil, nil
	}
	c, err := proc.LookupUser(i.User, i.Group)
	if err != nil {
		return nil, err
	}
	c.Groups = []uint32{} // those of the gateway and those listed for the user do not come along
	for _, name := range i.SupplementaryGroups {
		other, err := proc.LookupUser(i.User, name)
		if err != nil {
			return nil, option.Wrong("supplementary_groups", "%w", err)
		}
		c.Groups = append(c.Groups, other.Gid)
	}
	return c, nil
}

// uid is the user of the adapter.
func (b *builder) uid() int {
	if c := b.cmd.SysProcAttr.Credential; c != nil {
		return int(c.Uid)
	}
	return os.Geteuid()
}

// setGroup makes the control group. Limits that need a controller which is not there fall back to those of processes.
func (b *builder) setGroup() error {
	percent, err := b.cpuPercent()
	if err != nil {
		return option.Wrong("cpu", "%w", err)
	}
	limits := groupLimits{memory: b.Memory, cpuPercent: percent, processes: b.Processes}
	if !limits.isSet() {
		return nil
	}
	needed := limits.controllers()
	failed := map[string]error{}
	where, err := b.place()
	if err == nil {
		byController := where.enable(sortedValues(needed))
		for name, controller := range needed {
			if err := byController[controller]; err != nil {
				failed[name] = err
			}
		}
	} else {
		for name := range needed {
			failed[name] = err
		}
	}
	for _, name := range sortedKeys(failed) {
		if err := b.lacks(featureCgroup, name, failed[name], b.insteadOf(name)); err != nil {
			return err
		}
	}
	limits = limits.without(sortedKeys(failed))
	if !limits.isSet() {
		return nil
	}
	g, err := where.make(limits)
	if err != nil {
		return fmt.Errorf("isolate: make a control group: %w", err)
	}
	b.state.Group, b.state.Memory = g.dir, limits.memory
	dir, err := g.startIn(b.cmd)
	if err != nil {
		return err
	}
	b.starting = append(b.starting, dir)
	b.does("control group %s with memory %d, cpu %d%%, processes %d (0: no limit)", g.dir, limits.memory, limits.cpuPercent, limits.processes)
	return nil
}

// insteadOf limits processes where there is no control group for an option, and says so.
func (b *builder) insteadOf(name string) string {
	switch {
	case !onLinux:
	case name == "memory":
		size := max(b.Memory, minProcessMemory)
		if b.ProcessMemory == 0 || b.ProcessMemory > size {
			b.ProcessMemory = size
		}
		return "each process is limited to " + sizeWords(b.ProcessMemory) + " instead of all together"
	case name == "processes" && b.uid() != 0:
		b.order.Processes = b.Processes
		return "the limit counts all processes of the user instead"
	}
	return runsWithout
}

func (b *builder) setLimits() error {
	for _, limit := range []struct {
		name  string
		value int64
	}{{"process_memory", b.ProcessMemory}, {"open_files", int64(b.OpenFiles)}} {
		switch {
		case limit.value == 0:
		case !onLinux:
			if err := b.lacks(featureAll, limit.name, errors.New("limits of processes are there on Linux only"), runsWithout); err != nil {
				return err
			}
		default:
			b.does("%s %d", limit.name, limit.value)
		}
	}
	b.order.ProcessMemory, b.order.OpenFiles = b.ProcessMemory, b.OpenFiles
	return nil
}

func (b *builder) setNice() error {
	switch {
	case b.Nice == 0:
		return nil
	case !onLinux:
		return b.lacks(featureNice, "nice", errors.New("it is there on Linux only"), runsWithout)
	case b.Nice < 0 && !b.lessNice():
		return b.lacks(featureNice, "nice", errors.New("a negative value needs the capability SYS_NICE"), runsWithout)
	case b.Nice < 0:
		b.nice = b.Nice
	default:
		b.order.Nice = b.Nice
	}
	b.does("nice %d", b.Nice)
	return nil
}

// setTmp makes the directory of temporary files inside one of the gateway's own, which no other user can replace. The
// adapter inherits its lock, so that a sweep leaves it alone when the gateway has died before the adapter.
func (b *builder) setTmp() error {
	if !b.PrivateTmp {
		return nil
	}
	outer, err := private.Make("tmp")
	if err != nil {
		return option.Wrong("private_tmp", "%w", err)
	}
	b.tmp, b.state.TempDir = outer, outer.Path()
	b.tmpIn = filepath.Join(outer.Path(), "tmp")
	err = os.Mkdir(b.tmpIn, 0o700)
	err = errors.Join(err, os.Mkdir(b.GivenDir(), 0o711))
	if c := b.cmd.SysProcAttr.Credential; err == nil && c != nil {
		err = errors.Join(os.Chown(b.tmpIn, int(c.Uid), int(c.Gid)), os.Chmod(outer.Path(), 0o711), os.Chmod(b.GivenDir(), 0o711))
	}
	if err != nil {
		return option.Wrong("private_tmp", "%w", err)
	}
	b.cmd.ExtraFiles = append(b.cmd.ExtraFiles, outer.Lock())
	b.order.Lock = 2 + len(b.cmd.ExtraFiles)
	b.env = append(b.env, "TMPDIR="+b.tmpIn)
	b.does("private_tmp %s", b.tmpIn)
	return nil
}

func (b *builder) setPrivileges() error {
	if !b.noNewPrivileges() {
		return nil
	}
	if !onLinux {
		if b.NoNewPrivileges == nil {
			return nil // it was not asked for
		}
		return b.lacks(featureAll, "no_new_privileges", errors.New("it is there on Linux only"), runsWithout)
	}
	b.order.NoNewPrivileges = true
	b.does("no_new_privileges")
	return nil
}

// Versions of Landlock's interface. The first network rules came with Linux 6.7.
const (
	landlockFirst   = 1
	landlockNetwork = 4
)

// setFiles gives the order its Landlock rules.
func (b *builder) setFiles(needs Needs) error {
	if !b.wantsLandlock() {
		return nil
	}
	version := b.landlock()
	rules := &landlockRules{Version: version}
	if b.limitsFiles() {
		name := "read"
		if b.Read == nil {
			name = "write"
		}
		if version < landlockFirst {
			if err := b.lacks(featureLandlock, name, errNoLandlock, "the adapter reads and writes what its user may"); err != nil {
				return err
			}
		} else {
			rules.Files = true
			b.order.FewCapabilities = b.uid() == 0
			rules.Read = slices.Concat(needs.Read, b.Read)
			rules.Write = slices.Concat(needs.Write, b.Write)
			if b.PrivateTmp {
				rules.Write = append(rules.Write, b.tmpIn)
				rules.Read = append(rules.Read, b.GivenDir())
			} else {
				rules.Write = append(rules.Write, b.gatewayTmp())
			}
			if b.state.Group != "" {
				rules.Read = append(rules.Read, b.state.Group)
			}
			if err := mustExist(rules.Read, rules.Write); err != nil {
				return option.Wrong(name, "%w", err)
			}
			b.does("read %v, write %v", rules.Read, rules.Write)
		}
	}
	if b.Network != nil {
		if version < landlockNetwork {
			if err := b.lacks(featureLandlock, "network", fmt.Errorf("it needs version %d of Landlock's interface (Linux 6.7), the system has %d", landlockNetwork, version), "the adapter uses the network as it likes"); err != nil {
				return err
			}
		} else {
			allowed, err := b.ports()
			if err != nil {
				return option.Wrong("network", "%w", err)
			}
			rules.Network, rules.Ports = true, allowed
			b.does("network %v", b.Network)
		}
	}
	if rules.Files || rules.Network {
		b.order.Landlock = rules
	}
	return nil
}

// errNoLandlock is why no files can be limited.
var errNoLandlock = errors.New("the kernel has no Landlock, or it is not among the LSMs that are on (Linux 5.13, lsm=landlock)")

func mustExist(lists ...[]string) error {
	for _, path := range slices.Concat(lists...) {
		if _, err := os.Stat(path); err != nil {
			return err
		}
	}
	return nil
}

// gatewayTmp is the directory of temporary files that the adapter has without a private one.
func (b *builder) gatewayTmp() string {
	if dir, ok := lookup(b.cmd.Env, "TMPDIR"); ok && dir != "" {
		return dir
	}
	if slices.ContainsFunc(slices.Concat(DefaultEnv, b.PassEnv), func(pattern string) bool { return passes(pattern, "TMPDIR") }) {
		return os.TempDir()
	}
	return "/tmp"
}

func (b *builder) setEnvironment() error {
	own := slices.Concat(b.cmd.Env, b.env)
	if b.order != (order{}) {
		b.order.Done = b.order == (order{Lock: b.order.Lock})
		text, err := json.Marshal(b.order)
		if err != nil {
			return err
		}
		own = append(own, orderVariable+"="+string(text))
		b.confined = b.order.NoNewPrivileges
	}
	b.cmd.Env = environment(os.Environ(), slices.Concat(DefaultEnv, b.PassEnv), own)
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func sortedValues(m map[string]string) []string {
	values := make([]string, 0, len(m))
	for _, value := range m {
		values = append(values, value)
	}
	slices.Sort(values)
	return values
}
