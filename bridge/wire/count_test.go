package wire

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/tally"
)

var measures = []tally.Measure{
	{Kind: tally.Counter, Name: "orders", Labels: []tally.Label{{Name: "kind", Value: "web"}, {Name: "x", Value: ""}}, Value: 1.5},
	{Kind: tally.Gauge, Name: "carts", Value: -3},
	{Kind: tally.Timing, Name: "search", Value: 0.25, Times: [tally.Buckets]uint32{0: 1, 11: math.MaxUint32}},
}

func TestCountIsReadAsWritten(t *testing.T) {
	frame, err := ReadFrame(bytes.NewReader(AppendCount(nil, measures)), nil)
	if err != nil || frame.Type != Count || frame.Stream != 0 {
		t.Fatalf("%+v, %v", frame, err)
	}
	list, err := DecodeCount(frame.Payload)
	if diff := cmp.Diff(measures, list); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if list, err := DecodeCount(nil); len(list) > 0 || err != nil {
		t.Errorf("an empty COUNT: %v, %v", list, err)
	}
	border := map[int]bool{0: true}
	for i := range measures {
		border[len(AppendCount(nil, measures[:i+1]))-HeaderSize] = true
	}
	for n := range len(frame.Payload) {
		if _, err := DecodeCount(frame.Payload[:n]); errors.Is(err, ErrMalformed) == border[n] {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
}

func TestCountIsRefused(t *testing.T) {
	long := tally.Measure{Kind: tally.Counter, Name: strings.Repeat("x", MaxMessage)}
	for name, c := range map[string]struct {
		payload []byte
		want    error
	}{
		"an unknown kind":         {append([]byte{9}, make([]byte, 16)...), ErrMalformed},
		"more labels than bytes":  {[]byte("\x01\x00\x00\x00\x01a\xff\xff\xff\xff"), ErrMalformed},
		"a name of 4 GiB":         {[]byte("\x01\xff\xff\xff\xffa"), ErrMalformed},
		"more than a frame takes": {AppendCount(nil, []tally.Measure{long})[HeaderSize:], ErrTooLarge},
	} {
		if _, err := DecodeCount(c.payload); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzCount feeds the decoder with any bytes. What it takes, it must read again from what AppendCount writes of it. What it
// takes is counted without a panic and within the limits.
func FuzzCount(f *testing.F) {
	f.Add(AppendCount(nil, measures)[HeaderSize:])
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, payload []byte) {
		list, err := DecodeCount(payload)
		if err != nil {
			return
		}
		if again := AppendCount(nil, list)[HeaderSize:]; !bytes.Equal(again, payload) {
			t.Fatalf("%x is written as %x", payload, again)
		}
		var m tally.Mount
		m.Counted(1, list)
		if n := len(m.Series()); n > tally.MaxSets {
			t.Fatalf("%d label sets", n)
		}
	})
}
