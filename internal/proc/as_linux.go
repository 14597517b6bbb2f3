package proc

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// As calls do on a thread that may use files as another user may, and only so. Only a process of root can.
//
// The thread gets its own permissions back. It must not end instead: processes that die with their parent die with the
// thread that has started them.
func As(c *syscall.Credential, do func()) error {
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		before, err := unix.Getgroups()
		if err != nil {
			failed <- err
			return
		}
		err = useFilesAs(int(c.Uid), int(c.Gid), c.Groups)
		if err == nil {
			do()
		}
		own := make([]uint32, len(before))
		for i, g := range before {
			own[i] = uint32(g)
		}
		restored := useFilesAs(unix.Geteuid(), unix.Getegid(), own)
		failed <- errors.Join(err, restored)
		if restored != nil {
			select {} // no other goroutine may get this thread
		}
		runtime.UnlockOSThread()
	}()
	return <-failed
}

// useFilesAs sets the user and the groups that count for files, of this thread alone.
func useFilesAs(uid, gid int, groups []uint32) error {
	// The system calls that the Go runtime offers are for all threads.
	if _, _, errno := syscall.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(unsafe.SliceData(groups))), 0); errno != 0 {
		return fmt.Errorf("set the groups of a thread: %w", errno)
	}
	for _, set := range []struct {
		number func(int) (int, error)
		id     int
	}{{unix.SetfsgidRetGid, gid}, {unix.SetfsuidRetUid, uid}} {
		if _, err := set.number(set.id); err != nil {
			return err
		}
		if is, err := set.number(-1); err != nil || is != set.id { // it has no other way to tell of a failure
			return errors.Join(err, fmt.Errorf("the thread uses files as %d, and not as %d", is, set.id))
		}
	}
	return nil
}
