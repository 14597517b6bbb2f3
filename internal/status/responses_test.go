package status

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestTimeBuckets(t *testing.T) {
	if !slices.IsSorted(TimeBounds[:]) || TimeBounds[0] != 10*time.Microsecond || TimeBounds[timeBounds-1] != 100*time.Second {
		t.Fatal(TimeBounds)
	}
	for d, want := range map[time.Duration]int{0: 0, 10 * time.Microsecond: 0, 10*time.Microsecond + 1: 1, 100 * time.Second: timeBounds - 1, time.Hour: timeBounds} {
		if got := TimeBucket(d); got != want {
			t.Errorf("%v is in bucket %d, want %d", d, got, want)
		}
	}
	for i, bound := range TimeBounds {
		if TimeBucket(bound) != i || TimeBucket(bound+1) != i+1 {
			t.Errorf("bound %v is not in bucket %d alone", bound, i)
		}
	}
}

// A quantile of the buckets is near that of the durations themselves.
func TestQuantile(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var all []time.Duration
	times := make(Times, timeBounds+1)
	for range 20000 {
		d := time.Duration(math.Exp(random.NormFloat64()*1.5) * float64(3*time.Millisecond))
		all = append(all, d)
		times[TimeBucket(d)]++
	}
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99} {
		exact := all[int(q*float64(len(all)))]
		if got := times.Quantile(q); math.Abs(float64(got-exact)) > 0.06*float64(exact) {
			t.Errorf("quantile %v is %v, want about %v", q, got, exact)
		}
	}
	if got := (Times{}).Quantile(0.5); got != 0 {
		t.Errorf("the quantile of nothing is %v", got)
	}
	beyond := make(Times, timeBounds+1)
	beyond[timeBounds] = 1
	if got := beyond.Quantile(0.5); got != 100*time.Second {
		t.Errorf("the quantile beyond the bounds is %v", got)
	}
}

func TestResponsesSince(t *testing.T) {
	before := Responses{Requests: 10, Failed: 1, Times: Times{1, 9}}
	now := Responses{Requests: 15, Failed: 3, Times: Times{2, 11, 2}}
	got := now.Since(before)
	if got.Requests != 5 || got.Failed != 2 || !slices.Equal(got.Times, Times{1, 2, 2}) || now.Times[0] != 2 {
		t.Errorf("%+v", got)
	}
	if anew := before.Since(now); anew.Requests != 10 || anew.Times[1] != 9 {
		t.Errorf("counts that begin anew: %+v", anew)
	}
	if sum := before.Plus(now); sum.Requests != 25 || sum.Failed != 4 || !slices.Equal(sum.Times, Times{3, 20, 2}) || before.Times[0] != 1 {
		t.Errorf("%+v", sum)
	}
}
