//go:build unix

package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// explain completes the error of a start that has failed for a path: the system has the same words for the directory and
// for the program, and names neither. A process of another user cannot be explained from here.
func (s Spec) explain(err error) error {
	if s.Profile.User() != nil || !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if s.Dir != "" {
		if where, why := blocked(s.Dir, unix.X_OK); why != nil {
			return fmt.Errorf("user %s cannot enter the directory %s: %w", ownName(), where, why)
		}
	}
	if where, why := blocked(s.Path, unix.X_OK); why != nil {
		return fmt.Errorf("user %s cannot run %s: %w", ownName(), where, why)
	}
	return err
}

// blocked returns the first directory on the way to path that this process cannot enter, or path itself if that cannot be
// used in the way of mode, with the reason; no error means that nothing is in the way.
func blocked(path string, mode uint32) (where string, why error) {
	for up := filepath.Dir(path); up != "/" && up != "."; up = filepath.Dir(up) {
		if err := unix.Faccessat(unix.AT_FDCWD, up, unix.X_OK, unix.AT_EACCESS); err != nil {
			where, why = up, err
		}
	}
	if why != nil {
		return where, why
	}
	return path, unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS)
}

// ownName is the name of this process's user, or its number.
func ownName() string {
	number := strconv.Itoa(os.Geteuid())
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return number
}
