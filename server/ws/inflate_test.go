package ws

import (
	"runtime"
	"testing"
	"weak"
)

// TestInflatingHoldsNothing: a pooled reader keeps no reference to the connection whose message it
// inflated.
func TestInflatingHoldsNothing(t *testing.T) {
	inflate := func() weak.Pointer[source] {
		from := &source{piece: []byte("\x4a\x04\x00" + ending), ended: true} // "a"
		text, err := (&inflater{}).inflate(from, nil, 100)
		if err != nil || string(text) != "a" {
			t.Errorf("%q, %v", text, err)
		}
		return weak.Make(from)
	}
	from := inflate()
	runtime.GC() // a sync.Pool keeps what it has for one more
	if from.Value() != nil {
		t.Error("the message's source is still there")
	}
}
