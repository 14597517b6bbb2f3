package natspubsub

import "time"

// Kill ends a Broker as the end of its process would: NATS loses its connection, and the other nodes are
// not told.
func (b *Broker) Kill() { b.node.stop(false) }

// Hang makes a Broker do nothing until the function that is returned is called. NATS keeps its
// connection.
func (b *Broker) Hang() (goOn func()) {
	until := make(chan struct{})
	hangs := make(chan struct{})
	go func() {
		b.node.calls <- func() { close(hangs); <-until }
	}()
	<-hangs
	return func() { close(until) }
}

// Leads reports whether a Broker leads the others.
func (b *Broker) Leads() (leads bool) {
	_ = b.node.do(b.node.life, func() { leads = b.node.role == leading })
	return leads
}

// Tick is how often a Broker tells that it is there.
func (b *Broker) Tick() time.Duration { return b.lease() / ticksOfLease }
