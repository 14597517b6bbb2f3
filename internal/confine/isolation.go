// Package confine keeps an adapter, a process of the gateway that runs code of other people, from what it has no business
// with: files, memory, processors and privileges of its neighbours and of the gateway.
//
// The gateway asks an Isolation for a Plan before it starts the adapter. The adapter calls Apply as the first thing in main.
// Everything that the adapter starts is confined as it is.
//
//	gateway                                       adapter
//	plan, err := isolation.Prepare(cmd, needs)
//	cmd.Start                           ------>   confine.Apply
//	(its handshake)                     <------   serves
//	plan.Started(cmd.Process.Pid)
//	cmd.Wait
//	plan.Ended("signal: killed")
//	plan.Close
//
// The files: isolation.go has the options; plan.go is the gateway's side, environment.go the variables that come along,
// cgroup.go control groups; apply.go is the adapter's side, landlock_linux.go its rules; perl.go tells where a Perl has its
// modules.
package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/nearest"
	"github.com/pagi-go/pagi-bridge/internal/option"
)

// Isolation says what an adapter may do. The zero value asks for nothing. Mounts whose Isolations have the same Key share
// one adapter.
type Isolation struct {
	// Name sets the mounts that name it apart from others with the same options: they have an adapter of their own. "none"
	// keeps a mount in the gateway's process, and goes with no other option.
	Name string `yaml:"name"`
	// User is as whom the adapter runs, by name or number. Only a gateway of root can choose one other than its own. Root
	// is refused.
	User string `yaml:"user"`
	// Group is its group, by name or number. The default is the user's own. A user without an entry in the system's list
	// needs it. It goes with User.
	Group string `yaml:"group"`
	// SupplementaryGroups are its further groups. Those that the system lists for the user do not come along. It goes with User.
	SupplementaryGroups []string `yaml:"supplementary_groups"`

	// Memory is how many bytes the adapter and all that it starts may have together, at least 32 MiB; it cannot be swapped
	// out. 0 means no limit. The kernel kills one of the processes that need more. It takes cgroup v2. Without it each
	// process is held to this size, or to 256 MiB where that is more (RLIMIT_DATA).
	Memory int64 `yaml:"memory" unit:"bytes"`
	// CPU is the share of processor time of all of them together: "150%" is one processor and a half. "" means no
	// limit. It takes cgroup v2.
	CPU string `yaml:"cpu"`
	// Processes is how many processes and threads there may be of all of them together, at least 32. 0 means no limit. It takes
	// cgroup v2. Without it the limit counts all processes of User (RLIMIT_NPROC).
	Processes int `yaml:"processes"`

	// ProcessMemory is how many bytes of memory of its own each process may have (RLIMIT_DATA), at least 256 MiB. 0
	// means no limit.
	ProcessMemory int64 `yaml:"process_memory" unit:"bytes"`
	// OpenFiles is how many descriptors each process may have (RLIMIT_NOFILE), at least 64. 0 means the gateway's limit.
	OpenFiles int `yaml:"open_files"`
	// Nice is added to the priority value, -20 to 19. A negative one needs the capability SYS_NICE.
	Nice int `yaml:"nice" negative:"yes"`

	// NoNewPrivileges keeps setuid and setgid programs, and those with file capabilities, from giving their privileges.
	// It is on where any option is set, unless this is false. Linux only.
	NoNewPrivileges *bool `yaml:"no_new_privileges"`
	// PrivateTmp gives the adapter a directory of its own for temporary files (TMPDIR, mode 0700), which is removed at its end.
	PrivateTmp bool `yaml:"private_tmp"`
	// PassEnv are variables of the gateway that come along besides those of DefaultEnv. "PERL*" stands for all that begin so,
	// "*" for all. It counts where any option is set: an Isolation that asks for nothing keeps all variables.
	PassEnv []string `yaml:"pass_env"`

	// Read are the files and directories that the adapter may read and execute, absolute names, besides those of the system
	// and of its mounts. Where neither Read nor Write is set, it reads and writes what its user may. It takes Landlock.
	Read []string `yaml:"read" path:"yes"`
	// Write are the files and directories that it may also write, besides its directory of temporary files. It takes Landlock.
	Write []string `yaml:"write" path:"yes"`
	// Network are the TCP ports that it may connect to, "5432", or listen at, "bind:8080"; "none" allows none. Nil means
	// any. Unix sockets and UDP are not limited. It takes Landlock of Linux 6.7.
	Network []string `yaml:"network"`

	// Require lists what the system must have, "cgroup", "landlock", "nice" or "all". A gateway that lacks it refuses to
	// start the adapter. Otherwise the adapter runs without, and the log says so.
	Require []string `yaml:"require"`
}

// None is the Name that keeps a mount in the gateway's process.
const None = "none"

// Features of the system in Isolation.Require.
const (
	featureCgroup   = "cgroup"
	featureLandlock = "landlock"
	featureNice     = "nice"
	featureAll      = "all"
)

// The least values that leave the adapter itself, a Go program, room to work.
const (
	minMemory        = 32 << 20
	minProcessMemory = 256 << 20 // an idle gateway of Go has mapped 126 MiB
	minProcesses     = 32
	minOpenFiles     = 64
)

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// IsNone reports whether the mount stays in the gateway's process.
func (i Isolation) IsNone() bool { return i.Name == None }

// AsksNothing reports whether no option is set that takes something from the adapter.
func (i Isolation) AsksNothing() bool {
	i.Name, i.Require = "", nil
	if i.NoNewPrivileges != nil && !*i.NoNewPrivileges {
		i.NoNewPrivileges = nil
	}
	return reflect.ValueOf(i).IsZero()
}

