package site

import (
	"errors"
	"os/user"
	"strconv"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Identity looks User and Group up, by name or number. It returns nil for one that is not set.
func (s *Settings) Identity() (*user.User, *user.Group, error) {
	var (
		errs [2]error
		u    *user.User
		g    *user.Group
	)
	if s.User != "" {
		var err error
		if u, err = user.Lookup(s.User); err != nil {
			if u, err = user.LookupId(s.User); err != nil {
				u, errs[0] = s.unknownUser()
			}
		}
	}
	if s.Group != "" {
		var err error
		if g, err = user.LookupGroup(s.Group); err != nil {
			if g, err = user.LookupGroupId(s.Group); err != nil {
				g = &user.Group{Gid: s.Group}
				if !isNumber(s.Group) {
					errs[1] = pagi.BadOption("group", "there is no group %q", s.Group)
				}
			}
		}
	}
	return u, g, errors.Join(errs[:]...)
}

// unknownUser returns a user by number for whom the system has no entry, as in a container.
func (s *Settings) unknownUser() (*user.User, error) {
	switch {
	case !isNumber(s.User):
		return nil, pagi.BadOption("user", "there is no user %q", s.User)
	case s.Group == "":
		return nil, pagi.BadOption("user", "user %s has no entry in the user database, and so no group; set group, too", s.User)
	}
	return &user.User{Uid: s.User}, nil
}

func isNumber(s string) bool {
	n, err := strconv.ParseInt(s, 10, 32)
	return err == nil && n >= 0
}
