//go:build linux && (amd64 || arm64 || riscv64)

package perlfork

import (
	"container/list"
	"syscall"
	"time"
)

// version is what is known of one version of a script's file. Its fields are guarded by Scripts.mu, but for those of the
// first group, which never change.
type version struct {
	file       string
	id         fileID
	perl       interpreter
	persistent bool

	state    State
	settled  chan struct{} // closed when it is not Compiling any more
	zygote   *zygote       // where Compiled
	place    *list.Element // in Scripts.recent
	used     time.Time
	requests int
	failures int       // zygotes that have died, in a row
	changes  int       // zygotes that files have outdated, in a row
	again    time.Time // not to be compiled before, because that has just failed
	why      string    // where Refused
}

func (s *version) settleLocked(to State) {
	if s.state == Compiling {
		close(s.settled)
	}
	s.state = to
}

// fileID tells versions of a file apart.
type fileID struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64 // nanoseconds
	mode         uint32
}

func identify(file string) (fileID, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(file, &st); err != nil {
		return fileID{}, err
	}
	return idOf(&st), nil
}

func idOf(st *syscall.Stat_t) fileID {
	return fileID{uint64(st.Dev), st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano(), st.Mode}
}

// isNewerThan reports whether the file was changed after t, as far as the kernel's clock
// for files can tell.
func (id fileID) isNewerThan(t time.Time) bool {
	return id.ctime > t.Add(-20*time.Millisecond).UnixNano()
}

func (id fileID) isDirectory() bool { return id.mode&syscall.S_IFMT == syscall.S_IFDIR }

func (id fileID) setsID() bool { return id.mode&(syscall.S_ISUID|syscall.S_ISGID) != 0 }
