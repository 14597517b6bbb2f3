package tracing

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"go.opentelemetry.io/otel/trace"
)

// sampler decides which requests are recorded, before anything is allocated for them.
type sampler struct {
	share       float64
	bound       uint64 // of the second half of the id of a trace, shifted right by one
	parentBased bool   // a request with a parent is recorded if the parent is
}

func newSampler(share float64, parentBased bool) sampler {
	return sampler{share: share, bound: uint64(share * (1 << 63)), parentBased: parentBased}
}

// takes reports whether a trace is among the share that is recorded. Other programs with the sampler traceidratio of
// OpenTelemetry decide alike.
func (s *sampler) takes(id trace.TraceID) bool {
	return s.share >= 1 || binary.BigEndian.Uint64(id[8:])>>1 < s.bound
}

// decide reports whether a request is recorded. A request without a parent gets the id of a new trace.
func (s *sampler) decide(p *parent, has bool) bool {
	switch {
	case has && s.parentBased:
		return p.isSampled()
	case has:
		return s.takes(p.trace)
	case s.share <= 0:
		return false
	}
	p.trace = newTraceID()
	return s.takes(p.trace)
}

// String implements fmt.Stringer.
func (s sampler) String() string {
	if s.parentBased {
		return fmt.Sprintf("%v of requests without a parent", s.share)
	}
	return fmt.Sprintf("%v of all requests", s.share)
}

func newTraceID() (id trace.TraceID) {
	for !id.IsValid() {
		binary.BigEndian.PutUint64(id[:8], rand.Uint64())
		binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	}
	return id
}

func newSpanID() (id trace.SpanID) {
	for !id.IsValid() {
		binary.BigEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}
