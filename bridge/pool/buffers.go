package pool

import "sync"

// Buffers for payloads have two sizes. Most answers are small and fit the first; workers cut large
// answers into pieces of the second.
const (
	smallBuffer = 4 << 10
	largeBuffer = 72 << 10
)

var smallBuffers, largeBuffers sync.Pool

func allocate(n int) *[]byte {
	pool, size := &smallBuffers, smallBuffer
	if n > smallBuffer {
		pool, size = &largeBuffers, largeBuffer
	}
	if n > largeBuffer {
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

func release(b *[]byte) {
	if b == nil {
		return
	}
	switch cap(*b) {
	case smallBuffer:
		smallBuffers.Put(b)
	case largeBuffer:
		largeBuffers.Put(b)
	}
}
