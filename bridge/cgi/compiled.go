//go:build linux && (amd64 || arm64 || riscv64)

package cgi

import (
	"container/list"
	"syscall"
	"time"
)

// compiledState is where a version of a script is.
//
//	untried --compile--> compiling --ready--> fast --zygote died, a module changed--> untried
//	   |                     |   |
//	   |                     |   +-- failed for now --> untried, for a while
//	   +---- no Perl, -------+---- declined ----> slow
//
// exhausted is the end of every version: the file was changed, or is not asked for.
type compiledState uint8

const (
	untried compiledState = iota
	compiling
	fast
	slow
	exhausted
)

// compiled is what is known of one version of a script. Its fields are guarded by
// accelerator.mu, but for those of the first group, which never change.
type compiled struct {
	file       string
	id         fileID
	perl       interpreter
	persistent bool

	state    compiledState
	settled  chan struct{} // closed when it is not compiling any more
	zygote   *zygote       // where fast
	place    *list.Element // in accelerator.recent
	used     time.Time
	requests int
	failures int
	again    time.Time // not to be compiled before, because that has just failed
	why      string    // where slow
	taught   bool      // it is known what it loads later:
	later    []string
}

func (s *compiled) settleLocked(to compiledState) {
	if s.state == compiling {
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

func (id fileID) setsID() bool { return id.mode&(syscall.S_ISUID|syscall.S_ISGID) != 0 }
