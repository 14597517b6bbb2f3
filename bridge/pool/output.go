package pool

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// maxLine is the longest line of a worker's output that becomes one record.
const maxLine = 8 << 10

// output is a worker's standard output and error on their way into the log.
type output struct {
	read, write *os.File
	path        string        // of the FIFO it comes through; "" for a pipe
	done        chan struct{} // closed when the last line has been read

	mu    sync.Mutex
	start []string // the last lines printed before the worker was ready
}

// startLines is how many lines of output go into the error of a failed start.
const startLines = 12

// firstLines returns what the worker has printed before it was ready, the last few
// lines of it.
func (o *output) firstLines() []string {
	if o == nil {
		return nil // it was quicker than we are
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.start
}

// lastWords returns the same once the worker has ended.
func (o *output) lastWords() string {
	<-o.done
	return strings.Join(o.firstLines(), "\n")
}

// captureOutput gives the command one pipe for both streams and starts to read it.
// What a worker prints never reaches a client and never blocks the worker: see
// journals.
func (w *peer) captureOutput(cmd *exec.Cmd) (*output, error) {
	r, wr, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = wr, wr
	o := &output{read: r, write: wr, done: make(chan struct{})}
	w.pool.tasks.Go(func() { o.pass(w) })
	return o, nil
}

// started closes the gateway's copy of the end the worker writes to.
func (o *output) started(err error) {
	_ = o.write.Close() // nothing was written to it here
	if o.path != "" {
		_ = os.Remove(o.path) // it goes with the directory, at the latest
	}
	if err != nil {
		o.end(0)
	}
}

// ended makes the reader stop soon, even when a child the application left behind
// still has the pipe.
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
	defer func() { _ = o.read.Close() }() // only read from
	lines := bufio.NewReaderSize(o.read, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		if text := strings.TrimRight(string(line), "\r\n"); text != "" {
			w.pool.mu.Lock()
			log, starting := w.logger(), !w.wasReady
			w.pool.mu.Unlock()
			level := slog.LevelWarn
			if starting {
				level = slog.LevelDebug // told again when it is ready, or with the error
				o.mu.Lock()
				o.start = append(o.start[max(0, len(o.start)-startLines+1):], text)
				o.mu.Unlock()
			}
			log.Log(context.Background(), level, text)
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
