package command

import (
	"fmt"
	"os"
	"syscall"
)

// own gives a file that this process has opened as root to the identity, which must be able to open
// it again. A file that is reached by a symbolic or hard link may belong to any user, so it keeps
// its owner. A file that is not regular also keeps its owner.
func (id *identity) own(file *os.File) error {
	if id == nil || os.Geteuid() != 0 {
		return nil
	}
	mine, err := file.Stat()
	if err != nil {
		return err
	}
	there, err := os.Lstat(file.Name())
	if err != nil {
		return err
	}
	sys, ok := mine.Sys().(*syscall.Stat_t)
	if !ok || sys.Nlink != 1 || !mine.Mode().IsRegular() || !os.SameFile(mine, there) {
		return nil
	}
	if err := file.Chown(id.uid, id.gid); err != nil {
		return fmt.Errorf("cannot change its owner: %w", err)
	}
	return nil
}
