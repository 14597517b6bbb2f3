package worker

import (
	"fmt"

	"github.com/pagi-go/pagi-bridge/bridge/internal/buffer"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

// Greeting returns what a gateway offers its workers: Offer, counts where Counts takes them, and the address of Shared.
func (o *Options) Greeting() wire.Offer {
	offer := o.Offer
	if o.Counts != nil {
		offer.Features |= wire.FeatureCounts
	}
	offer.Shared = o.Shared.Address()
	return offer
}

// Counted handles a COUNT frame of a worker, on a connection with these terms. from identifies the worker until
// Counts.Gone.
func (o *Options) Counted(terms wire.Terms, from any, frame wire.Frame) error {
	if !terms.Features.Has(wire.FeatureCounts) {
		return fmt.Errorf("%w: COUNT on a connection without the feature counts", ErrProtocol)
	}
	list, err := wire.DecodeCount(frame.Payload)
	buffer.Put(frame.Buffer)
	if err != nil {
		return err
	}
	o.Counts.Counted(from, list)
	return nil
}