// Key is the same text for Isolations that mean the same.
func (i Isolation) Key() string {
	if i.NoNewPrivileges != nil {
		alone := i
		alone.NoNewPrivileges = nil
		if alone.AsksNothing() != *i.NoNewPrivileges { // it says what is so without it
			i = alone
		}
	}
	if percent, err := i.cpuPercent(); err == nil && i.CPU != "" {
		i.CPU = strconv.Itoa(percent) + "%"
	}
	i.SupplementaryGroups = set(i.SupplementaryGroups)
	i.PassEnv, i.Network, i.Require = set(i.PassEnv), set(i.Network), set(i.Require)
	i.Read, i.Write = set(cleaned(i.Read)), set(cleaned(i.Write))
	text, err := json.Marshal(i)
	if err != nil {
		panic("confine: Isolation has a field that JSON has no form for: " + err.Error())
	}
	return string(text)
}

// set returns the texts in order and without repetitions. Nil stays nil.
func set(texts []string) []string {
	if texts == nil {
		return nil
	}
	sorted := append([]string{}, texts...)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

func cleaned(paths []string) []string {
	if paths == nil {
		return nil
	}
	clean := make([]string, len(paths))
	for n, path := range paths {
		clean[n] = filepath.Clean(path)
	}
	return clean
}

// Check reports options that cannot work on any system. Each error begins with the option's name in a site file.
func (i Isolation) Check() error {
	errs := []error{option.CheckSigns(&i)}
	wrong := func(is bool, name, format string, args ...any) {
		if is {
			errs = append(errs, option.Wrong(name, format, args...))
		}
	}
	least := func(value, least int64, name, words string) {
		wrong(value > 0 && value < least, name, "must be at least %s: the adapter itself needs that", words)
	}
	wrong(i.IsNone() && (!i.AsksNothing() || i.Require != nil), "name", "none goes with no other option")
	wrong(i.Name != "" && !nameForm.MatchString(i.Name), "name", "must be letters, digits, dots, hyphens and underscores, is %q", i.Name)
	wrong(i.User == "" && i.Group != "", "group", "needs user")
	wrong(i.User == "" && i.SupplementaryGroups != nil, "supplementary_groups", "needs user")
	least(i.Memory, minMemory, "memory", "32MiB")
	least(i.ProcessMemory, minProcessMemory, "process_memory", "256MiB")
	least(int64(i.Processes), minProcesses, "processes", "32")
	least(int64(i.OpenFiles), minOpenFiles, "open_files", "64")
	wrong(i.Nice < -20 || i.Nice > 19, "nice", "must be from -20 to 19, is %d", i.Nice)
	if _, err := i.cpuPercent(); err != nil {
		errs = append(errs, option.Wrong("cpu", "%w", err))
	}
	if _, err := i.ports(); err != nil {
		errs = append(errs, option.Wrong("network", "%w", err))
	}
	wrong(i.wantsLandlock() && !i.noNewPrivileges(), "no_new_privileges", "read, write and network need it")
	for _, list := range []struct {
		name  string
		paths []string
	}{{"read", i.Read}, {"write", i.Write}} {
		for _, path := range list.paths {
			wrong(!filepath.IsAbs(path), list.name, "must be absolute names, %q is none", path)
		}
	}
	for _, pattern := range i.PassEnv {
		wrong(pattern == "" || strings.ContainsAny(pattern, "=\x00") || strings.Contains(strings.TrimSuffix(pattern, "*"), "*"),
			"pass_env", "must be names of variables, or their beginnings with a * behind, %q is none", pattern)
	}
	features := []string{featureCgroup, featureLandlock, featureNice, featureAll}
	for _, feature := range i.Require {
		wrong(!slices.Contains(features, feature), "require", "must be %s; %q is none%s",
			strings.Join(features, ", "), feature, nearest.Suggestion(feature, "", features))
	}
	return errors.Join(errs...)
}

// noNewPrivileges reports whether the adapter and its children are kept from gaining privileges.
func (i Isolation) noNewPrivileges() bool {
	return !i.AsksNothing() && (i.NoNewPrivileges == nil || *i.NoNewPrivileges)
}

func (i Isolation) limitsFiles() bool { return i.Read != nil || i.Write != nil }

func (i Isolation) wantsLandlock() bool { return i.limitsFiles() || i.Network != nil }

func (i Isolation) requires(feature string) bool {
	return slices.Contains(i.Require, feature) || slices.Contains(i.Require, featureAll)
}

// cpuPercent is 0 where there is no limit.
func (i Isolation) cpuPercent() (int, error) {
	if i.CPU == "" {
		return 0, nil
	}
	number, isShare := strings.CutSuffix(i.CPU, "%")
	percent, err := strconv.Atoi(strings.TrimSpace(number))
	if !isShare || err != nil || percent < 1 || percent > 1_000_000 {
		return 0, fmt.Errorf("must be a share of a processor, as 50%% or 200%%, is %q", i.CPU)
	}
	return percent, nil
}

// ports are the TCP ports that an adapter may use.
type ports struct{ Connect, Bind []uint16 }

func (i Isolation) ports() (ports, error) {
	var all ports
	for _, text := range i.Network {
		if text == None {
			if len(i.Network) > 1 {
				return ports{}, errors.New("none goes with no other value")
			}
			continue
		}
		number, isBind := strings.CutPrefix(text, "bind:")
		port, err := strconv.ParseUint(number, 10, 16)
		if err != nil || port == 0 {
			return ports{}, fmt.Errorf("must be none, or ports as 443 and bind:8080, is %q", text)
		}
		if isBind {
			all.Bind = append(all.Bind, uint16(port))
		} else {
			all.Connect = append(all.Connect, uint16(port))
		}
	}
	return all, nil
}
