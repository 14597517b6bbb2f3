package lease

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/journal"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/private"
)

// Options configure a Crew. Control is required.
type Options struct {
	// Options are those of the host. Of them the crew uses Name, Logger, Loaded, Offer, KillAfter and LookEvery; the others
	// are for the keeper.
	worker.Options
	// Control is the keeper to begin with.
	Control Control
	// GreetTime is how long a worker may take to greet before the keeper is asked what it does, and again after each such
	// time; 5 s by default.
	GreetTime time.Duration
}

// Crew gives a gateway's host the workers of a keeper. It is a worker.Crew. New makes one, Start starts it, Attach gives
// it another keeper, and Stop ends it, which leaves the workers to the keeper.
type Crew struct {
	opt      Options
	host     worker.Host
	log      *slog.Logger
	journals journal.Journals
	name     string // of this gateway
	private  *private.Dir

	circuit atomic.Uint32 // a worker.Circuit

	mu          sync.Mutex // the host's lock comes first
	stage       stage
	control     Control            // nil while no keeper can be asked
	attachments int                // so far
	unfollow    context.CancelFunc // ends the attachment
	followed    chan struct{}      // closed when the attachment has ended
	moving      bool               // Attach is asking a keeper
	lostBy      error              // why the keeper could not be asked any more, while moving
	facts       Facts
	retry       time.Time // from facts
	known       map[string]*place
	load        worker.Load
	ends        []EndReport // that were not reported
	served      map[int]int // by worker, all leases together
	position    uint64
	releasing   int // questions of Release that wait for their answers
	listed      bool
	status      worker.Status // the last one
	changed     chan struct{} // closed, and replaced, when any of this has changed

	reporting sync.Mutex // held while a report is made; comes before the host's lock
	last      Report
	lastTo    int                  // the attachment that it was for
	reported  map[int]WorkerReport // without their times

	news      chan struct{} // capacity 1: there is something to report
	attaching sync.Mutex    // held during Attach; comes first
	quit      context.Context
	end       context.CancelFunc
	tasks     sync.WaitGroup // every goroutine of the crew
}

// stage is a stage in the life of a crew.
//
//	fresh --Start--> running --Close--> closing --Stop--> stopped
type stage uint8

const (
	fresh stage = iota
	running
	closing
	stopped
)

// place is a worker that the keeper has told of.
type place struct {
	endpoint Endpoint
	lease    *lease // nil while there is none
	dialling bool
	stop     context.CancelFunc // ends the dialling
	follow   context.Context    // of the attachment by which it is known
	tried    bool               // it was dialled, with or without success
}

// New returns a crew that has not been started.
func New(opt Options, host worker.Host) *Crew {
	opt.Options = opt.Options.WithDefaults()
	if opt.GreetTime == 0 {
		opt.GreetTime = greetTime
	}
	c := &Crew{
		opt: opt, host: host, name: rand.Text(), known: map[string]*place{}, served: map[int]int{},
		changed: make(chan struct{}), news: make(chan struct{}, 1),
	}
	c.quit, c.end = context.WithCancel(context.Background())
	c.log = c.journals.Logger(opt.Logger).With("mount", opt.Name)
	return c
}

// Start attaches this gateway to the keeper, and returns when it has each worker that serves there, or could not get it. It
// waits for startTime at most, because another gateway may have them, or one that has gone may have left them busy. A keeper
// without workers is no error.
func (c *Crew) Start(ctx context.Context) error {
	dir, err := private.Make("lease")
	if err != nil {
		return fmt.Errorf("make a directory for the workers: %w", err)
	}
	c.mu.Lock()
	c.private, c.stage = dir, running
	c.mu.Unlock()
	c.tasks.Go(c.watch)
	c.tasks.Go(c.reportOn)
	if err = c.attach(ctx, c.opt.Control); err == nil {
		err = c.awaitFirst(ctx)
	}
	if err != nil {
		cut, cancel := context.WithCancel(context.WithoutCancel(ctx))
		cancel()
		return errors.Join(fmt.Errorf("get workers from their keeper: %w", err), c.Stop(cut))
	}
	return nil
}

// startTime is how long Start waits for workers once the keeper has told of them.
const startTime = 150 * time.Millisecond

