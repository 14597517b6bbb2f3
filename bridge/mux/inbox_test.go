package mux

import (
	"bytes"
	"context"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/internal/buffer"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

// The window of a stream counts bytes of events. So what events occupy must be of that order, not many times as much.
func TestEventsThatWaitOccupyLittleMoreThanTheirBytes(t *testing.T) {
	for _, c := range []struct {
		name   string
		size   int
		before int  // events that wait already
		copied bool // the buffer was given back
	}{
		{"a small event", 40, 0, true},
		{"one that half fills a small buffer", 3 << 10, 0, false},
		{"one that fills little of a large buffer, and is taken next", 5 << 10, 0, false},
		{"the same behind others", 5 << 10, 1, true},
		{"a large one behind others", 60 << 10, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var in inbox
			in.init(1<<20, 1<<20)
			for range c.before {
				push(t, &in, []byte("earlier"))
			}
			want := bytes.Repeat([]byte("x"), c.size)
			push(t, &in, want)
			var last item
			for range c.before + 1 {
				it, end, err := in.next(context.Background())
				if end != nil || err != nil {
					t.Fatal(end, err)
				}
				last = it
			}
			if !bytes.Equal(last.payload, want) {
				t.Errorf("the event has %d other bytes", len(last.payload))
			}
			if copied := last.buffer == nil; copied != c.copied {
				t.Errorf("the event was copied: %t, want %t", copied, c.copied)
			}
			if !c.copied && &(*last.buffer)[0] != &last.payload[0] {
				t.Error("the buffer is not that of the event")
			}
		})
	}
}

// push puts an event into the inbox, in a buffer as a reader has it.
func push(t *testing.T, in *inbox, event []byte) {
	t.Helper()
	b := buffer.Get(len(event))
	copy(*b, event)
	if _, err := in.push(wire.Frame{Type: wire.EventPart, Payload: *b, Buffer: b}, nil); err != nil {
		t.Fatal(err)
	}
}
