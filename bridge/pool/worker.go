package pool

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

const (
	// helloTimeout is how long a connection may take to say who it is.
	helloTimeout = 5 * time.Second
	// drainTimeout is how long what a dead worker has written is waited for, and
	// how long one that has closed its connection may take to end.
	drainTimeout = 500 * time.Millisecond
	// quickAverage is the time per request up to which a worker gets batches.
	quickAverage = time.Millisecond
	// stallTime is how long a batch may make no progress before it is taken apart.
	stallTime = 5 * time.Millisecond
	// longEnough is how long a worker must have lived for its end not to count
	// as a failed start.
	longEnough = time.Second
	// tellAgain is how long the same reason for a failed start is told only once.
	tellAgain = 5 * time.Minute
	// maxBackoff is the longest time between two attempts to start a worker.
	maxBackoff = 30 * time.Second
)

// worker is one process and its connection. Its fields are guarded by Pool.mu,
// except where it says otherwise.
type worker struct {
	pool    *Pool
	id      int
	token   string
	since   time.Time
	spawned chan struct{} // closed when the process runs, or could not be started
	known   chan struct{} // closed when it has said hello
	lost    chan struct{} // closed when the connection's reader has ended
	exited  chan struct{} // closed when the process has ended, or could not be started
	abort   chan struct{} // closed when no client is to be waited for any more
	exit    string        // how it ended; valid after exited

	pid       int
	output    *output  // nil until it has started
	conn      net.Conn // nil until it has said hello
	state     State
	wasReady  bool
	failure   string      // why it could not get ready, in its own words
	inflight  []*exchange // what it has been given, in order
	batch     []byte      // frames to be written
	left      time.Time   // when it became Exiting
	killed    bool        // kill is at work
	surprise  bool        // its process ended unasked
	cleaning  bool        // busy with what an application does after its answer
	served    int
	progress  time.Time // of the last sign of life while busy
	paused    bool      // the reader waits for a slow client
	begun     time.Time // when the batch was given
	given     int       // how many requests were in it
	average   time.Duration
	stall     *time.Timer
	successor *worker // takes over when it is ready

	log atomic.Pointer[slog.Logger]

	writing sync.Mutex // held while batch is swapped and written
	spare   []byte     // guarded by writing
}

func (w *worker) logger() *slog.Logger { return w.log.Load() }

// launchLocked starts a worker, to take over from predecessor unless that is nil.
func (p *Pool) launchLocked(predecessor *worker) {
	p.launched++
	w := &worker{
		pool:    p,
		id:      p.launched,
		token:   rand.Text(),
		since:   time.Now(),
		spawned: make(chan struct{}),
		known:   make(chan struct{}),
		lost:    make(chan struct{}),
		exited:  make(chan struct{}),
		abort:   make(chan struct{}),
	}
	w.log.Store(p.log.With("worker", w.id))
	if predecessor != nil {
		predecessor.successor = w
	}
	p.workers[w] = struct{}{}
	p.tokens[w.token] = w
	p.tasks.Go(w.live)
}

// mayLaunchLocked reports whether the time for another attempt has come.
func (p *Pool) mayLaunchLocked() bool {
	return !p.closing && (p.failures == 0 || time.Now().After(p.nextTry))
}

// topUpLocked starts workers until there are as many as there should be; one at a
// time while starting fails.
func (p *Pool) topUpLocked() {
	serving := 0
	for w := range p.workers {
		if w.state == Starting && p.failures > 0 {
			return
		}
		if w.state <= Busy && w.successor == nil {
			serving++
		}
	}
	for ; serving < p.opt.Workers && p.mayLaunchLocked(); serving++ {
		p.launchLocked(nil)
		if p.failures > 0 {
			return
		}
	}
}

// settleLocked forgets failed starts once a worker has lived long enough.
func (p *Pool) settleLocked(now time.Time) {
	for w := range p.workers {
		if w.isServing() && now.Sub(w.since) > longEnough {
			p.failures = 0
		}
	}
}

// unlinkLocked makes whoever waits for w to take over wait no longer.
func (p *Pool) unlinkLocked(w *worker) {
	for other := range p.workers {
		if other.successor == w {
			other.successor = nil
		}
	}
}

// live starts the process and sees it through to its end.
func (w *worker) live() {
	p := w.pool
	err := w.start()
	close(w.spawned)
	if err != nil {
		p.mu.Lock()
		w.failure = err.Error()
		p.mu.Unlock()
		w.exit = "it was not started"
		close(w.exited)
		w.bury()
		return
	}
	select {
	case <-w.exited:
	case <-w.lost:
		w.awaitExit()
	}
	p.mu.Lock()
	w.surprise = w.isServing()
	w.leave(time.Now())
	p.removeIdleLocked(w)
	p.topUpLocked()
	p.mu.Unlock()
	w.readRest()
	w.bury()
}

