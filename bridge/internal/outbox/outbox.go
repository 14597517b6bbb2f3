// Package outbox holds the frames that wait to be written to a worker.
package outbox

import (
	"net"
	"sync"
)

// Outbox holds the frames that are to be written to a process. Frames that several goroutines queue are written
// together, in the order in which they were queued. The zero value has no connection.
type Outbox struct {
	writing sync.Mutex // held while the batch is swapped and written; comes before mu
	spare   []byte     // the memory for the next batch; guarded by writing

	mu    sync.Mutex // a leaf: no other lock is taken while it is held
	conn  net.Conn   // nil until the process has said hello
	batch []byte
	// first is the mark of the first marked frames in batch, written that of the batch that was written last, and
	// undelivered that of the first batch of which nothing could be written. 0 stands for none.
	first, written, undelivered uint32
}

// Connect is called when the process has said hello.
func (o *Outbox) Connect(conn net.Conn) {
	o.mu.Lock()
	o.conn = conn
	o.mu.Unlock()
}

// Close ends the connection, if there is one, and reports whether there is.
func (o *Outbox) Close() bool {
	o.mu.Lock()
	conn := o.conn
	o.mu.Unlock()
	if conn != nil {
		_ = conn.Close() // an error does not matter: the process is gone
	}
	return conn != nil
}

// Queue adds frames, either of which may be nil, and returns how many bytes wait to be written.
func (o *Outbox) Queue(mark uint32, first, second []byte) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.first == 0 {
		o.first = mark
	}
	o.batch = append(append(o.batch, first...), second...)
	return len(o.batch)
}

// Flush writes what was queued. What is queued for a process that has not connected is dropped.
func (o *Outbox) Flush() (err error) {
	o.writing.Lock()
	defer o.writing.Unlock()
	o.mu.Lock()
	batch, first := o.batch, o.first
	o.batch, o.first = o.spare[:0], 0
	conn := o.conn
	if len(batch) > 0 {
		o.written = first
	}
	o.mu.Unlock()
	if conn != nil && len(batch) > 0 {
		var n int
		if n, err = conn.Write(batch); err != nil && n == 0 {
			o.mu.Lock()
			o.undelivered = first
			o.mu.Unlock()
		}
	}
	o.spare = batch
	if cap(batch) > 1<<20 {
		o.spare = nil
	}
	return err
}

// Delivery returns what the process has got.
func (o *Outbox) Delivery() Delivery {
	o.mu.Lock()
	defer o.mu.Unlock()
	return Delivery{Written: o.written, Undelivered: o.undelivered}
}

// Delivery tells which of the queued frames a process has got, by the marks that Queue was called with.
type Delivery struct {
	// Written is the first mark of the batch that was written last. It is 0 where that batch had no mark.
	Written uint32
	// Undelivered is the first mark of the last batch of which nothing could be written, 0 for none.
	Undelivered uint32
}
