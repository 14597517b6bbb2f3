//go:build unix

package job

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/sysio"
)

// Pipe is a pipe with one end for a script, which blocks, and one for us, which does not.
type Pipe struct {
	theirs int // -1 once closed
	ours   *os.File
	reader sysio.PipeReader // of ours
}

// NewPipe makes a pipe. toScript says whether the script reads it.
func NewPipe(toScript bool) (*Pipe, error) {
	p := &Pipe{}
	if err := p.open(toScript); err != nil {
		return nil, err
	}
	return p, nil
}

// open makes the pipe of p.
func (p *Pipe) open(toScript bool) error {
	r, w, err := rawPipe()
	if err != nil {
		return os.NewSyscallError("pipe", err)
	}
	theirs, ours := w, r
	if toScript {
		theirs, ours = r, w
	}
	if err := syscall.SetNonblock(ours, true); err != nil {
		return errors.Join(os.NewSyscallError("fcntl", err), syscall.Close(r), syscall.Close(w))
	}
	f := os.NewFile(uintptr(ours), "script")
	p.theirs, p.ours, p.reader.File = theirs, f, f
	return nil
}

// Outputs makes the pipes of a script's output and standard error.
func Outputs() (out, errs *Pipe, err error) {
	both := &[2]Pipe{}
	out, errs = &both[0], &both[1]
	if err := out.open(false); err != nil {
		return nil, nil, err
	}
	if err := errs.open(false); err != nil {
		out.Close()
		return nil, nil, err
	}
	return out, errs, nil
}

// Theirs returns the descriptor of the script's end, -1 once it is closed.
func (p *Pipe) Theirs() int { return p.theirs }

// Ours returns our end.
func (p *Pipe) Ours() *os.File { return p.ours }

// Read reads what the script has written. A deadline that has passed hides nothing of it.
func (p *Pipe) Read(b []byte) (int, error) { return p.reader.Read(b) }

// Limit sets the deadline of reading. A pipe always has one, so there is no error but for a closed one.
func (p *Pipe) Limit(t time.Time) { _ = p.ours.SetReadDeadline(t) }

// Capacity is how many bytes a pipe holds that was not enlarged.
const Capacity = 64 << 10

// ReadNow reads what the pipe holds, without waiting, up to the length of buf. It returns 0 where the pipe is empty or has
// ended.
func (p *Pipe) ReadNow(buf []byte) (n int) {
	conn, err := p.ours.SyscallConn()
	if err != nil {
		return 0 // closed
	}
	_ = conn.Control(func(fd uintptr) { // fails only for a closed file
		n, err = syscall.Read(int(fd), buf)
	})
	if err != nil {
		return 0 // EAGAIN: empty
	}
	return n
}

// CloseTheirs closes our copy of the script's end, which lives on in the script.
func (p *Pipe) CloseTheirs() {
	if p.theirs >= 0 {
		_ = syscall.Close(p.theirs) // Linux frees the descriptor, whatever close returns
		p.theirs = -1
	}
}

// Close closes both ends. A nil Pipe is closed.
func (p *Pipe) Close() {
	if p != nil {
		p.CloseTheirs()
		_ = p.ours.Close() // may be closed already
	}
}

// DevNull is /dev/null, opened once. Scripts get duplicates of it.
var DevNull = sync.OnceValues(func() (*os.File, error) { return os.Open(os.DevNull) })