// awaitExit waits for a process that has closed its connection: for a moment, or
// for the kill grace where it was expected to go and may have END blocks to run.
func (w *worker) awaitExit() {
	w.pool.mu.Lock()
	patience := drainTimeout
	if w.state == Draining || w.state == Exiting {
		patience = w.pool.opt.KillGrace
	}
	w.pool.mu.Unlock()
	select {
	case <-w.exited:
	case <-time.After(patience):
		w.kill()
		<-w.exited
	}
}

// readRest waits until what the process wrote before it ended has been read, and
// closes the connection. A child of the application may have it open, too, so the
// end of the data does not always show; a client that is slow to take it may take
// its time.
func (w *worker) readRest() {
	p := w.pool
	select {
	case <-w.known:
	case <-time.After(drainTimeout): // what it said before it ended may still be on its way
	}
	p.mu.Lock()
	delete(p.tokens, w.token)
	conn := w.conn
	p.mu.Unlock()
	if conn == nil {
		return
	}
	for paused := true; paused; {
		select {
		case <-w.lost:
			paused = false
		case <-time.After(drainTimeout):
			p.mu.Lock()
			paused = w.paused
			p.mu.Unlock()
		}
	}
	_ = conn.Close() // an error tells nothing: the peer is gone
	<-w.lost
}

// start starts the process and the goroutines that read its output and wait for it.
func (w *worker) start() error {
	p := w.pool
	cmd, input, err := p.opt.Start(Setup{
		Dir:    p.dir,
		Socket: filepath.Join(p.dir, "socket"),
		Token:  w.token,
		Worker: w.id,
	})
	if err != nil {
		return err
	}
	cmd.Stdin = strings.NewReader(string(input))
	isolate(cmd)
	output, err := w.captureOutput(cmd)
	if err != nil {
		return err
	}
	err = cmd.Start()
	output.started(err)
	if err != nil {
		return fmt.Errorf("start a worker: %w", err)
	}
	p.mu.Lock()
	w.output, w.pid = output, cmd.Process.Pid
	w.log.Store(w.logger().With("pid", w.pid))
	p.mu.Unlock()
	p.tasks.Go(func() {
		// The error only repeats the state, or says that the input was not read.
		_ = cmd.Wait()
		w.exit = cmd.ProcessState.String()
		output.ended()
		close(w.exited)
	})
	return nil
}

// greet makes a connection a worker's.
func (p *Pool) greet(conn net.Conn) {
	reader := wire.NewReader(bufio.NewReaderSize(conn, 64<<10), allocate)
	w, err := p.introduce(conn, reader)
	if err != nil {
		level := slog.LevelError
		if errors.Is(err, io.EOF) { // it was killed while it started
			level = slog.LevelDebug
		}
		p.log.Log(context.Background(), level, "refused a worker's connection", "error", err)
		_ = conn.Close() // it was of no use anyway
		return
	}
	err = w.read(reader) // never nil
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, net.ErrClosed) && !isReset(err) {
		w.logger().Error("the worker broke the protocol and is killed", "error", err)
		p.mu.Lock()
		w.failure = err.Error()
		p.mu.Unlock()
		p.tasks.Go(w.kill)
	}
	close(w.lost)
}

