package worker

import (
	"fmt"

	"github.com/pagi-go/pagi-bridge/bridge/internal/buffer"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

// Features returns the features that a gateway offers its workers: those of Offer, and counts where Counts takes them.
func (o *Options) Features() wire.Features {
	if o.Counts == nil {
		return o.Offer.Features
	}
	return o.Offer.Features | wire.FeatureCounts
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
