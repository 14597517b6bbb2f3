//go:build linux && (amd64 || arm64 || riscv64)

package perlfork

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/pagi-go/pagi-bridge/internal/private"
	perlside "github.com/pagi-go/pagi-bridge/perl"
)

// extract writes the Perl side to a private directory. The user that scripts run as may
// read what is there, and only the gateway's user may change it.
func (f *Scripts) extract() (*private.Dir, error) {
	made, err := private.Make("cgi")
	if err != nil {
		return nil, err
	}
	dir := made.Path()
	if err = perlside.Extract(dir); err == nil {
		err = strip(filepath.Join(dir, "lib", "PagiBridge", "CGI"))
	}
	if err == nil && f.config.Profile.User() != nil {
		err = f.shareAll(dir)
	}
	if err != nil {
		return nil, errors.Join(err, made.Remove())
	}
	return made, nil
}

// pragmas matches the pragmas of the Perl side, which are of use only to people who work on it.
var pragmas = regexp.MustCompile(`\b(use|no) (strict|warnings)\b[^;\n]*;`)

// strip takes the pragmas out of the modules that are loaded before a script. A script must not
// find modules that it has not loaded, and strict and warnings are modules.
func strip(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.pm"))
	if err != nil {
		return err
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(name, pragmas.ReplaceAll(text, nil), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// shareAll lets the scripts' group read a directory to which only the gateway has had access. The directory itself is opened
// last.
func (f *Scripts) shareAll(dir string) error {
	uid, gid := os.Getuid(), int(f.config.Profile.User().Gid)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || path == dir:
			return err
		case entry.IsDir():
			return errors.Join(os.Lchown(path, uid, gid), os.Chmod(path, 0o750))
		}
		return errors.Join(os.Lchown(path, uid, gid), os.Chmod(path, 0o640))
	})
	return errors.Join(err, os.Lchown(dir, uid, gid), os.Chmod(dir, 0o750))
}

// share lets the scripts' group read a file.
func (f *Scripts) share(file *os.File) error {
	user := f.config.Profile.User()
	if user == nil {
		return nil
	}
	return errors.Join(file.Chown(os.Getuid(), int(user.Gid)), file.Chmod(0o640))
}
