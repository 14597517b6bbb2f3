package host

import (
	"os"
	"syscall"
)

// inode returns what tells a file from another one of the same name.
func inode(info os.FileInfo) any {
	if sys, is := info.Sys().(*syscall.Stat_t); is {
		return sys.Ino
	}
	return nil
}
