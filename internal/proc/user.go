//go:build unix

package proc

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"
)

// LookupUser looks up a user and a group, each by name or by number, that processes are to run as. Without a group that
// is the user's own; the user's supplementary groups come along. It returns nil where neither is given. Only a process of
// root can start processes of other users, and root and its group are refused. An error begins with "user" or "group".
func LookupUser(name, group string) (*syscall.Credential, error) {
	switch {
	case name == "" && group == "":
		return nil, nil
	case name == "":
		return nil, errors.New("group: needs user")
	case os.Geteuid() != 0:
		return nil, errors.New("user: only a gateway that runs as root can run processes as another user")
	}
	c, known, err := userCredential(name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("user: %w", err)
	case group == "" && !known:
		return nil, fmt.Errorf("user: there is no user with the number %s, so group must be set", name)
	}
	if group != "" {
		if c.Gid, err = groupNumber(group); err != nil {
			return nil, fmt.Errorf("group: %w", err)
		}
	}
	switch {
	case c.Uid == 0:
		return nil, fmt.Errorf("user: %s is root, which is not allowed here", name)
	case c.Gid == 0 && group == "":
		return nil, fmt.Errorf("user: the group of %s is root's; set group", name)
	case c.Gid == 0:
		return nil, fmt.Errorf("group: %s is root's, which is not allowed here", group)
	case slices.Contains(c.Groups, 0):
		return nil, fmt.Errorf("user: %s is a member of root's group", name)
	}
	return c, nil
}

// userCredential finds a user by name, else by number. A number may be unknown to the system: such a user has no group.
func userCredential(name string) (c *syscall.Credential, known bool, err error) {
	u, err := user.Lookup(name)
	number, notNumber := strconv.ParseUint(name, 10, 32)
	if err != nil && notNumber == nil {
		if u, err = user.LookupId(name); errors.As(err, new(user.UnknownUserIdError)) {
			return &syscall.Credential{Uid: uint32(number)}, false, nil
		}
	}
	if err != nil {
		return nil, false, err
	}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, false, err
	}
	c = &syscall.Credential{}
	numbers := make([]uint32, 0, len(groups)+2)
	for _, id := range append([]string{u.Uid, u.Gid}, groups...) {
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return nil, false, err
		}
		numbers = append(numbers, uint32(n))
	}
	c.Uid, c.Gid, c.Groups = numbers[0], numbers[1], numbers[2:]
	return c, true, nil
}

// groupNumber finds a group by name, else by number.
func groupNumber(name string) (uint32, error) {
	g, err := user.LookupGroup(name)
	if err == nil {
		name = g.Gid
	}
	n, notNumber := strconv.ParseUint(name, 10, 32)
	if notNumber != nil {
		return 0, err
	}
	return uint32(n), nil
}