// awaitFirst waits for the list of workers, and then for leases.
func (c *Crew) awaitFirst(ctx context.Context) error {
	if err := c.await(ctx, func() bool { return c.listed || c.control == nil }); err != nil {
		return err
	}
	if _, err := c.asked(); err != nil {
		return err
	}
	soon, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if err := c.await(soon, c.hasAllLocked); err != nil && soon.Err() == nil {
		return err
	}
	return ctx.Err()
}

// hasAllLocked reports whether there is a lease on each worker that serves, or none to be had.
func (c *Crew) hasAllLocked() bool {
	if !c.listed {
		return false
	}
	for _, p := range c.known {
		if p.endpoint.State == Serving && p.lease == nil && !p.tried || p.lease != nil && !p.lease.isReady.Load() {
			return false
		}
	}
	return true
}

// await waits until a condition holds.
func (c *Crew) await(ctx context.Context, holdsLocked func() bool) error {
	for {
		c.mu.Lock()
		done, changed, is := holdsLocked(), c.changed, c.stage
		c.mu.Unlock()
		switch {
		case done:
			return nil
		case is == stopped:
			return worker.ErrClosed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// changedLocked wakes who waits for a change, and finds out what the circuit is now. The caller calls strand without the
// lock if it returns true.
func (c *Crew) changedLocked() (stranded bool) {
	close(c.changed)
	c.changed = make(chan struct{})
	circuit := c.facts.Circuit
	if (c.control == nil || c.stage >= closing) && !c.hasLeasesLocked() {
		circuit = worker.Open
	}
	return worker.Circuit(c.circuit.Swap(uint32(circuit))) == worker.Closed && circuit != worker.Closed
}

func (c *Crew) hasLeasesLocked() bool {
	for _, p := range c.known {
		if p.lease != nil {
			return true
		}
	}
	return false
}

// Attach gives the crew another keeper, or a new way to the same one. Workers that the new one does not know finish what
// they have, and are told to go. Attach returns when the keeper has been asked. After an error the crew has the keeper that
// it had, if it can still be asked.
func (c *Crew) Attach(ctx context.Context, control Control) error { return c.attach(ctx, control) }

func (c *Crew) attach(ctx context.Context, control Control) error {
	c.attaching.Lock()
	defer c.attaching.Unlock()
	c.mu.Lock()
	if c.stage != running {
		c.mu.Unlock()
		return worker.ErrClosed
	}
	c.moving, c.lostBy = true, nil
	c.mu.Unlock()
	follow, cancel := context.WithCancel(c.quit)
	release := context.AfterFunc(ctx, cancel)
	stream, err := control.Attach(follow, c.name)
	if !release() && err == nil {
		err = context.Cause(ctx)
	}
	c.mu.Lock()
	c.moving = false
	lost := c.lostBy
	if err == nil && c.stage != running {
		err = worker.ErrClosed
	}
	if err != nil {
		c.mu.Unlock()
		cancel()
		c.tellLost(lost)
		return err
	}
	if c.unfollow != nil {
		c.unfollow()
	}
	before, done := c.followed, make(chan struct{})
	c.unfollow, c.followed, c.listed = cancel, done, false
	c.control, c.position, c.attachments = control, 0, c.attachments+1
	c.mu.Unlock()
	c.tasks.Go(func() {
		defer close(done)
		if before != nil {
			<-before // it has been told to end
		}
		c.follow(follow, control, stream)
	})
	return nil
}

// follow does what the keeper says until the stream ends.
func (c *Crew) follow(ctx context.Context, control Control, stream Stream) {
	for first := map[string]bool{}; ; {
		changes, err := stream.Next()
		if err != nil {
			if ctx.Err() == nil {
				c.detached(control, err)
			}
			return
		}
		if first != nil {
			for _, e := range changes.Endpoints {
				first[e.Token] = true
			}
		}
		c.apply(ctx, changes)
		if first != nil && changes.Listed {
			c.dropOthers(first)
			first = nil
		}
		c.mu.Lock()
		c.position = changes.Position
		c.listed = c.listed || changes.Listed
		stranded := c.changedLocked()
		c.mu.Unlock()
		c.strand(stranded)
	}
}

// detached is called when a keeper cannot be asked any more.
func (c *Crew) detached(control Control, why error) {
	c.mu.Lock()
	switch {
	case c.control != control:
		why = nil
	case c.moving: // Attach has taken the place of this attachment, or will tell
		c.control, c.lostBy, why = nil, why, nil
	default:
		c.control = nil
	}
	stranded := c.changedLocked()
	c.mu.Unlock()
	c.tellLost(why)
	c.strand(stranded)
}

// tellLost logs why the keeper cannot be asked any more; nil: it can.
func (c *Crew) tellLost(why error) {
	if why == nil {
		return
	}
	c.mu.Lock()
	has := c.hasLeasesLocked()
	c.mu.Unlock()
	c.log.Error("the keeper of the workers cannot be asked any more: there are no new ones until there is another keeper", "error", why, "has_workers", has)
}

// dropOthers lets workers finish that the keeper does not know, and then go, as those that are replaced.
func (c *Crew) dropOthers(known map[string]bool) {
	c.mu.Lock()
	var others []*lease
	for token, p := range c.known {
		if known[token] {
			continue
		}
		if p.stop != nil {
			p.stop()
		}
		if p.lease != nil {
			p.endpoint.State = Draining
			others = append(others, p.lease)
		} else {
			delete(c.known, token)
		}
	}
	c.mu.Unlock()
	for _, l := range others {
		l.orphaned.Store(true)
		l.relieved.Store(true)
		c.tasks.Go(l.station.Relieve)
	}
}

// strand fails what waits, where no worker will soon take it.
func (c *Crew) strand(is bool) {
	if is {
		c.host.Stranded()
	}
}

// apply does what the changes ask for. One goroutine at a time calls it.
func (c *Crew) apply(ctx context.Context, changes Changes) {
	for _, e := range changes.Endpoints {
		c.applyEndpoint(ctx, e)
	}
	if f := changes.Facts; f != nil {
		c.mu.Lock()
		c.facts, c.retry = *f, time.Now().Add(f.RetryAfter)
		stranded := c.changedLocked()
		c.mu.Unlock()
		c.openDir(f.UID)
		c.strand(stranded)
	}
	for _, r := range changes.Records {
		c.logRecord(r)
	}
	if changes.Lost > 0 {
		c.log.Warn(fmt.Sprintf("%d records of the workers' keeper were lost, because this gateway was too slow", changes.Lost))
	}
	if len(changes.Loaded) > 0 && c.opt.Loaded != nil {
		c.opt.Loaded(changes.Loaded)
	}
}

func (c *Crew) logRecord(r Record) {
	_ = r.Handle(context.Background(), c.journals.Logger(c.opt.Logger).Handler()) // a journal has no errors
}

// openDir lets the workers' user, if it is another one, open files by their paths. It cannot list them.
func (c *Crew) openDir(uid int) {
	if own := os.Geteuid(); own == uid || own != 0 {
		return
	}
	if err := os.Chmod(c.Dir(), 0o711); err != nil {
		c.log.Error("the workers cannot open the files of requests", "error", err)
	}
}

// applyEndpoint notes what the keeper says of a worker.
func (c *Crew) applyEndpoint(ctx context.Context, e Endpoint) {
	c.mu.Lock()
	p := c.known[e.Token]
	if p == nil {
		if e.State == Ended {
			c.ends = append(c.ends, EndReport{Worker: e.Worker})
			c.mu.Unlock()
			c.nudge()
			return
		}
		p = &place{}
		c.known[e.Token] = p
	}
	p.endpoint, p.follow = e, ctx
	l := p.lease
	if l == nil {
		switch {
		case e.State == Serving:
			c.dialLocked(ctx, p)
		case p.stop != nil:
			p.stop()
		}
		if e.State == Ended {
			c.ends = append(c.ends, EndReport{Worker: e.Worker, Served: c.served[e.Worker]})
			c.forgetLocked(p)
		}
		c.mu.Unlock()
		c.nudge()
		return
	}
	c.mu.Unlock()
	l.told(e)
}

// forgetLocked removes a worker that has ended.
func (c *Crew) forgetLocked(p *place) {
	delete(c.known, p.endpoint.Token)
	delete(c.served, p.endpoint.Worker)
}

// dialLocked has a worker dialled that serves, unless that is under way or the crew takes none.
func (c *Crew) dialLocked(ctx context.Context, p *place) {
	if p.dialling || c.stage != running || p.endpoint.State != Serving {
		return
	}
	p.dialling = true
	ctx, p.stop = context.WithCancel(ctx)
	e := p.endpoint
	c.tasks.Go(func() { c.dial(ctx, p, e) })
}

// Close implements worker.Crew: no worker is taken on any more, and each connection ends when its worker has no work. The
// workers go on.
func (c *Crew) Close() {
	c.mu.Lock()
	if c.stage != running {
		c.mu.Unlock()
		return
	}
	c.stage = closing
	var all []*lease
	for _, p := range c.known {
		if p.stop != nil {
			p.stop()
		}
		if p.lease != nil {
			all = append(all, p.lease)
		}
	}
	stranded := c.changedLocked()
	c.mu.Unlock()
	c.nudge()
	for _, l := range all {
		l.relieved.Store(true)
		c.tasks.Go(l.station.Relieve) // a worker that does not read must not block the others
	}
	c.strand(stranded)
}

// Stop implements worker.Crew. At the end of ctx the connections are cut. The workers go on, for other gateways.
func (c *Crew) Stop(ctx context.Context) error {
	c.Close()
	c.mu.Lock()
	if c.stage != closing {
		c.mu.Unlock()
		return nil
	}
	c.mu.Unlock()
	noneLocked := func() bool { return !c.hasLeasesLocked() }
	if err := c.await(ctx, noneLocked); err != nil {
		c.mu.Lock()
		for _, p := range c.known {
			if p.lease != nil {
				p.lease.cut()
			}
		}
		c.mu.Unlock()
		if err := c.await(context.Background(), noneLocked); err != nil {
			return err
		}
	}
	c.report()
	c.mu.Lock()
	c.stage = stopped
	c.changedLocked()
	c.mu.Unlock()
	c.end()
	c.tasks.Wait()
	c.journals.Flush()
	return c.private.Remove()
}

// Reload implements worker.Crew.
func (c *Crew) Reload(ctx context.Context) error {
	control, err := c.asked()
	if err != nil {
		return err
	}
	r, err := control.Reload(ctx)
	if err != nil {
		return err
	}
	return c.await(ctx, func() bool { return c.control != control || c.position >= r.Position && c.releasing == 0 })
}

// Resize implements worker.Crew. It returns 0 where the keeper cannot be asked.
func (c *Crew) Resize(n int) int {
	control, err := c.asked()
	if err != nil {
		return 0
	}
	ctx, cancel := c.patience()
	defer cancel()
	r, err := control.Resize(ctx, Resize{n})
	if err != nil {
		c.log.Error("the number of workers cannot be changed", "error", err)
	}
	return r.Workers
}

// askTime is how long the keeper may take to answer a short question.
const askTime = 2 * time.Second

func (c *Crew) patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), askTime)
}

