//go:build linux && (amd64 || arm64 || riscv64)

package cgi

import (
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// scouts is how many of a zygote's first children tell which modules they have
// loaded while they ran.
const scouts = 2

// child is a process that a zygote has forked and that waits for a request.
type child struct {
	zygote *zygote
	pid    int
	job    int     // the socket it waits at
	scout  bool    // it will report what it has loaded
	worker *worker // of a persistent script
}

// begin hands the child a request. It returns nil where the child has died.
func (c *child) begin(request []byte, to command, onExit func()) *process {
	handle, err := -1, error(nil)
	if c.worker == nil {
		handle, err = unix.PidfdOpen(c.pid, 0)
	}
	if err == nil {
		err = syscall.Sendmsg(c.job, request, syscall.UnixRights(to.stdin, to.stdout, to.stderr), nil, syscall.MSG_NOSIGNAL|syscall.MSG_DONTWAIT)
	}
	if err != nil {
		c.zygote.log().Debug("a forked process cannot be given a request", slog.Any("error", err))
		if handle >= 0 {
			_ = syscall.Close(handle) // nothing was written
		}
		if c.worker != nil {
			c.zygote.lost()
		}
		c.dismiss()
		return nil
	}
	if c.worker != nil {
		return c.worker.lend(onExit)
	}
	p := &process{pid: c.pid, exited: make(chan struct{}), handle: handle, onExit: onExit, said: c.zygote.said}
	p.onReap = func() {
		if c.scout {
			c.zygote.readReport(c.pid)
		}
		c.zygote.owner.disown(c.pid)
	}
	_ = syscall.Close(c.job) // Linux frees the descriptor whatever it returns
	return p
}

// appendRequest appends the message for a child: four random bytes, whether there is
// a body, then in what the environment differs from the one the script was compiled with.
func (z *zygote) appendRequest(b []byte, env []string, hasBody bool) []byte {
	b = b[:5]
	_, _ = rand.Read(b[:4]) // never fails
	b[4] = 0
	if hasBody {
		b[4] = 1
	}
	present := 0
	for _, variable := range env {
		if name, _, _ := strings.Cut(variable, "="); z.known[name] {
			present++
		}
		if !z.base[variable] {
			b = append(append(b, variable...), 0)
		}
	}
	if present < len(z.known) {
		for name := range z.known {
			if lookup(env, name) == "" {
				b = append(append(b, name...), 0)
			}
		}
	}
	return b
}

// dismiss ends a child that has no request.
func (c *child) dismiss() {
	if c == nil {
		return
	}
	if c.worker != nil {
		c.worker.retire()
		return
	}
	_ = syscall.Close(c.job) // Linux frees the descriptor whatever it returns
	_ = syscall.Kill(c.pid, syscall.SIGKILL)
	for {
		if _, err := syscall.Wait4(c.pid, nil, 0, nil); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	c.zygote.owner.disown(c.pid)
}

func (f *accelerator) disown(pid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.children, pid)
}

var isModuleFile = regexp.MustCompile(`^[A-Za-z_][\w/]*\.pm$`)

// maxLearned is how many modules are believed to be loaded by a script while it runs.
const maxLearned = 100

// readReport reads what one of the first children, which has ended, has loaded.
func (z *zygote) readReport(pid int) {
	z.mu.Lock()
	z.scouts--
	last := z.scouts == 0
	z.mu.Unlock()
	if last {
		z.order(0)
	}
	name := filepath.Join(z.owner.dir, "loaded-"+strconv.Itoa(pid))
	text, err := readPlain(name)
	if err != nil {
		return // it has ended in another way
	}
	_ = os.Remove(name) // else with the directory
	var modules []string
	for line := range strings.Lines(string(text)) {
		if file := strings.TrimSuffix(line, "\n"); isModuleFile.MatchString(file) && len(modules) < maxLearned {
			modules = append(modules, file)
		}
	}
	if len(modules) > 0 {
		z.owner.learn(z, modules)
	}
}

// readPlain reads a small file that is neither a link nor anything that would keep us
// waiting.
func readPlain(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() // opened for reading
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, errors.New("no regular file"))
	}
	return io.ReadAll(io.LimitReader(f, largestMessage))
}
