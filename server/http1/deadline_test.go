package http1

import (
	"testing"
	"time"
)

func TestDeadlinesThatAreSet(t *testing.T) {
	type step struct {
		at, limit time.Duration // it is set at, for
		put       bool
	}
	const second = time.Second
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"the same again soon", []step{{0, 64 * second, true}, {second / 2, 64 * second, false}, {second, 64 * second, false}}},
		{"the same again later", []step{{0, 64 * second, true}, {2 * second, 64 * second, true}}},
		{"an earlier one", []step{{0, 64 * second, true}, {0, 63 * second, true}}},
		{"a short one just after a long one's end", []step{{0, 64 * second, true}, {63*second + second/2, second, true}}},
		{"a long one just after a short one's end", []step{{0, second, true}, {0, 64 * second, true}}},
		{"one after the other has passed", []step{{0, 64 * second, true}, {64*second + second/2, second / 4, true}}},
		{"none, twice", []step{{0, 0, false}, {0, second, true}, {0, 0, true}, {0, 0, false}}},
		{"a past one, twice", []step{{0, -second, true}, {0, second, true}, {0, -second, true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var l deadline
			begin := time.Now()
			for i, s := range tt.steps {
				var want time.Time
				if s.limit != 0 {
					want = begin.Add(s.at + s.limit)
				}
				put := false
				if err := l.set(want, s.limit, func(got time.Time) error {
					put = got.Equal(want)
					return nil
				}); err != nil || put != s.put {
					t.Errorf("step %d: %v, %v", i, put, err)
				}
			}
		})
	}
}
