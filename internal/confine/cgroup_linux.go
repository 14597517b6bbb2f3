package confine

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// findPlace finds where this process may make control groups.
func findPlace() (*place, error) {
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer mounts.Close() // opened for reading
	mount, root := cgroupMount(mounts)
	if mount == "" {
		return nil, errors.New("cgroup v2 is not mounted")
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	systemd := exists("/run/systemd/system")
	return choosePlace(mount, ownGroup(string(own), mount, root), os.Geteuid() == 0, systemd, isDelegated)
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// cgroupMount returns where cgroup v2 is mounted, and which of its groups is at the top there.
func cgroupMount(mountinfo *os.File) (mount, root string) {
	// 35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw
	for lines := bufio.NewScanner(mountinfo); lines.Scan(); {
		before, after, _ := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(before)
		if strings.HasPrefix(after, "cgroup2 ") && len(fields) > 4 {
			return fields[4], fields[3]
		}
	}
	return "", ""
}

// ownGroup returns the directory of the group whose processes have the given /proc/self/cgroup.
func ownGroup(procCgroup, mount, root string) string {
	for line := range strings.Lines(procCgroup) {
		if path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			// "/../" begins a group outside of this name space.
			if below, err := filepath.Rel(root, path); err == nil && filepath.IsLocal(below) && !strings.HasPrefix(path, "/../") {
				return filepath.Join(mount, below)
			}
		}
	}
	return mount
}

// choosePlace returns the group that was delegated to this process. Where systemd does not run, root uses its own group or
// the one at the top.
func choosePlace(mount, own string, isRoot, systemd bool, delegated func(dir string) bool) (*place, error) {
	if filepath.Base(own) == gatewayLeaf { // an earlier gateway has moved there, and this one is its child
		own = filepath.Dir(own)
	}
	var dirs []string
	for dir := own; strings.HasPrefix(dir, mount); dir = filepath.Dir(dir) {
		if delegated(dir) {
			dirs = append(dirs, dir)
		}
		if dir == mount || len(dirs) > 0 {
			break
		}
	}
	switch {
	case len(dirs) > 0:
	case systemd:
		return nil, errors.New("systemd has not delegated a control group to the gateway (Delegate=yes and ProtectControlGroups=no in its unit)")
	case isRoot:
		dirs = []string{mount}
	default:
		dirs = []string{own}
	}
	switch err := unix.Access(dirs[0], unix.W_OK); {
	case errors.Is(err, unix.EROFS) && systemd:
		return nil, fmt.Errorf("the gateway may not make control groups in %s: %w (ProtectControlGroups=no in its unit)", dirs[0], err)
	case err != nil:
		return nil, fmt.Errorf("the gateway may not make control groups in %s: %w", dirs[0], err)
	}
	return &place{dirs[0]}, nil
}

// isDelegated reports whether systemd has marked a group as delegated.
func isDelegated(dir string) bool {
	for _, name := range []string{"trusted.delegate", "user.delegate"} {
		value := make([]byte, 8)
		if n, err := unix.Getxattr(dir, name, value); err == nil && string(value[:n]) == "1" {
			return true
		}
	}
	return false
}

// startIn has cmd start inside the group. The returned file must stay open until the command has started.
func (g *group) startIn(cmd *exec.Cmd) (*os.File, error) {
	dir, err := os.OpenFile(g.dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	return dir, nil
}
