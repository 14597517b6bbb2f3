//go:build unix

package cgi

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"
)

// setCredential looks User and Group up.
func (a *app) setCredential() error {
	switch {
	case a.User == "" && a.Group == "":
		return nil
	case a.User == "":
		return errors.New("group: needs user")
	case os.Geteuid() != 0:
		return errors.New("user: only a gateway that runs as root can run scripts as somebody else")
	}
	c, known, err := userCredential(a.User)
	switch {
	case err != nil:
		return fmt.Errorf("user: %w", err)
	case a.Group == "" && !known:
		return fmt.Errorf("user: there is no user with the number %s, so group must be set", a.User)
	}
	if a.Group != "" {
		if c.Gid, err = groupNumber(a.Group); err != nil {
			return fmt.Errorf("group: %w", err)
		}
	}
	switch {
	case c.Uid == 0:
		return fmt.Errorf("user: %s is root, as which no script is run by choice", a.User)
	case c.Gid == 0 && a.Group == "":
		return fmt.Errorf("user: the group of %s is root's; set group", a.User)
	case c.Gid == 0:
		return fmt.Errorf("group: %s is root's, with which no script is run by choice", a.Group)
	case slices.Contains(c.Groups, 0):
		return fmt.Errorf("user: %s is a member of root's group", a.User)
	}
	a.credential = c
	return nil
}

// userCredential finds a user by name, else by number. A number may be unknown to the
// system: it has no group then.
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
