package pagi

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
)

// smallFile is the size up to which a file is read into memory and leaves in one
// write together with the head, which beats the three system calls of sendfile.
const smallFile = 16 << 10

type copyBuffer [64 << 10]byte

var copyBuffers = sync.Pool{New: func() any { return new(copyBuffer) }}

// sendFile sends a body event that names a file or holds a handle.
func (x *exchange) sendFile(e *HTTPResponseBody) error {
	if e.FH != nil {
		return x.sendHandle(e, e.FH, "fh")
	}
	f, err := os.Open(e.File)
	if err != nil {
		return fmt.Errorf("http.response.body: 'file': %w", err)
	}
	defer f.Close() // opened for reading: nothing to lose
	return x.sendHandle(e, f, "file")
}

// sendHandle sends what src holds from e.Offset on. All that can go wrong is
// found before the first byte is written, as far as that is possible.
func (x *exchange) sendHandle(e *HTTPResponseBody, src io.Reader, field string) error {
	size, err := rest(src, e.Offset)
	if err != nil {
		return fmt.Errorf("http.response.body: '%s': %w", field, err)
	}
	if e.Length > 0 && (size < 0 || size > e.Length) {
		if size < 0 {
			src = io.LimitReader(src, e.Length)
		} else {
			size = e.Length
		}
	}
	if size >= 0 {
		if err := x.checkLength(size, true); err != nil {
			return err
		}
	}
	if err := x.awaitQueue(); err != nil {
		return err
	}
	if x.phase == phaseHeld {
		if size >= 0 {
			x.offerLength(size)
		}
		x.openResponse(true)
	}
	switch {
	case x.noBody:
	case size < 0:
		err = x.copyUnknown(src)
	case size <= smallFile:
		err = x.copyKnown(src, size)
	default:
		err = x.copyFile(src, size)
	}
	if err != nil {
		return err
	}
	return x.finishBody()
}

// rest positions src at offset and returns how many bytes it has from there; -1
// when that cannot be known. An offset of 0 leaves the position of a handle where
// it is.
func rest(src io.Reader, offset int64) (int64, error) {
	seeker, seekable := src.(io.Seeker)
	if !seekable {
		if offset > 0 {
			return 0, errors.New("has an offset but cannot seek")
		}
		return -1, nil
	}
	var size int64 = -1
	if f, ok := src.(*os.File); ok {
		info, err := f.Stat()
		if err != nil {
			return 0, err
		}
		switch mode := info.Mode(); {
		case mode.IsDir():
			return 0, fmt.Errorf("%s is a directory", f.Name())
		case mode.IsRegular():
			size = info.Size()
		case offset == 0:
			return -1, nil // a pipe or the like
		}
	}
	at, err := offset, error(nil)
	if offset == 0 {
		at, err = seeker.Seek(0, io.SeekCurrent)
	} else {
		_, err = seeker.Seek(offset, io.SeekStart)
	}
	if err != nil {
		return 0, err
	}
	if size < 0 {
		return -1, nil
	}
	return max(0, size-at), nil
}

// copyFile sends size bytes of src by sendfile where src and the connection allow
// it. A write deadline that passes while bytes still move is renewed.
func (x *exchange) copyFile(src io.Reader, size int64) error {
	if !x.sendfileable(src) {
		return x.copyKnown(src, size)
	}
	to := x.w.(io.ReaderFrom)
	left := &io.LimitedReader{R: src, N: size}
	for left.N > 0 {
		x.setWriteDeadline()
		n, err := to.ReadFrom(left)
		x.armed = false
		x.sent += n
		switch {
		case err != nil && (n == 0 || !errors.Is(err, os.ErrDeadlineExceeded)):
			return writeLost(err)
		case err == nil && left.N > 0:
			return x.truncated(left.N)
		}
		x.touch()
	}
	return nil
}

// sendfileable reports whether the ResponseWriter's ReadFrom ends in the kernel: a
// file, to a TCP connection without TLS.
func (x *exchange) sendfileable(src io.Reader) bool {
	if _, ok := src.(*os.File); !ok || x.r.ProtoMajor != 1 || x.r.TLS != nil {
		return false
	}
	if _, ok := x.w.(io.ReaderFrom); !ok {
		return false
	}
	if x.stream != nil {
		return x.stream.Sendfile()
	}
	local, _ := x.r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return local != nil && local.Network() == "tcp"
}

// copyKnown sends exactly size bytes of src through memory.
func (x *exchange) copyKnown(src io.Reader, size int64) error {
	buf := copyBuffers.Get().(*copyBuffer)
	defer copyBuffers.Put(buf)
	for size > 0 {
		n, err := io.ReadFull(src, buf[:min(size, int64(len(buf)))])
		if err := x.write(buf[:n]); err != nil {
			return err
		}
		size -= int64(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return x.truncated(size)
		case err != nil:
			return &connectionLost{ReasonServerError, fmt.Errorf("http.response.body: reading: %w", err)}
		}
	}
	return nil
}

// copyUnknown sends src until its end, each piece as soon as it is there.
func (x *exchange) copyUnknown(src io.Reader) error {
	buf := copyBuffers.Get().(*copyBuffer)
	defer copyBuffers.Put(buf)
	for {
		n, err := src.Read(buf[:])
		if n > 0 {
			if err := x.checkLength(int64(n), false); err != nil {
				return err
			}
			if err := x.write(buf[:n]); err != nil {
				return err
			}
			if err := x.flush(); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return x.checkLength(0, true)
		case err != nil:
			return &connectionLost{ReasonServerError, fmt.Errorf("http.response.body: reading: %w", err)}
		}
	}
}

// truncated ends the request because a file became shorter while it was sent.
func (x *exchange) truncated(missing int64) error {
	return &connectionLost{ReasonServerError, fmt.Errorf("http.response.body: the file ended %d bytes early", missing)}
}
