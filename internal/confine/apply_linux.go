package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	llsyscall "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// onLinux says whether limits and privileges can be set.
const onLinux = true

// selfProgram is this process's program, also where its file has been replaced.
const selfProgram = "/proc/self/exe"

// carryOut confines the calling thread and becomes the program once more. It returns only errors. The priority, the flag
// no_new_privs and the Landlock domain belong to a thread. Were each thread confined by itself, each would have a domain of
// its own, and none could trace or signal the children of another. Decision 29 says more.
func (o *order) carryOut() error {
	runtime.LockOSThread() // for good: it ends with the program
	if err := o.limit(); err != nil {
		return err
	}
	if o.FewCapabilities {
		if err := dropCapabilities(); err != nil {
			return err
		}
	}
	if o.NoNewPrivileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("no_new_privs: %w", err)
		}
	}
	if o.Landlock != nil {
		if err := o.Landlock.restrictThread(); err != nil {
			return err
		}
	}
	rest, err := json.Marshal(order{Lock: o.Lock, Done: true})
	if err != nil {
		return err
	}
	if err := os.Setenv(orderVariable, string(rest)); err != nil {
		return err
	}
	return fmt.Errorf("exec %s: %w", selfProgram, syscall.Exec(selfProgram, os.Args, os.Environ()))
}

// rootKeeps are the capabilities that an adapter of root keeps where its files are limited. With others root would reach
// around Landlock: it could read the memory of the kernel (SYS_RAWIO) and the environment of the gateway (PERFMON).
var rootKeeps = []uintptr{
	unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_KILL, unix.CAP_SETGID, unix.CAP_SETUID,
	unix.CAP_NET_BIND_SERVICE, unix.CAP_SYS_NICE, unix.CAP_SYS_RESOURCE,
}

// dropCapabilities takes all other capabilities from the bounding set of the calling thread. They are gone once it has
// become another program.
func dropCapabilities() error {
	for number := range uintptr(64) {
		if slices.Contains(rootKeeps, number) {
			continue
		}
		has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, number, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			return nil // the kernel knows no more
		}
		if err == nil && has == 1 {
			err = unix.Prctl(unix.PR_CAPBSET_DROP, number, 0, 0, 0)
		}
		if err != nil {
			return fmt.Errorf("drop capability %d: %w", number, err)
		}
	}
	return nil
}

// limit sets the limits that the process's children inherit.
func (o *order) limit() error {
	for _, limit := range []struct {
		name     string
		resource int
		value    int64
	}{
		{"process_memory", unix.RLIMIT_DATA, o.ProcessMemory},
		{"open_files", unix.RLIMIT_NOFILE, int64(o.OpenFiles)},
		{"processes", unix.RLIMIT_NPROC, int64(o.Processes)},
	} {
		if limit.value == 0 {
			continue
		}
		// syscall's function, not that of unix: it keeps the runtime from restoring RLIMIT_NOFILE at exec.
		value := syscall.Rlimit{Cur: uint64(limit.value), Max: uint64(limit.value)}
		if err := syscall.Setrlimit(limit.resource, &value); err != nil {
			return fmt.Errorf("%s %d: %w", limit.name, limit.value, err)
		}
	}
	if o.Nice == 0 {
		return nil
	}
	return renice(unix.PRIO_PROCESS, 0, o.Nice)
}

// renice adds to the priority value of this process that of which, within the range that there is.
func renice(which, who, add int) error {
	own, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // the system call shifts it to 1 to 40
	if err == nil {
		err = unix.Setpriority(which, who, max(-20, min(19, 20-own+add)))
	}
	if err != nil {
		return fmt.Errorf("nice %d: %w", add, err)
	}
	return nil
}

// lessNice sets the priority of all threads of an adapter, which leads a process group.
func lessNice(pid, add int) error { return renice(unix.PRIO_PGRP, pid, add) }

// mayBeLessNice reports whether this process has the capability SYS_NICE.
func mayBeLessNice() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_SYS_NICE) != 0
}

