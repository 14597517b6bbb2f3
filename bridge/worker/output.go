package worker

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/hung"
	"github.com/pagi-go/pagi-bridge/internal/sysio"
)

// maxLine is the longest line of a worker's output that becomes one record.
const maxLine = 8 << 10

// output carries a worker's standard output and standard error into the log.
type output struct {
	read, write *os.File
	path        string        // of its FIFO; "" for a pipe
	done        chan struct{} // closed when the last line has been read
	inbox       hung.Inbox    // takes the Perl stack out of it

	mu    sync.Mutex
	start []string // the last lines printed before the worker was ready
}

// startLines is how many lines of output go into the error of a failed start.
const startLines = 12

// lastWords returns the last few lines that the worker has printed before it was ready,
// once it has ended.
func (o *output) lastWords() string {
	<-o.done
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.start, "\n")
}

// captureOutput makes one pipe for both streams of a process and starts to read it. The output of a
// worker never reaches a client and never blocks the worker: see package journal.
func (w *peer) captureOutput() (*output, error) {
	r, wr, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	o := &output{read: r, write: wr, done: make(chan struct{})}
	w.group.tasks.Go(func() { o.pass(w) })
	return o, nil
}

// started closes the gateway's copy of the end that the worker writes to.
func (o *output) started(err error) {
	_ = o.write.Close() // this process wrote nothing to it
	if o.path != "" {
		_ = os.Remove(o.path) // otherwise it is removed with the directory
	}
	if err != nil {
		o.end(0)
	}
}

// ended makes the reader stop soon, even if a child that the application left behind still has the
// pipe open.
func (o *output) ended() {
	o.started(nil)
	o.end(drainTimeout)
}

func (o *output) end(in time.Duration) {
	// A pipe that cannot have a deadline was closed already.
	_ = o.read.SetReadDeadline(time.Now().Add(in))
}

func (o *output) pass(w *peer) {
	defer close(o.done)
	defer func() { _ = o.read.Close() }() // this end was only read from
	lines := bufio.NewReaderSize(&sysio.PipeReader{File: o.read}, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		if text := o.inbox.Take(strings.TrimRight(string(line), "\r\n")); text != "" {
			w.group.mu.Lock()
			log, starting := w.logger(), !w.wasReady
			w.group.mu.Unlock()
			if starting { // the error of a failed start contains the last lines
				o.mu.Lock()
				o.start = append(o.start[max(0, len(o.start)-startLines+1):], text)
				o.mu.Unlock()
			}
			log.Warn(text)
		}
		switch {
		case err == nil, errors.Is(err, bufio.ErrBufferFull):
		case err == io.EOF, errors.Is(err, os.ErrDeadlineExceeded):
			return
		default:
			w.logger().Warn("cannot read the worker's output", "error", err)
			return
		}
	}
}
