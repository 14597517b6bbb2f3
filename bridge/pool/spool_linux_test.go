package pool

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// A disk that is full while an answer is spooled makes its worker wait.
func TestSpoolOnAFullDisk(t *testing.T) {
	t.Run("its file takes no more", func(t *testing.T) {
		hook := func(at handOver, w *station, _ uint32) {
			if at != afterMatch {
				return
			}
			w.pool.mu.Lock()
			x := w.duties.current().x
			w.pool.mu.Unlock()
			x.mu.Lock()
			defer x.mu.Unlock()
			if x.spool.file == nil {
				x.spool.file, _ = os.OpenFile("/dev/full", os.O_RDWR, 0) // every write is ENOSPC
			}
		}
		s := start(t, Options{Limits: Limits{AnswerMemory: 1}, hook: hook})
		checkWaitingAnswer(t, s)
		checkWaitingAnswer(t, s)
		s.log.WaitFor(t, "cannot be spooled", syscall.ENOSPC.Error())
		if n := strings.Count(s.log.String(), "cannot be spooled"); n != 1 {
			t.Errorf("it is told %d times", n)
		}
	})
	t.Run("a full disk", func(t *testing.T) {
		disk := t.TempDir()
		if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=256k"); err != nil {
			t.Skip("no small disk can be mounted here:", err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(disk, 0); err != nil {
				t.Error(err)
			}
		})
		t.Setenv("TMPDIR", disk)
		s := start(t, Options{Limits: Limits{AnswerMemory: 1}})
		checkWaitingAnswer(t, s)
		s.log.WaitFor(t, "cannot be spooled", syscall.ENOSPC.Error())
	})
}
