// Package spool keeps bytes that arrive faster than they are used. It keeps them in memory up to a
// limit, then in a temporary file that only its owner can read.
package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// DefaultMemory is how many bytes stay in memory before a file is made.
const DefaultMemory = 64 << 10

// Body collects a whole request body. It is written first and read afterwards.
// The zero Body keeps DefaultMemory bytes in memory and makes its file in the
// system's directory for temporary files. It must be closed.
type Body struct {
	// Memory is the number of bytes kept in memory; 0 means DefaultMemory.
	Memory int
	// Dir is the directory for the file, so that other processes can open it by its name. Without
	// Dir the file is made in os.TempDir and, on Linux, loses its name at once, so that nothing
	// stays when the process is killed.
	Dir string
	// Made, if not nil, is called with the file once it has been made, before anything is in it.
	Made func(*os.File) error

	mem  []byte
	file *os.File
	name string // of file
	size int64
}

// Write appends p.
func (b *Body) Write(p []byte) (int, error) {
	limit := b.Memory
	if limit == 0 {
		limit = DefaultMemory
	}
	if b.file == nil && len(b.mem)+len(p) > limit {
		f, err := os.CreateTemp(b.Dir, "pagi-body-*") // mode 0600
		if err != nil {
			return 0, fmt.Errorf("spool a request body: %w", err)
		}
		b.file, b.name = f, f.Name()
		if b.Made != nil {
			err = b.Made(f)
		}
		if err := errors.Join(err, b.forgetName()); err != nil {
			return 0, fmt.Errorf("spool a request body: %w", err)
		}
		if _, err := f.Write(b.mem); err != nil {
			return 0, fmt.Errorf("spool a request body: %w", err)
		}
		b.mem = nil
	}
	if b.file == nil {
		b.mem = append(b.mem, p...)
		b.size += int64(len(p))
		return len(p), nil
	}
	n, err := b.file.Write(p)
	b.size += int64(n)
	if err != nil {
		err = fmt.Errorf("spool a request body: %w", err)
	}
	return n, err
}

// Size returns the number of bytes written so far.
func (b *Body) Size() int64 { return b.size }

// Bytes returns the body when it is all in memory, nil when it is in a file.
func (b *Body) Bytes() []byte { return b.mem }

// forgetName removes the name of the file where the name is not needed. On Linux a process can open
// its own open file through /proc.
func (b *Body) forgetName() error {
	other := fmt.Sprintf("/proc/self/fd/%d", b.file.Fd())
	if _, err := os.Stat(other); b.Dir != "" || err != nil {
		return nil
	}
	if err := os.Remove(b.name); err != nil {
		return err
	}
	b.name = other
	return nil
}

// InFile reports whether the body is in a file.
func (b *Body) InFile() bool { return b.file != nil }

// Path returns the name of the file in Dir, or "" when the body is in memory.
func (b *Body) Path() string {
	if b.file == nil {
		return ""
	}
	return b.name
}

// Open opens the file for reading, from its beginning.
func (b *Body) Open() (*os.File, error) { return os.Open(b.name) }

// Close gives the memory back and removes the file.
func (b *Body) Close() error {
	b.mem = nil
	if b.file == nil {
		return nil
	}
	var err error
	if b.name == b.file.Name() {
		err = os.Remove(b.name)
	}
	err = errors.Join(b.file.Close(), err)
	b.file = nil
	return err
}

// Fill copies r into the body.
func (b *Body) Fill(r io.Reader) error {
	_, err := io.Copy(b, r)
	return err
}
