// Package lines writes log lines to something that may block or fail: a pipe that
// nothing reads from, a full disk, a file system that does not answer.
//
// A Writer never makes its callers wait. Lines for which it has no room, and lines that cannot be
// written, are lost and counted.
package lines

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"
)

// DefaultRoom is how many bytes may wait in a Writer, unless its Options have a Room.
const DefaultRoom = 1 << 20

const (
	// largestKept is the size of the largest buffer that a Writer keeps for later lines.
	largestKept = 256 << 10
	// tryAgain is the pause before another write when a non-blocking descriptor takes nothing at
	// the moment.
	tryAgain = 20 * time.Millisecond
)

// ErrBehind is the reason when lines are lost because no room is left for them.
var ErrBehind = errors.New("what is to take the lines is too slow, or takes none at all")

// Options configure a Writer. The zero value works.
type Options struct {
	// Room is how many bytes may wait. Default: DefaultRoom.
	Room int
	// Failed is called once when lines begin to be lost, with the reason. It runs in the caller of
	// Write or in the Writer's own goroutine. It must not block, nor write to this Writer.
	Failed func(error)
	// Lost is called when writing works again, with the number of lines that were lost. It runs in
	// the Writer's own goroutine and may write to this Writer.
	Lost func(Loss)
}

// Loss describes lines that were lost before writing worked again.
type Loss struct {
	Lines uint64
	Since time.Time
	// Err is why the last of these lines was lost.
	Err error
}

// Stats describe a Writer at one moment.
type Stats struct {
	// Lost counts the lines that were lost since the Writer was made.
	Lost uint64
	// Err is why lines are being lost; nil once writing works again.
	Err error
}

// Writer takes lines and keeps their order. A goroutine of its own writes them. Close ends that
// goroutine.
type Writer struct {
	to   io.Writer // used by run alone
	room int

	mu      sync.Mutex
	wake    sync.Cond // of run
	waiting []byte    // whole lines
	spare   []byte    // an empty buffer
	jobs    []func()
	closing bool
	opt     Options
	lost    uint64 // in all
	gap     Loss   // what was lost since writing worked

	torn []byte // the rest of a line whose beginning was written; run's own
	done chan struct{}
}

// New returns a Writer that writes to to.
func New(to io.Writer, opt Options) *Writer {
	w := &Writer{to: to, room: opt.Room, opt: opt, done: make(chan struct{})}
	if w.room == 0 {
		w.room = DefaultRoom
	}
	w.wake.L = &w.mu
	go w.run()
	return w
}

// Tell sets Failed and Lost of the Options.
func (w *Writer) Tell(failed func(error), lost func(Loss)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.opt.Failed, w.opt.Lost = failed, lost
}

// Write takes p, which must be one or more whole lines. It does not block and does not
// fail; after Close the lines are lost.
func (w *Writer) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	w.mu.Lock()
	if w.closing || len(w.waiting) > 0 && len(w.waiting)+len(p) > w.room {
		failed := w.loseLocked(p, ErrBehind)
		w.mu.Unlock()
		if failed != nil {
			failed(ErrBehind)
		}
		return len(p), nil
	}
	w.waiting = append(w.waiting, p...)
	w.mu.Unlock()
	w.wake.Signal()
	return len(p), nil
}

// loseLocked counts lines as lost. It returns the function to call with the reason, or nil.
func (w *Writer) loseLocked(p []byte, err error) (failed func(error)) {
	n := uint64(bytes.Count(p, []byte{'\n'}))
	if n == 0 {
		return nil
	}
	if w.gap.Lines == 0 {
		w.gap.Since, failed = time.Now(), w.opt.Failed
	}
	w.lost += n
	w.gap.Lines += n
	w.gap.Err = err
	return failed
}

