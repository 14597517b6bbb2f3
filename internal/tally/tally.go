// Package tally has the counts of an application: what its workers have counted, summed by mount. Package wire carries
// them, package metrics shows them. It imports nothing of this module.
//
// What a worker says is not trusted: names and numbers are checked, and there are limits to how many names and label sets
// a mount may have. What goes beyond them is dropped and counted as such.
package tally

import (
	"math"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// Limits of a mount, and of a Measure.
const (
	// MaxNames is how many names a mount may have.
	MaxNames = 100
	// MaxSets is how many label sets a mount may have, those of all its names together.
	MaxSets = 1000
	// MaxLabels is how many labels a Measure may have.
	MaxLabels = 8
	// MaxName is the length of a name and of the name of a label, in bytes.
	MaxName = 64
	// MaxValue is the length of a label's value, in bytes.
	MaxValue = 128
	// MaxNumber is the largest number, and MaxTimes the largest number of timings, of one Measure.
	MaxNumber = 1e15
	MaxTimes  = 1 << 32
)

// Kind says what a Measure measures.
type Kind uint8

// The kinds, as they are on the wire.
const (
	// Counter is added up.
	Counter Kind = 1
	// Gauge is a state of one worker. The sum over the workers there are is shown.
	Gauge Kind = 2
	// Timing is a number of durations in seconds.
	Timing Kind = 3
)

func (k Kind) String() string {
	switch k {
	case Counter:
		return "counter"
	case Gauge:
		return "gauge"
	case Timing:
		return "timing"
	}
	return "unknown"
}

// Bounds are the upper bounds of the buckets of a Timing, in seconds. One more bucket has what is above the last.
var Bounds = [...]float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// Buckets is the number of buckets.
const Buckets = len(Bounds) + 1

// Label is a name and a value.
type Label struct{ Name, Value string }

// Measure is what a worker tells of one name with one set of labels.
type Measure struct {
	Kind   Kind
	Name   string
	Labels []Label
	// Value is what a Counter is raised by, what a Gauge is, or the sum of the seconds of a Timing.
	Value float64
	// Times has how many durations of a Timing fall into each bucket. A duration is in one bucket.
	Times [Buckets]uint32
}

// Reasons for which a Measure is dropped.
type Reason uint8

// The reasons.
const (
	Invalid Reason = iota // a wrong name, label or number
	Names                 // too many names
	Sets                  // too many label sets
	Reasons               // how many reasons there are
)

func (r Reason) String() string { return [...]string{"invalid", "names", "label_sets"}[r] }

// reserved are the ends of names that the gateway adds itself.
var reserved = []string{"_total", "_seconds", "_sum", "_count", "_bucket", "_created", "_info"}

// isName reports whether a text is a name: a letter, then letters, digits and single underlines, all in lower case.
func isName(s string) bool {
	if s == "" || len(s) > MaxName || s[0] < 'a' || s[0] > 'z' || strings.Contains(s, "__") {
		return false
	}
	for _, c := range []byte(s) {
		if c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// check reports whether the measure may be counted, and puts its labels in order.
func (m *Measure) check() bool {
	if !isName(m.Name) || len(m.Labels) > MaxLabels ||
		slices.ContainsFunc(reserved, func(end string) bool { return strings.HasSuffix(m.Name, end) }) {
		return false
	}
	slices.SortFunc(m.Labels, func(a, b Label) int { return strings.Compare(a.Name, b.Name) })
	for i, l := range m.Labels {
		switch {
		case !isName(l.Name), l.Name == "mount", l.Name == "le", l.Name == "quantile":
			return false
		case i > 0 && m.Labels[i-1].Name == l.Name:
			return false
		case len(l.Value) > MaxValue, !utf8.ValidString(l.Value):
			return false
		}
	}
	switch {
	case math.IsNaN(m.Value), math.Abs(m.Value) > MaxNumber:
		return false
	case m.Kind == Counter, m.Kind == Timing:
		return m.Value >= 0
	}
	return m.Kind == Gauge
}

// key tells label sets of one mount apart. No valid name or value has a byte 0xff.
func (m *Measure) key() string {
	var b strings.Builder
	b.WriteByte(byte(m.Kind))
	b.WriteString(m.Name)
	for _, l := range m.Labels {
		b.WriteByte(0xff)
		b.WriteString(l.Name)
		b.WriteByte(0xff)
		b.WriteString(l.Value)
	}
	return b.String()
}

// Series is the state of one name with one label set.
type Series struct {
	Kind   Kind
	Name   string
	Labels []Label // sorted by name
	// Value is the sum of a Counter, the sum over workers of a Gauge, or the sum of the seconds of a Timing.
	Value float64
	// Times has how many durations of a Timing are in each bucket.
	Times [Buckets]uint64

	of map[any]float64 // of a Gauge, by worker
}

// Mount has the counts of one mount. The zero value has none. All methods are safe for concurrent use, and those of a nil
// Mount do nothing.
type Mount struct {
	mu      sync.Mutex
	series  map[string]*Series
	names   map[string]int // how many label sets each has
	workers map[any]struct{}
	dropped [Reasons]uint64
}

// Counted takes what a worker has counted. worker identifies it until Gone.
func (t *Mount) Counted(worker any, list []Measure) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range list {
		m := &list[i]
		if !m.check() {
			t.dropped[Invalid]++
			continue
		}
		s, why := t.findLocked(m)
		if s == nil {
			t.dropped[why]++
			continue
		}
		s.add(m, worker)
		if m.Kind == Gauge {
			if t.workers == nil {
				t.workers = map[any]struct{}{}
			}
			t.workers[worker] = struct{}{}
		}
	}
}

// findLocked returns the series of a measure, or why there can be none.
func (t *Mount) findLocked(m *Measure) (*Series, Reason) {
	key := m.key()
	if s := t.series[key]; s != nil {
		return s, 0
	}
	if t.series == nil {
		t.series, t.names = map[string]*Series{}, map[string]int{}
	}
	name := string(byte(m.Kind)) + m.Name
	if t.names[name] == 0 && len(t.names) >= MaxNames {
		return nil, Names
	}
	if len(t.series) >= MaxSets {
		return nil, Sets
	}
	t.names[name]++
	s := &Series{Kind: m.Kind, Name: m.Name, Labels: m.Labels}
	t.series[key] = s
	return s, 0
}

func (s *Series) add(m *Measure, worker any) {
	switch s.Kind {
	case Gauge:
		if s.of == nil {
			s.of = map[any]float64{}
		}
		s.of[worker] = m.Value
	default:
		s.Value += m.Value
		for i, n := range m.Times {
			s.Times[i] += uint64(n)
		}
	}
}

// Gone forgets the gauges of a worker.
func (t *Mount) Gone(worker any) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, has := t.workers[worker]; !has {
		return
	}
	delete(t.workers, worker)
	for _, s := range t.series {
		delete(s.of, worker)
	}
}

// Series returns what there is, in no order. A gauge that no worker has is left out.
func (t *Mount) Series() (list []Series) {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.series {
		if s.Kind == Gauge && len(s.of) == 0 {
			continue
		}
		one := *s
		for _, value := range s.of {
			one.Value += value
		}
		one.of = nil
		list = append(list, one)
	}
	return list
}

// Dropped returns how many measures were dropped for a reason.
func (t *Mount) Dropped(why Reason) uint64 {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dropped[why]
}