func (p *Pool) introduce(conn net.Conn, reader *wire.Reader) (*worker, error) {
	if err := conn.SetReadDeadline(time.Now().Add(helloTimeout)); err != nil {
		return nil, err
	}
	frame, err := reader.Next()
	if err != nil {
		return nil, fmt.Errorf("no HELLO: %w", err)
	}
	if frame.Type != wire.Hello {
		return nil, fmt.Errorf("%w: %s instead of HELLO", ErrProtocol, frame.Type)
	}
	hello, err := wire.DecodeHello(frame.Payload)
	release(frame.Buffer)
	if err != nil {
		return nil, err
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.tokens[hello.Token]
	if w == nil {
		return nil, errors.New("HELLO with a token that is not expected")
	}
	if hello.Version != wire.Version {
		w.failure = fmt.Sprintf("it speaks version %d of the protocol, the gateway %d", hello.Version, wire.Version)
		w.leave(time.Now())
		p.unlinkLocked(w)
		p.tasks.Go(w.kill)
		return nil, errors.New(w.failure)
	}
	delete(p.tokens, hello.Token)
	w.conn = conn
	close(w.known)
	return w, nil
}

// sendBatch writes what was put into the batch. An error needs no handling here:
// the reader sees the end of the connection, too.
func (w *worker) sendBatch() {
	w.writing.Lock()
	defer w.writing.Unlock()
	w.pool.mu.Lock()
	batch := w.batch
	w.batch = w.spare[:0]
	conn := w.conn
	w.pool.mu.Unlock()
	if conn != nil && len(batch) > 0 {
		if _, err := conn.Write(batch); err != nil {
			w.logger().Debug("cannot write to the worker", "error", err)
		}
	}
	w.spare = batch
	if cap(batch) > 1<<20 {
		w.spare = nil
	}
}

// write sends a frame of its own.
func (w *worker) write(frame []byte) {
	w.pool.mu.Lock()
	w.batch = append(w.batch, frame...)
	w.pool.mu.Unlock()
	w.sendBatch()
}

// retire puts DRAIN into the batch: the worker ends once it has done what it has.
// The caller holds Pool.mu and sends the batch.
func (w *worker) retire() {
	switch w.state {
	case Ready, Busy:
		w.state, w.progress = Draining, time.Now()
	case Starting:
		w.leave(time.Now())
	default:
		return
	}
	w.pool.removeIdleLocked(w)
	w.batch = wire.AppendFrame(w.batch, wire.Drain, 0, 0, nil)
}

// stop sends what retire has put into the batch and waits for the process to end,
// which it does not leave to it for longer than ctx allows.
func (w *worker) stop(ctx context.Context) {
	w.sendBatch()
	w.pool.mu.Lock()
	connected := w.wasReady
	w.pool.mu.Unlock()
	if connected {
		select {
		case <-w.exited:
		case <-ctx.Done():
		}
	}
	select {
	case <-w.exited:
	default:
		w.kill()
	}
	select {
	case <-w.lost: // all it has written was read
	case <-ctx.Done():
	case <-time.After(drainTimeout): // it was never connected, or its client is slow and ctx has no end
	}
	close(w.abort)
}

// kill ends the worker's process group: TERM, then KILL after the grace for
// whatever is left of it, the worker or what it has started.
func (w *worker) kill() {
	<-w.spawned
	w.pool.mu.Lock()
	pid := w.pid
	w.pool.mu.Unlock()
	if pid == 0 {
		return // it could not be started
	}
	terminate(pid)
	deadline := time.After(w.pool.opt.KillGrace)
	exited := w.exited
	for groupExists(pid) {
		select {
		case <-exited:
			exited = nil // look after its children more often
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			killGroup(pid)
			<-w.exited
			return
		}
	}
	<-w.exited
}

// bury is the last thing done for a worker: what it had goes elsewhere or fails,
// and another one is started in its place.
func (w *worker) bury() {
	p := w.pool
	words := ""
	if w.output != nil {
		words = w.output.lastWords()
	}
	p.mu.Lock()
	if w.stall != nil {
		w.stall.Stop()
	}
	delete(p.workers, w)
	delete(p.tokens, w.token)
	label := ""
	if len(w.inflight) > 0 && !w.cleaning {
		label = w.inflight[0].label
	}
	begun, waiting := w.partLocked()
	send := p.requeueLocked(waiting)
	w.state = Dead
	p.unlinkLocked(w)
	startError := w.recordLocked(words, label != "")
	p.topUpLocked()
	p.checkDrainedLocked()
	var stranded []*exchange
	if len(p.workers) == 0 {
		stranded = p.queue.takeAll()
	}
	p.mu.Unlock()

	switch {
	case startError != nil:
	case label != "":
		w.logger().Error("the worker died in a request", "request", label, "exit", w.exit)
	case w.surprise:
		w.logger().Warn("the worker ended by itself", "exit", w.exit)
	default:
		w.logger().Debug("the worker ended", "exit", w.exit)
	}
	if begun != nil {
		begun.fail(fmt.Errorf("%w (%s)", ErrWorkerDied, w.exit))
	}
	for _, x := range stranded {
		x.fail(ErrNoWorkers)
	}
	for _, other := range send {
		other.sendBatch()
	}
}

// partLocked divides what a dead worker had into the request that must fail, or
// nil, and those that can be given to others: the ones it had not begun, and the
// begun one once, when its method is safe and nothing has been seen of its answer.
func (w *worker) partLocked() (begun *exchange, waiting []*exchange) {
	waiting = w.inflight
	w.inflight = nil
	for _, x := range waiting {
		x.worker = nil
	}
	if len(waiting) == 0 || w.cleaning {
		return nil, waiting
	}
	first := waiting[0]
	if first.safe && !first.repeated && !first.isTouched() && !w.pool.closing {
		first.repeated = true
		return nil, waiting
	}
	return first, waiting[1:]
}

// recordLocked keeps account of starts that came to nothing and returns what there
// is to be told about this one, nil when it had been a working worker.
func (w *worker) recordLocked(words string, inRequest bool) error {
	p := w.pool
	if p.closing || w.wasReady && (inRequest || w.served > 0 || time.Since(w.since) > longEnough) {
		return nil
	}
	reason := w.failure
	if reason == "" {
		reason = "it ended before it had served anything (" + w.exit + ")"
		if words != "" {
			reason += ": " + words
		}
	}
	err := errors.New(reason)
	now := time.Now()
	p.failures++
	p.nextTry = now.Add(min(time.Second<<min(p.failures-1, 5), maxBackoff))
	if !w.wasReady && p.startedLocked(err) {
		return err // Start tells it
	}
	level := slog.LevelDebug
	if reason != p.told || now.Sub(p.toldAt) > tellAgain {
		level, p.told, p.toldAt = slog.LevelError, reason, now
	}
	w.logger().Log(context.Background(), level, "a worker cannot be started", "error", reason, "next", p.nextTry.Format(time.TimeOnly))
	return err
}
