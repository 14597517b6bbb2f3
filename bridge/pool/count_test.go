package pool

import (
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/tally"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// values returns what a mount has counted, by kind and name.
func values(m *tally.Mount) map[string]float64 {
	all := map[string]float64{}
	for _, s := range m.Series() {
		all[s.Kind.String()+" "+s.Name] = s.Value
	}
	return all
}

func TestCounts(t *testing.T) {
	t.Run("of all workers are summed, and gauges go with their workers", func(t *testing.T) {
		counts := &tally.Mount{}
		s := start(t, Options{Processes: worker.Processes{Workers: 1}, Counts: counts})
		for range 2 {
			if o := s.do("count n", false); o.err != nil {
				t.Fatal(o.err)
			}
		}
		testkit.Eventually(t, "both counts", func() bool { v := values(counts); return v["counter n"] == 4 && v["gauge n"] == 1 })
		if o := s.do("crash", false); o.err == nil {
			t.Error("the worker has not died")
		}
		testkit.Eventually(t, "the gauge to go", func() bool { _, there := values(counts)["gauge n"]; return !there })
		if o := s.do("count n", false); o.err != nil {
			t.Fatal(o.err)
		}
		testkit.Eventually(t, "the next worker's", func() bool { v := values(counts); return v["counter n"] == 6 && v["gauge n"] == 1 })
	})
	t.Run("without the feature are a violation", func(t *testing.T) {
		s := start(t, Options{Processes: worker.Processes{Workers: 1}})
		if o := s.do("count n", false); o.err != nil {
			t.Fatal(o.err)
		}
		testkit.Eventually(t, "another worker", func() bool { return s.Status().Launched == 2 })
		testkit.Eventually(t, "the reason", func() bool {
			return strings.Contains(s.log.String(), "COUNT on a connection without the feature counts")
		})
	})
	t.Run("that do not add up are a violation", func(t *testing.T) {
		counts := &tally.Mount{}
		s := start(t, Options{Processes: worker.Processes{Workers: 1}, Counts: counts})
		if o := s.do("count-garbage n", false); o.err != nil {
			t.Fatal(o.err)
		}
		testkit.Eventually(t, "another worker", func() bool { return s.Status().Launched == 2 })
		if len(values(counts)) > 0 {
			t.Error("garbage was counted")
		}
	})
}
