//go:build linux && (amd64 || arm64 || riscv64)

package perlfork

import (
	"path/filepath"
	"regexp"
	"strings"
)

// stable matches the files below /proc, /sys and /dev that say the same to each process, and at all times. The times
// of most others do not tell when their content has changed.
var stable = regexp.MustCompile(`^(/proc/(filesystems|version|sys/vm/overcommit_memory|sys/kernel/cap_last_cap)` +
	`|/sys/devices/system/(cpu|node)(/(possible|online|has_cpu|has_memory|node[0-9]+(/(cpumap|cpulist|distance))?))?` +
	`|/sys/fs/selinux|/dev/(null|zero))$`)

// nodeMemory matches the files that tell how much memory of a node is free.
var nodeMemory = regexp.MustCompile(`^/sys/devices/system/node/node[0-9]+/meminfo$`)

// isTop reports whether a file is one of the directories that hold special files. Their entries change.
func isTop(name string) bool {
	clean := filepath.Clean(name)
	return clean == "/proc" || clean == "/sys" || clean == "/dev"
}

// special returns why a file must not be looked at, "" if it may be. The name of the file that a link leads to counts, too.
func special(name string) string {
	if why := specialName(name); why != "" {
		return why
	}
	if real, err := filepath.EvalSymlinks(name); err == nil && real != name {
		return specialName(real)
	}
	return ""
}

func specialName(name string) string {
	clean := filepath.Clean(name)
	switch top, _, _ := strings.Cut(strings.TrimPrefix(clean, "/"), "/"); {
	case top != "proc" && top != "sys" && top != "dev", isTop(clean), stable.MatchString(clean):
		return ""
	case nodeMemory.MatchString(clean):
		return looksAtMemory
	case clean == "/dev/urandom" || clean == "/dev/random":
		return usesRandom
	}
	return "it looks at " + clean
}