// errNoKeeper is the error while no keeper can be asked.
var errNoKeeper = errors.New("the keeper of the workers cannot be asked")

func (c *Crew) asked() (Control, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.stage != running:
		return nil, worker.ErrClosed
	case c.control == nil:
		return nil, errNoKeeper
	}
	return c.control, nil
}

// RetryAfter implements worker.Crew.
func (c *Crew) RetryAfter() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(time.Until(c.retry), time.Second)
}

// Circuit implements worker.Crew. It takes no lock. Without a keeper and without a worker it is open.
func (c *Crew) Circuit() worker.Circuit { return worker.Circuit(c.circuit.Load()) }

// Dir implements worker.Crew.
func (c *Crew) Dir() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.private == nil {
		return ""
	}
	return c.private.Path()
}

// Give implements worker.Crew. Only root can give a file away.
func (c *Crew) Give(f *os.File) error {
	c.mu.Lock()
	uid := c.facts.UID
	c.mu.Unlock()
	if own := os.Geteuid(); own == uid || own != 0 {
		return nil
	}
	if err := f.Chown(uid, -1); err != nil {
		return fmt.Errorf("give a file to the workers' user: %w", err)
	}
	return nil
}

// Logger implements worker.Crew.
func (c *Crew) Logger() *slog.Logger { return c.log }

