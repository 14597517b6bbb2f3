// Package buffer lends the buffers for the payloads of frames. A payload is read into one, passes from a worker's
// connection to the client, and its buffer comes back.
package buffer

import "sync"

// Buffers have two sizes. Most answers are small and fit the first; workers cut large answers into
// pieces of the second.
const (
	small = 4 << 10
	large = 72 << 10
)

var smallBuffers, largeBuffers sync.Pool

// Get returns a buffer of length n, which may have been used before.
func Get(n int) *[]byte {
	pool, size := &smallBuffers, small
	if n > small {
		pool, size = &largeBuffers, large
	}
	if n > large {
		b := make([]byte, n)
		return &b
	}
	b, _ := pool.Get().(*[]byte)
	if b == nil {
		b = new([]byte)
		*b = make([]byte, size)
	}
	*b = (*b)[:n]
	return b
}

// Put gives back a buffer of Get, which the caller must not use any more. It does nothing for nil.
func Put(b *[]byte) {
	if b == nil {
		return
	}
	switch cap(*b) {
	case small:
		smallBuffers.Put(b)
	case large:
		largeBuffers.Put(b)
	}
}
