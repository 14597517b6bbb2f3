package lease

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/buffer"
	"github.com/pagi-go/pagi-bridge/bridge/internal/descriptor"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/proc"
	"github.com/pagi-go/pagi-bridge/internal/sysio"
)

const (
	// greetTime is the default of Options.GreetTime.
	greetTime = 5 * time.Second
	// A worker that cannot be dialled is dialled again after a pause, which grows from leastPause to mostPause.
	leastPause = 20 * time.Millisecond
	mostPause  = time.Second
)

// errLies is the error of a worker that is not what its keeper says, or does not speak the protocol.
var errLies = errors.New("the worker does not keep to the protocol")

// dial makes a lease on a worker. It tries until it has one, or ctx ends because the worker does not serve any more.
func (c *Crew) dial(ctx context.Context, p *place, e Endpoint) {
	since, pause := time.Now(), leastPause
	for ctx.Err() == nil {
		l, err := c.greet(ctx, e, since)
		if err == nil {
			c.take(ctx, p, l)
			return
		}
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, errLies) {
			c.log.Error("a worker cannot be used and is killed", "worker", e.Worker, "pid", e.PID, "error", err)
			c.denounce(Kill{Worker: e.Worker, Reason: err.Error(), Broken: true})
		} else {
			c.log.Debug("a worker cannot be reached", "worker", e.Worker, "pid", e.PID, "error", err)
			if waited := time.Since(since); waited > c.opt.GreetTime {
				c.denounce(Kill{Worker: e.Worker, Reason: err.Error(), Silent: true, For: waited})
			}
		}
		c.mu.Lock()
		p.tried = true
		c.changedLocked()
		c.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(pause):
			pause = min(2*pause, mostPause)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p.dialling, p.tried = false, true
	if p.endpoint.State == Serving { // it serves again, or the keeper is another line to the same one
		if p.follow != nil && p.follow.Err() == nil {
			c.dialLocked(p.follow, p)
		}
	}
	c.changedLocked()
}

// denounce has the keeper kill a worker that cannot be used, and reports whether it will.
func (c *Crew) denounce(k Kill) bool {
	control, err := c.asked()
	if err != nil {
		return false
	}
	k.Gateway = c.name
	ctx, cancel := c.patience()
	defer cancel()
	r, err := control.Kill(ctx, k)
	if err != nil {
		c.log.Debug("the keeper cannot be told of a worker", "worker", k.Worker, "error", err)
	}
	return err == nil && r.Killed
}

// greet dials a worker and greets it. A blocking worker that another gateway has answers once that has ended its lease.
func (c *Crew) greet(ctx context.Context, e Endpoint, since time.Time) (*lease, error) {
	var dialer net.Dialer
	made, err := dialer.DialContext(ctx, "unix", e.Address)
	if err != nil {
		return nil, err
	}
	conn := made.(*net.UnixConn)
	l, err := c.greetOn(ctx, conn, e, since)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return l, nil
}

