//go:build darwin || freebsd || netbsd

package httpfile

import (
	"io/fs"
	"syscall"
	"time"
)

// changedAt returns when the system last changed the entry of a file. It is zero where that is not
// known.
func changedAt(info fs.FileInfo) time.Time {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(st.Ctimespec.Unix())
	}
	return time.Time{}
}