// Status implements worker.Crew. Where the keeper cannot be asked, it is what it was. A worker to which the gateway is not
// connected is starting.
func (c *Crew) Status() worker.Status {
	c.report()
	c.mu.Lock()
	control := c.control
	s := c.status
	c.mu.Unlock()
	if control != nil {
		ctx, cancel := c.patience()
		is, err := control.Status(ctx)
		cancel()
		if err == nil {
			s = is
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = s
	s.Workers = append([]worker.ProcessStatus(nil), s.Workers...)
	s.Zygotes = append([]worker.ZygoteStatus(nil), s.Zygotes...)
	s.Circuit = c.Circuit().String() // which is what this gateway acts on
	has := map[int]bool{}
	for _, p := range c.known {
		has[p.endpoint.Worker] = has[p.endpoint.Worker] || p.lease != nil
	}
	for i := range s.Workers {
		if w := &s.Workers[i]; w.State == worker.Serving.String() && !has[w.ID] {
			w.State = worker.Starting.String()
		}
	}
	return s
}

// reportEvery is how many looks at the load there are for a report of what has only grown or flickers: the requests that
// workers have served, and which of them are idle. A report costs both processes a millisecond.
const reportEvery = 5

// watch looks after the host's time limits and its load.
func (c *Crew) watch() {
	ticker := time.NewTicker(c.opt.LookEvery)
	defer ticker.Stop()
	for looks := 1; ; looks++ {
		select {
		case <-c.quit.Done():
			return
		case now := <-ticker.C:
			load := c.host.Look(now)
			c.mu.Lock()
			changes := !c.facts.Fixed && (load.Queued > 0 || c.load.Queued > 0) // the number of workers may follow
			c.load = load
			c.mu.Unlock()
			if changes || looks%reportEvery == 0 {
				c.nudge()
			}
		}
	}
}

// nudge has a report made soon.
func (c *Crew) nudge() {
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// reportOn makes reports when there is something to report.
func (c *Crew) reportOn() {
	for {
		select {
		case <-c.quit.Done():
			return
		case <-c.news:
			c.report()
		}
	}
}

// report tells the keeper what has changed since the last report, if anything has.
func (c *Crew) report() {
	c.reporting.Lock()
	defer c.reporting.Unlock()
	c.mu.Lock()
	control := c.control
	r := Report{Gateway: c.name, Closing: c.stage >= closing}
	if !c.facts.Fixed {
		r.Queued, r.Oldest = c.load.Queued, c.load.Oldest
	}
	var leases []*lease
	for _, p := range c.known {
		if p.lease != nil && p.lease.isReady.Load() && !p.lease.given.Load() {
			leases = append(leases, p.lease)
		}
	}
	ends := c.ends
	c.ends = nil
	again := c.attachments != c.lastTo
	c.lastTo = c.attachments
	c.mu.Unlock()
	if control == nil {
		c.giveBack(ends)
		return
	}
	now := time.Now()
	shape := map[int]WorkerReport{}
	for _, l := range leases {
		since, idle := l.station.Idle()
		w := WorkerReport{Worker: l.endpoint.Worker, Idle: idle}
		if idle {
			w.IdleFor = now.Sub(since)
		}
		c.mu.Lock()
		w.Served = c.served[w.Worker] + int(l.served.Load())
		c.mu.Unlock()
		r.Workers = append(r.Workers, w)
		w.IdleFor = 0 // grows by itself
		shape[w.Worker] = w
	}
	r.Ended = ends
	if len(ends) == 0 && r.Queued == 0 && c.last.Queued == 0 && r.Closing == c.last.Closing && !again && maps.Equal(shape, c.reported) {
		return
	}
	ctx, cancel := c.patience()
	defer cancel()
	if err := control.Report(ctx, r); err != nil {
		c.log.Debug("a report to the keeper of the workers has failed", "error", err)
		c.lastTo = 0
		c.giveBack(ends)
		return
	}
	c.last, c.reported = r, shape
}

// giveBack keeps ends that could not be reported.
func (c *Crew) giveBack(ends []EndReport) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ends = append(ends, c.ends...)
}