// isConfined reports whether a process has the flag no_new_privs, which Apply sets before Landlock.
func isConfined(pid int) (bool, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false, err
	}
	return strings.Contains(string(status), "\nNoNewPrivs:\t1\n"), nil
}

// landlockVersion returns the version of Landlock's interface, 0 where the kernel has none or it is off.
func landlockVersion() int {
	version, err := llsyscall.LandlockGetABIVersion()
	if err != nil {
		return 0
	}
	return version
}

// configs are what can be limited by version. Version 9 would limit connections to Unix sockets, for which the site file
// has no option.
var configs = []landlock.Config{landlock.V1, landlock.V2, landlock.V3, landlock.V4, landlock.V5, landlock.V6}

// loggingVersion is the version from which on the kernel's audit log has what a program was refused.
const loggingVersion = 7

// restrictThread makes the rules those of the calling thread.
func (r *landlockRules) restrictThread() error {
	config := configs[min(r.Version, len(configs))-1]
	var rules []landlock.Rule
	if r.Files {
		var err error
		if rules, err = r.fileRules(); err != nil {
			return err
		}
	} else {
		config.HandledAccessFS = 0
	}
	if r.Network {
		for _, port := range r.Ports.Connect {
			rules = append(rules, landlock.ConnectTCP(port))
		}
		for _, port := range r.Ports.Bind {
			rules = append(rules, landlock.BindTCP(port))
		}
	} else {
		config.HandledAccessNet = 0
	}
	if r.Version >= loggingVersion {
		config = config.EnableLoggingForSubprocesses()
	}
	set, flags, err := config.NewRulesetFD(rules...)
	if err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	defer func() { _ = unix.Close(set) }() // it was only a name for the rules
	if err := llsyscall.LandlockRestrictSelf(set, flags); err != nil {
		return fmt.Errorf("landlock_restrict_self: %w", err)
	}
	return nil
}

// fileRules are the rules for what the order lists, which must exist, and for what the system has of systemRead and
// systemWrite.
func (r *landlockRules) fileRules() ([]landlock.Rule, error) {
	rules := []landlock.Rule{landlock.ROFiles(selfProgram)}
	for _, list := range []struct {
		paths         []string
		write, listed bool
	}{{systemRead, false, false}, {systemWrite, true, false}, {r.Read, false, true}, {r.Write, true, true}} {
		for _, path := range list.paths {
			info, err := os.Stat(path)
			if err != nil {
				if list.listed {
					return nil, fmt.Errorf("the adapter's user cannot reach what the site lets it use: %w", err)
				}
				continue
			}
			rules = append(rules, r.fileRule(path, info.IsDir(), list.write))
		}
	}
	return rules, nil
}

func (r *landlockRules) fileRule(path string, isDir, write bool) landlock.Rule {
	switch {
	case isDir && write && r.Version >= 2: // files may be moved from one directory to another
		return landlock.RWDirs(path).WithRefer()
	case isDir && write:
		return landlock.RWDirs(path)
	case isDir:
		return landlock.RODirs(path)
	case write:
		return landlock.RWFiles(path)
	}
	return landlock.ROFiles(path)
}

// systemRead is what programs of a usual system need: programs, libraries, and of /etc what tells users, hosts, times,
// languages and certificates, without secrets. /proc is there for all, because a process can be granted its own directory
// only by its number, which is not known before. Landlock keeps the memory and the environment of others closed there.
var systemRead = []string{
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sys/devices/system/cpu", "/sys/kernel/mm/transparent_hugepage",
	"/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/perl",
	"/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/hosts", "/etc/host.conf", "/etc/hostname", "/etc/resolv.conf", "/etc/gai.conf",
	"/etc/services", "/etc/protocols", "/etc/localtime", "/etc/timezone", "/etc/locale.alias", "/etc/mime.types", "/etc/mailcap", "/etc/magic",
	"/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/ca-certificates", "/etc/pki/tls/certs", "/etc/pki/ca-trust",
}

// systemWrite are devices.
var systemWrite = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}
