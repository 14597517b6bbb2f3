//go:build linux && (amd64 || arm64 || riscv64)

package cgi

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	perlside "github.com/pagi-go/pagi-bridge/perl"
)

// extract writes the Perl side to a private directory. The user that scripts run as may
// read what is there. Nobody but the gateway's user may change it, except below
// reports, which is the scripts' own.
func (a *app) extract() (dir string, err error) {
	dir, err = os.MkdirTemp("", "pagi-cgi-*") // mode 0700
	if err != nil {
		return "", err
	}
	if err = perlside.Extract(dir); err == nil {
		err = os.Mkdir(filepath.Join(dir, reportsDir), 0o700)
	}
	if err == nil && a.credential != nil {
		err = a.shareAll(dir)
	}
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}

const reportsDir = "reports"

// reports is where children tell what they have loaded.
func (f *accelerator) reports() string { return filepath.Join(f.dir, reportsDir) }

// shareAll lets the scripts' group read a directory that so far only the gateway has
// access to; what is below is opened before dir itself is.
func (a *app) shareAll(dir string) error {
	uid, gid := os.Getuid(), int(a.credential.Gid)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || path == dir:
			return err
		case entry.Name() == reportsDir:
			if err := os.Lchown(path, int(a.credential.Uid), gid); err != nil {
				return err
			}
			return fs.SkipDir
		case entry.IsDir():
			return errors.Join(os.Lchown(path, uid, gid), os.Chmod(path, 0o750))
		}
		return errors.Join(os.Lchown(path, uid, gid), os.Chmod(path, 0o640))
	})
	return errors.Join(err, os.Lchown(dir, uid, gid), os.Chmod(dir, 0o750))
}

// share lets the scripts' group read a file.
func (a *app) share(f *os.File) error {
	if a.credential == nil {
		return nil
	}
	return errors.Join(f.Chown(os.Getuid(), int(a.credential.Gid)), f.Chmod(0o640))
}
