// Package spool keeps bytes that have come faster than they can be used: in
// memory up to a limit, then in a temporary file that only its owner can read.
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
	// Dir is where the file is made; "" means os.TempDir.
	Dir string

	mem  []byte
	file *os.File
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
		b.file = f
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

// Path returns the name of the file, or "" when the body is in memory.
func (b *Body) Path() string {
	if b.file == nil {
		return ""
	}
	return b.file.Name()
}

// Close gives the memory back and removes the file.
func (b *Body) Close() error {
	b.mem = nil
	if b.file == nil {
		return nil
	}
	name := b.file.Name()
	err := errors.Join(b.file.Close(), os.Remove(name))
	b.file = nil
	return err
}

// Fill copies r into the body.
func (b *Body) Fill(r io.Reader) error {
	_, err := io.Copy(b, r)
	return err
}
