package wire

import (
	"encoding/binary"
	"maps"
	"sync"
	"sync/atomic"
)

// MaxNames is how many lists of names a worker keeps.
const MaxNames = 64

// NameList is a list of the names of a request's variables. Requests of one kind of client have the
// same names. So the gateway sends a worker the names once, and only the values with each request.
type NameList struct {
	// Place is the number under which a worker keeps the list, below MaxNames. Another list with
	// the same number replaces it.
	Place int
	// Frame is the NAMES frame that sends the list to a worker.
	Frame []byte
}

// NameTable knows the lists of names in use: the last MaxNames that were new. The zero value is
// empty. It may be used by several goroutines.
type NameTable struct {
	known atomic.Pointer[map[string]*NameList] // never changed, only replaced

	mu    sync.Mutex
	next  int
	texts [MaxNames]string // the list in each place
}

// find returns the list whose names, each behind its length, are text.
func (t *NameTable) find(text []byte) *NameList {
	if known := t.known.Load(); known != nil {
		if n := (*known)[string(text)]; n != nil {
			return n
		}
	}
	return t.add(string(text))
}

func (t *NameTable) add(text string) *NameList {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := map[string]*NameList{}
	if old := t.known.Load(); old != nil {
		if n := (*old)[text]; n != nil {
			return n
		}
		known = maps.Clone(*old)
	}
	payload := binary.BigEndian.AppendUint16(nil, uint16(t.next))
	n := &NameList{Place: t.next, Frame: AppendFrame(nil, Names, 0, 0, append(payload, text...))}
	delete(known, t.texts[t.next])
	t.texts[t.next] = text
	t.next = (t.next + 1) % MaxNames
	known[text] = n
	t.known.Store(&known)
	return n
}
