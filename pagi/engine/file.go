package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// smallFile is the size up to which a file is read into memory and leaves in one
// write together with the head, which beats the three system calls of sendfile.
const smallFile = 16 << 10

type copyBuffer [64 << 10]byte

// copyBuffers are those of responses that have gone well. A ResponseWriter may still hold
// the bytes of a Write that has failed: over HTTP/2 net/http returns from a Write when the
// connection ends, whether or not its own goroutine has begun to write them.
var copyBuffers = sync.Pool{New: func() any { return new(copyBuffer) }}

// sendFile sends a body event that names a file or holds a handle.
func (x *exchange) sendFile(e *pagi.HTTPResponseBody) error {
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
func (x *exchange) sendHandle(e *pagi.HTTPResponseBody, src io.Reader, field string) error {
	size, err := rest(src, e.Offset)
	if err != nil {
		return fmt.Errorf("http.response.body: '%s': %w", field, err)
	}
	switch {
	case e.Length == pagi.ToEnd:
	case e.Length == 0:
		size = 0
	case size < 0:
		src = io.LimitReader(src, e.Length)
	case size > e.Length:
		size = e.Length
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
		x.openResponse(size >= 0)
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
	left := &io.LimitedReader{R: src, N: size}
	for left.N > 0 {
		x.setWriteDeadline()
		n, err := x.stream.ReadFrom(left)
		x.armed = false
		x.sent += n
		switch {
		case err != nil && (n == 0 || !errors.Is(err, os.ErrDeadlineExceeded)):
			if failed := readFails(src); failed != nil {
				return sourceLost(failed)
			}
			return writeLost(err)
		case err == nil && left.N > 0:
			return x.truncated(left.N)
		}
		x.touch()
	}
	return nil
}

// sendfileable reports whether the stream's ReadFrom ends in the kernel for src.
func (x *exchange) sendfileable(src io.Reader) bool {
	_, ok := src.(*os.File)
	return ok && x.stream.Sendfile()
}

// copyKnown sends exactly size bytes of src through memory.
func (x *exchange) copyKnown(src io.Reader, size int64) error {
	return withCopyBuffer(func(buf *copyBuffer) error { return x.copyKnownBy(buf, src, size) })
}

// withCopyBuffer calls copy with a buffer, which is used again only where all went well.
func withCopyBuffer(copy func(*copyBuffer) error) error {
	buf := copyBuffers.Get().(*copyBuffer)
	err := copy(buf)
	if err == nil {
		copyBuffers.Put(buf)
	}
	return err
}

func (x *exchange) copyKnownBy(buf *copyBuffer, src io.Reader, size int64) error {
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
			return sourceLost(err)
		}
	}
	return nil
}

// copyUnknown sends src until its end, each piece as soon as it is there.
func (x *exchange) copyUnknown(src io.Reader) error {
	return withCopyBuffer(func(buf *copyBuffer) error { return x.copyUnknownBy(buf, src) })
}

func (x *exchange) copyUnknownBy(buf *copyBuffer, src io.Reader) error {
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
			return sourceLost(err)
		}
	}
}

// readFails reports why a file cannot be read on from where it stands, nil where it can:
// sendfile does not tell on which side it has failed.
func readFails(src io.Reader) error {
	var b [1]byte
	if _, err := src.Read(b[:]); err != nil && err != io.EOF {
		return err
	}
	return nil
}

// sourceLost ends the request because what is sent cannot be read.
func sourceLost(err error) error {
	return &connectionLost{pagi.ReasonServerError, fmt.Errorf("http.response.body: reading: %w", err)}
}

// truncated ends the request because a file became shorter while it was sent.
func (x *exchange) truncated(missing int64) error {
	return &connectionLost{pagi.ReasonServerError, fmt.Errorf("http.response.body: the file ended %d bytes early", missing)}
}
