package site

import (
	"errors"
	"os/user"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Identity looks User and Group up, by name or number; nil for what is not given.
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
				errs[0] = pagi.BadOption("user", "there is no user %q", s.User)
			}
		}
	}
	if s.Group != "" {
		var err error
		if g, err = user.LookupGroup(s.Group); err != nil {
			if g, err = user.LookupGroupId(s.Group); err != nil {
				errs[1] = pagi.BadOption("group", "there is no group %q", s.Group)
			}
		}
	}
	return u, g, errors.Join(errs[:]...)
}
