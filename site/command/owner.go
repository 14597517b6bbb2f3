package command

import (
	"fmt"
	"os"
	"syscall"
)

// own gives a file this process has opened as root to the identity, which is to open it
// again. A file that is reached by a link, symbolic or hard, may be anybody's, and keeps
// its owner, as does what is no regular file.
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
		return fmt.Errorf("give it to the user: %w", err)
	}
	return nil
}
