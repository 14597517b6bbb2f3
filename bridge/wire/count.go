package wire

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/pagi-go/pagi-bridge/internal/tally"
)

// AppendCount appends a COUNT frame. The values are not checked.
func AppendCount(b []byte, list []tally.Measure) []byte {
	var payload []byte
	for _, m := range list {
		payload = append(payload, byte(m.Kind))
		payload = appendString(payload, m.Name)
		payload = binary.BigEndian.AppendUint32(payload, uint32(len(m.Labels)))
		for _, l := range m.Labels {
			payload = appendString(appendString(payload, l.Name), l.Value)
		}
		payload = binary.BigEndian.AppendUint64(payload, math.Float64bits(m.Value))
		if m.Kind == tally.Timing {
			for _, n := range m.Times {
				payload = binary.BigEndian.AppendUint32(payload, n)
			}
		}
	}
	return AppendFrame(b, Count, 0, 0, payload)
}

// DecodeCount decodes a COUNT frame. It checks the lengths and the kinds; names and numbers are checked where they are
// counted.
func DecodeCount(p []byte) (list []tally.Measure, err error) {
	if len(p) > MaxMessage {
		return nil, fmt.Errorf("%w: %s of %d bytes, at most %d are allowed", ErrTooLarge, Count, len(p), MaxMessage)
	}
	d := decoder{p: p}
	for len(d.p) > 0 && !d.bad {
		m := tally.Measure{Kind: tally.Kind(d.uint8())}
		m.Name = string(d.take(int(d.uint32())))
		if n := d.count(8); n > 0 {
			m.Labels = make([]tally.Label, n)
			for i := range m.Labels {
				m.Labels[i].Name = string(d.take(int(d.uint32())))
				m.Labels[i].Value = string(d.take(int(d.uint32())))
			}
		}
		m.Value = math.Float64frombits(d.uint64())
		switch m.Kind {
		case tally.Counter, tally.Gauge:
		case tally.Timing:
			for i := range m.Times {
				m.Times[i] = d.uint32()
			}
		default:
			d.bad = true
		}
		list = append(list, m)
	}
	if err := d.err(Count); err != nil {
		return nil, err
	}
	return list, nil
}
