package command

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"github.com/pagi-go/pagi-bridge/site"
)

// identity is the user and the group to become.
type identity struct {
	uid, gid   int
	groups     []int
	name, home string
}

// identityOf returns the identity of the settings, nil if they have none.
func identityOf(s *site.Settings) (*identity, error) {
	u, g, err := s.Identity()
	if err != nil || u == nil && g == nil {
		return nil, err
	}
	id := &identity{uid: os.Getuid(), gid: os.Getgid()}
	if u != nil {
		if err := id.take(u); err != nil {
			return nil, fmt.Errorf("user: %w", err)
		}
	}
	if g != nil {
		if id.gid, err = strconv.Atoi(g.Gid); err != nil {
			return nil, fmt.Errorf("group: %w", err)
		}
		if u == nil || u.Gid == "" {
			id.groups = []int{id.gid}
		}
	}
	if os.Geteuid() != 0 && (id.uid != os.Getuid() || id.gid != os.Getgid()) {
		return nil, fmt.Errorf("user: only root can become another user or group")
	}
	return id, nil
}

func (id *identity) take(u *user.User) (err error) {
	id.name, id.home = u.Username, u.HomeDir
	if id.uid, err = strconv.Atoi(u.Uid); err != nil {
		return err
	}
	if u.Gid == "" { // a user given by number, of whom nothing else is known
		id.name, id.home = u.Uid, "/"
		return nil
	}
	if id.gid, err = strconv.Atoi(u.Gid); err != nil {
		return err
	}
	groups, err := u.GroupIds()
	if err != nil {
		return err
	}
	for _, text := range groups {
		gid, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		id.groups = append(id.groups, gid)
	}
	return nil
}

// become changes this process to the user and the group, for good. A process that replaces another
// one already has that user, but still the environment from before the change.
func (id *identity) become(setenv func(name, value string) error) error {
	if id == nil {
		return nil
	}
	if os.Geteuid() == 0 {
		if err := id.drop(); err != nil {
			return err
		}
	}
	if id.name == "" {
		return nil
	}
	for name, value := range map[string]string{"USER": id.name, "LOGNAME": id.name, "HOME": id.home} {
		if err := setenv(name, value); err != nil {
			return fmt.Errorf("user: %w", err)
		}
	}
	return nil
}

// drop gives up being root.
func (id *identity) drop() error {
	if err := syscall.Setgroups(id.groups); err != nil {
		return fmt.Errorf("group: setgroups: %w", err)
	}
	if err := syscall.Setgid(id.gid); err != nil {
		return fmt.Errorf("group: setgid %d: %w", id.gid, err)
	}
	if err := syscall.Setuid(id.uid); err != nil {
		return fmt.Errorf("user: setuid %d: %w", id.uid, err)
	}
	return nil
}
