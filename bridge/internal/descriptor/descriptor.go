// Package descriptor takes the descriptors that come on a Unix socket.
package descriptor

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// maxDescriptors is how many descriptors may have come before their frames were read.
const maxDescriptors = 64

// Reader reads from a connection on which descriptors come (SCM_RIGHTS). It keeps them in
// their order, until the frames take them that they belong to.
type Reader struct {
	*net.UnixConn
	violation error // what the errors wrap that the other side has caused
	oob       []byte

	mu    sync.Mutex
	files []*os.File
}

// NewReader returns a reader. Errors that the other side has caused wrap violation.
func NewReader(conn *net.UnixConn, violation error) *Reader {
	return &Reader{UnixConn: conn, violation: violation, oob: make([]byte, syscall.CmsgSpace(16*4))}
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	n, oobn, flags, _, err := r.ReadMsgUnix(p, r.oob)
	if oobn > 0 {
		if keepErr := r.keep(r.oob[:oobn]); err == nil {
			err = keepErr
		}
	}
	if err == nil && flags&syscall.MSG_CTRUNC != 0 {
		err = fmt.Errorf("%w: more descriptors at once than are taken", r.violation)
	}
	if n = max(n, 0); n == 0 && err == nil && len(p) > 0 {
		err = io.EOF
	}
	return n, err
}

// keep takes the descriptors of a message.
func (r *Reader) keep(oob []byte) error {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range messages {
		fds, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			continue // another kind of message
		}
		for _, fd := range fds {
			syscall.CloseOnExec(fd)
			r.files = append(r.files, os.NewFile(uintptr(fd), "descriptor"))
		}
	}
	if len(r.files) > maxDescriptors {
		return fmt.Errorf("%w: more than %d descriptors without frames", r.violation, maxDescriptors)
	}
	return nil
}

// Take returns the next descriptor, for a frame that has one.
func (r *Reader) Take() (*os.File, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.files) == 0 {
		return nil, fmt.Errorf("%w: a frame whose descriptor is missing", r.violation)
	}
	f := r.files[0]
	r.files[0] = nil
	r.files = r.files[1:]
	return f, nil
}

// CloseRest closes the descriptors that no frame has taken.
func (r *Reader) CloseRest() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, f := range r.files {
		errs = append(errs, f.Close())
	}
	r.files = nil
	return errors.Join(errs...)
}