func (c *Crew) greetOn(ctx context.Context, conn *net.UnixConn, e Endpoint, since time.Time) (*lease, error) {
	peer, known, err := proc.PeerOf(conn)
	switch {
	case err != nil:
		return nil, err
	case known && (peer.UID != e.UID || peer.PID != e.PID):
		return nil, fmt.Errorf("%w: process %d of user %d listens for it, and not process %d of user %d", errLies, peer.PID, peer.UID, e.PID, e.UID)
	}
	own := c.opt.Greeting()
	quick, from := sysio.New(conn), io.Reader(nil)
	var files *descriptor.Reader
	switch {
	case e.UID == os.Geteuid():
		own.Features |= wire.FeaturePaths
	case e.Kind == Requests: // package mux takes no descriptors on a connection that others read
		own.Features |= wire.FeatureDescriptors
		files = descriptor.NewReader(conn, worker.ErrProtocol)
		from = files
	}
	if from == nil {
		from = quick
	}
	hello := wire.AppendHello(nil, wire.HelloPayload{Versions: wire.Supported, PID: uint32(os.Getpid()), Token: e.Token, Offer: own})
	if _, err := quick.Write(hello); err != nil {
		return nil, err
	}
	l := &lease{
		crew: c, endpoint: e, log: c.log.With("worker", e.Worker, "pid", e.PID),
		reader: wire.NewReader(bufio.NewReaderSize(from, 64<<10), buffer.Get), files: files,
		abort: make(chan struct{}), lost: make(chan struct{}), ended: make(chan struct{}),
	}
	answered := make(chan error, 1)
	c.tasks.Go(func() {
		var err error
		l.terms, err = welcomed(l.reader, own, c.opt.Need)
		answered <- err
	})
	late := time.NewTimer(c.opt.GreetTime)
	defer late.Stop()
	for {
		select {
		case err = <-answered:
		case <-ctx.Done():
			err = errors.Join(context.Cause(ctx), conn.Close())
			<-answered
		case <-late.C:
			waited := time.Since(since).Round(time.Second)
			if !c.denounce(Kill{Worker: e.Worker, Reason: fmt.Sprintf("it has not greeted this gateway for %v", waited), Silent: true, For: waited}) {
				late.Reset(c.opt.GreetTime)
				continue
			}
			l.log.Error("a worker is killed", "reason", fmt.Sprintf("it has not greeted this gateway for %v", waited))
			err = errors.Join(errors.New("it has not greeted this gateway in time"), conn.Close())
			<-answered
		}
		break
	}
	if err != nil {
		return nil, err
	}
	l.out.Connect(quick)
	return l, nil
}

// welcomed reads WELCOME and READY.
func welcomed(reader *wire.Reader, own wire.Offer, need wire.Features) (terms wire.Terms, err error) {
	frame, err := reader.Next()
	if err != nil {
		return terms, notGreeted(err)
	}
	switch frame.Type {
	case wire.Welcome:
		w, err := wire.DecodeWelcome(frame.Payload)
		if err == nil {
			terms, err = wire.Accept(own, w)
		}
		if err == nil && !terms.Features.Has(need) {
			err = fmt.Errorf("it has the features %q, and this side needs %q", terms.Features, need)
		}
		if err != nil {
			return terms, fmt.Errorf("%w: %w", errLies, err)
		}
	case wire.Refused:
		return terms, fmt.Errorf("%w: it has refused this gateway: %s", errLies, worker.Shorten(string(frame.Payload)))
	default:
		return terms, fmt.Errorf("%w: %s instead of WELCOME", errLies, frame.Type)
	}
	buffer.Put(frame.Buffer)
	if frame, err = reader.Next(); err != nil {
		return terms, notGreeted(err)
	}
	buffer.Put(frame.Buffer)
	if frame.Type != wire.Ready {
		return terms, fmt.Errorf("%w: %s instead of READY", errLies, frame.Type)
	}
	return terms, nil
}

// notGreeted tells a connection that has ended, which says nothing of the worker, from one that carries garbage.
func notGreeted(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("no answer to HELLO: %w", err)
	}
	return fmt.Errorf("%w: %w", errLies, err)
}

// take makes the lease known, and gives it to the host.
func (c *Crew) take(ctx context.Context, p *place, l *lease) {
	l.place = p
	l.state.Store(uint32(worker.Serving))
	l.station = c.host.Employ(l)
	c.mu.Lock()
	p.dialling, p.tried, p.lease = false, true, l
	e, late := p.endpoint, c.stage != running
	c.mu.Unlock()
	c.tasks.Go(l.live)
	// What the keeper or Close has said meanwhile, when there was no lease to be told.
	if e.State != Serving || e.Weigh {
		l.told(e)
	}
	if late {
		l.relieved.Store(true)
		l.station.Relieve()
	}
}
