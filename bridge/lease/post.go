package lease

import (
	"fmt"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/buffer"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
)

// post is the keeper's side of one worker: a worker.Station. Keeper.mu guards its fields unless their comments say
// otherwise.
type post struct {
	keeper  *Keeper
	id      int
	process *worker.Process
	gone    chan struct{} // closed when it gets no more work

	isKnown bool  // to gateways: it has been ready
	state   State // valid once isKnown
	weigh   bool  // its memory is to be checked
	ready   time.Time
	left    time.Time // when a gateway last gave it back, or died
	exit    string
	counted map[string]int // by gateway: how many requests that it has reported were counted
}

// endpointLocked returns the worker as gateways see it.
func (p *post) endpointLocked() Endpoint {
	e := Endpoint{
		Worker: p.id, Generation: p.process.Generation(), PID: p.process.PID(), UID: p.keeper.facts.UID,
		Kind: p.keeper.kind, State: p.state, Weigh: p.weigh, Exit: p.exit,
	}
	e.Address, e.Token = p.process.Address()
	e.Quota, e.Limited = p.process.Quota()
	return e
}

// publishLocked tells all gateways of the worker, once it has been ready.
func (p *post) publishLocked() {
	if !p.isKnown {
		return
	}
	k := p.keeper
	k.position++
	for _, s := range k.sessions {
		s.endpoints[p.id] = p.endpointLocked()
		s.signal()
	}
}

// enterLocked takes the worker to a later state, and reports whether it has.
func (p *post) enterLocked(next State) bool {
	if next <= p.state {
		return false
	}
	if p.state < Draining && next >= Draining {
		close(p.gone)
	}
	p.state = next
	p.publishLocked()
	return true
}

// makeWayLocked has a relieved worker go that no gateway has.
func (p *post) makeWayLocked() bool {
	if !p.process.MakeWay() {
		return false
	}
	p.enterLocked(Draining)
	p.process.Flush() // a few bytes to a worker that has read all
	return true
}

// stayLocked has a worker serve on that was relieved, and whose successor has failed.
func (p *post) stayLocked() {
	if p.state == Relieved && !p.process.Relieved() && p.process.State() == worker.Serving {
		p.state = Serving
		p.publishLocked()
	}
}

// Ready implements worker.Station. It returns when a gateway has the worker, so that those whose place it takes are not
// relieved before.
func (p *post) Ready() {
	k := p.keeper
	k.mu.Lock()
	p.isKnown, p.ready = true, time.Now()
	p.publishLocked()
	k.tellFactsLocked()
	k.mu.Unlock()
	k.await(p.gone, func() bool {
		for _, s := range k.sessions {
			if _, is := s.workers[p.id]; is {
				return true
			}
		}
		for _, s := range k.sessions {
			if !s.report.Closing {
				return false
			}
		}
		return true
	})
}

// Frame implements worker.Station. The keeper gives the worker no requests.
func (p *post) Frame(frame wire.Frame) error {
	if frame.Type == wire.Log {
		p.process.Log(p.process.Logger(), frame)
		return nil
	}
	buffer.Put(frame.Buffer)
	return fmt.Errorf("%w: %s from a worker that was not busy", worker.ErrProtocol, frame.Type)
}

// Idle implements worker.Station.
func (p *post) Idle() (since time.Time, is bool) {
	p.keeper.mu.Lock()
	defer p.keeper.mu.Unlock()
	return p.idleLocked()
}

// idleLocked reports whether no gateway has work for the worker. One that no gateway has is idle.
func (p *post) idleLocked() (since time.Time, is bool) {
	if !p.isKnown || p.state != Serving {
		return time.Time{}, false
	}
	since = p.ready
	if p.left.After(since) {
		since = p.left
	}
	for _, s := range p.keeper.sessions {
		if h, is := s.workers[p.id]; is {
			if !h.idle {
				return time.Time{}, false
			}
			if h.since.After(since) {
				since = h.since
			}
		}
	}
	return since, true
}

// Relieve implements worker.Station.
func (p *post) Relieve() {
	p.keeper.mu.Lock()
	defer p.keeper.mu.Unlock()
	if !p.isKnown || p.state > Relieved {
		return
	}
	p.state = Relieved
	p.publishLocked()
	if !p.keeper.isHeldLocked(p.id, nil) {
		p.makeWayLocked()
	}
}

// Withdraw implements worker.Station.
func (p *post) Withdraw() { p.enter(Withdrawn) }

func (p *post) enter(next State) {
	p.keeper.mu.Lock()
	defer p.keeper.mu.Unlock()
	p.enterLocked(next)
}

// Drain implements worker.Station. The worker gets DRAIN from the keeper, or from the gateway that it listens to.
func (p *post) Drain() {
	p.enter(Draining)
	p.process.Drain()
	p.process.Flush()
}

// Exiting implements worker.Station. The worker says the same to its gateway, in its place among the answers.
func (p *post) Exiting() error {
	p.Withdraw()
	return nil
}

// Broken implements worker.Station.
func (p *post) Broken(error) { p.Withdraw() }

// Ended implements worker.Station. It returns when the gateways have told whether the worker had work.
func (p *post) Ended(end worker.End) (atWork bool) {
	k := p.keeper
	k.mu.Lock()
	p.exit = end.Exit
	p.enterLocked(Ended)
	var asked []*session
	if p.isKnown {
		for _, s := range k.sessions {
			asked = append(asked, s)
		}
	}
	k.mu.Unlock()
	k.await(nil, func() bool {
		for _, s := range asked {
			if _, told := s.ended[p.id]; !told && k.sessions[s.gateway] == s {
				return false
			}
		}
		return true
	})
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range asked {
		atWork = atWork || s.ended[p.id]
		delete(s.ended, p.id)
	}
	delete(k.posts, p.id)
	return atWork
}