// Do makes the Writer's goroutine call f after it has written the lines that wait now. Do waits for
// f to return, for patience at most, and reports whether it has. Where it has not, f is still
// called later, even after a Close that came after Do. After Close, Do returns false.
func (w *Writer) Do(patience time.Duration, f func()) bool {
	called := make(chan struct{})
	w.mu.Lock()
	if w.closing {
		w.mu.Unlock()
		return false
	}
	w.jobs = append(w.jobs, func() { defer close(called); f() })
	w.mu.Unlock()
	w.wake.Signal()
	return await(called, patience)
}

// Flush waits, for patience at most, until all lines written before it have been passed on. It
// reports whether they have.
func (w *Writer) Flush(patience time.Duration) bool { return w.Do(patience, func() {}) }

// Close writes the lines that wait, for patience at most, and ends the Writer. A goroutine that is
// stuck in a write is left behind; the error then tells how many lines are lost with it.
func (w *Writer) Close(patience time.Duration) error {
	w.mu.Lock()
	w.closing = true
	w.mu.Unlock()
	w.wake.Signal()
	if await(w.done, patience) {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Errorf("at least %d lines could not be written in %v", bytes.Count(w.waiting, []byte{'\n'}), patience)
}

// Stats describes the Writer.
func (w *Writer) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Stats{Lost: w.lost, Err: w.gap.Err}
}

// await reports whether ch is closed within d.
func await(ch <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ch:
		return true
	case <-timer.C:
		return false
	}
}

// run writes until the Writer is closed and nothing waits.
func (w *Writer) run() {
	defer close(w.done)
	for {
		chunk, jobs, more := w.next()
		if !more {
			return
		}
		if len(chunk) > 0 {
			w.pass(chunk)
			w.keep(chunk)
		}
		for _, job := range jobs {
			job()
			w.dropTorn() // f may have put another file in place
		}
	}
}

// next waits for lines or jobs and takes them; more is false at the end.
func (w *Writer) next() (chunk []byte, jobs []func(), more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.waiting) == 0 && len(w.jobs) == 0 {
		if w.closing {
			return nil, nil, false
		}
		w.wake.Wait()
	}
	chunk, w.waiting, w.spare = w.waiting, w.spare, nil
	jobs, w.jobs = w.jobs, nil
	return chunk, jobs, true
}

// keep makes chunk the spare buffer, unless it has become large.
func (w *Writer) keep(chunk []byte) {
	if cap(chunk) > largestKept {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spare = chunk[:0]
}

// pass writes lines, after the rest of one that was torn.
func (w *Writer) pass(chunk []byte) {
	if len(w.torn) > 0 {
		n, err := w.try(w.torn)
		w.torn = w.torn[n:]
		if err != nil {
			w.fail(chunk, err)
			return
		}
	}
	n, err := w.try(chunk)
	if err != nil {
		rest := chunk[n:]
		if n > 0 && chunk[n-1] != '\n' {
			end := bytes.IndexByte(rest, '\n') + 1
			w.torn = append(w.torn[:0], rest[:end]...)
			rest = rest[end:]
		}
		w.fail(rest, err)
		return
	}
	w.mu.Lock()
	gap, tell := w.gap, w.opt.Lost
	w.gap = Loss{}
	w.mu.Unlock()
	if gap.Lines > 0 && tell != nil {
		tell(gap)
	}
}

// fail counts the lines in rest as lost.
func (w *Writer) fail(rest []byte, err error) {
	w.mu.Lock()
	failed := w.loseLocked(rest, err)
	w.mu.Unlock()
	if failed != nil {
		failed(err)
	}
}

// dropTorn gives up the rest of a torn line.
func (w *Writer) dropTorn() {
	if len(w.torn) > 0 {
		w.fail(w.torn, io.ErrShortWrite)
		w.torn = nil
	}
}

// try writes p. It returns how much it has written, and why not more.
func (w *Writer) try(p []byte) (n int, err error) {
	for {
		m, err := w.to.Write(p[n:])
		n += m
		switch {
		case n >= len(p):
			return n, nil
		case errors.Is(err, syscall.EAGAIN): // a non-blocking descriptor that Go's poller does not watch
			time.Sleep(tryAgain)
		case err == nil:
			return n, io.ErrShortWrite
		default:
			return n, err
		}
	}
}
