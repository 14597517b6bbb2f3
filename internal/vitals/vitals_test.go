package vitals

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/status"
)

var noon = time.Date(2026, 2, 10, 12, 0, 0, 0, time.UTC)

// served is a gateway that has served n requests of 3 ms.
func served(n int64) *status.Gateway {
	times := make(status.Times, status.TimeBucket(3*time.Millisecond)+1)
	times[len(times)-1] = n
	counts := status.Responses{Requests: n, Failed: n / 2, Times: times}
	return &status.Gateway{Responses: counts, Mounts: []status.Mount{{Mount: "/a", Kind: "psgi", Responses: &counts}}}
}

func TestRates(t *testing.T) {
	var looks Looks
	first := looks.Add(Look{At: noon, Gateway: served(100)})
	if first.Rate != nil || first.P50 != nil || first.Requests != 100 || first.Mounts[0].Failed != 50 {
		t.Errorf("the first look: %+v", first.Measures)
	}
	v := looks.Add(Look{At: noon.Add(2 * time.Second), Gateway: served(120)})
	for _, m := range []Measures{v.Measures, v.Mounts[0].Measures} {
		if *m.Rate != 10 || *m.FailedRate != 5 || *m.P50 < 2.5 || *m.P50 > 3.01 || *m.P99 < *m.P50 {
			t.Errorf("%v %v %v %v", *m.Rate, *m.FailedRate, *m.P50, *m.P99)
		}
	}
	quiet := looks.Add(Look{At: noon.Add(4 * time.Second), Gateway: served(120)})
	if *quiet.Rate != 0 || quiet.P50 == nil {
		t.Errorf("after two quiet seconds the rate is %v, the quantile %v", *quiet.Rate, quiet.P50)
	}
	for i := range 10 {
		quiet = looks.Add(Look{At: noon.Add(time.Duration(6+2*i) * time.Second), Gateway: served(120)})
	}
	if quiet.P50 != nil || len(looks.list) > 7 {
		t.Errorf("after a quiet window the quantile is %v, and %d looks are kept", *quiet.P50, len(looks.list))
	}
	anew := looks.Add(Look{At: noon.Add(30 * time.Second), Gateway: served(4)})
	if *anew.Rate != 4.0/6 {
		t.Errorf("counts that began anew have the rate %v", *anew.Rate)
	}
}

func TestMountsOfAView(t *testing.T) {
	ago := func(d time.Duration) time.Time { return noon.Add(-d) }
	g := &status.Gateway{Stops: noon.Add(3 * time.Second), Mounts: []status.Mount{
		{Mount: "/", Kind: "file", Source: "secret"},
		{Mount: "/p", Kind: "psgi", Source: "secret", Backend: &status.Backend{
			Circuit: "closed", Problem: "secret", Queued: 2, Running: 1,
			Workers: []status.Worker{
				{ID: 1, State: "busy", Resident: 5, Since: ago(time.Minute), Request: &status.Request{Method: "GET", Path: "/" + strings.Repeat("é", 300), Since: ago(time.Second)}},
				{ID: 2, State: "starting", Resident: 6},
			},
			Totals: status.Totals{Requests: 9, Errors: status.Errors{Died: 1}, Restarts: status.Restarts{Died: 3}, LastRestart: &status.Restart{Cause: "died", At: ago(time.Minute)}},
		}},
		{Mount: "/starting", Backend: &status.Backend{Circuit: "closed", Workers: []status.Worker{{State: "starting"}}}},
		{Mount: "/failing", Backend: &status.Backend{Circuit: "open"}},
		{Mount: "/down", Backend: &status.Backend{Upstreams: []status.Upstream{{Address: "secret", State: "down"}}}},
		{Mount: "/drained", Draining: noon, Backend: &status.Backend{Circuit: "open"}},
		{Mount: "/many", Backend: &status.Backend{Scripts: make([]status.Script, MostProcesses+7), Runs: &status.Runs{Exec: 1, Fork: 2, Persistent: 3}}},
	}}
	v := Make(Look{At: noon, Gateway: g}, Look{}, Look{})
	states := ""
	for _, m := range v.Mounts {
		states += m.Mount + " " + m.State + ", "
	}
	if want := "/ ok, /p ok, /starting starting, /failing failing, /down down, /drained drained, /many ok, "; states != want {
		t.Errorf("%s", states)
	}
	p := v.Mounts[1]
	if p.Workers != 2 || p.Busy != 1 || p.Queued != 2 || p.Memory != 11 || p.Restarts != 3 || p.LastCause != "died" || p.LastRestart != 60 || p.Requests != 9 || p.Failed != 1 {
		t.Errorf("%+v", p)
	}
	if r := p.Processes[0].Request; r.For != 1000 || len([]rune(r.Path)) != mostText+3 {
		t.Errorf("%+v", r)
	}
	if many := v.Mounts[6]; len(many.Processes) != MostProcesses || many.Left != 7 || many.Scripts != MostProcesses+7 || many.Runs != 6 {
		t.Errorf("%d processes, %d left", len(many.Processes), many.Left)
	}
	if v.Queued != 2 || v.Memory != 11 || *v.StopsIn != 3 {
		t.Errorf("%+v", v)
	}
}

func TestServicesAndJobsOfAView(t *testing.T) {
	g := &status.Gateway{
		Services: []status.Service{
			{Service: "search", State: "running", PID: 7, Since: noon.Add(-time.Hour), LastExit: "secret"},
			{Service: "mailer", State: "paused", Restarts: 2, NextStart: noon.Add(4 * time.Second)},
		},
		Cron: []status.Job{
			{Job: "report", Schedule: "secret", Next: noon.Add(time.Minute), Runs: 3, Failures: 1, Skipped: 2, LastRun: noon.Add(-time.Minute), LastExit: "secret"},
			{Job: "tidy", PID: 8, Since: noon},
		},
	}
	v := Make(Look{At: noon, Gateway: g}, Look{}, Look{})
	seconds := func(s float64) *float64 { return &s }
	services := []Service{{Service: "search", State: "running", PID: 7, For: seconds(3600)}, {Service: "mailer", State: "paused", Restarts: 2, StartsIn: seconds(4)}}
	jobs := []Job{
		{Job: "report", State: "waiting", NextIn: seconds(60), Runs: 3, Failures: 1, Skipped: 2, LastRun: seconds(60), LastTook: seconds(0)},
		{Job: "tidy", State: "running", PID: 8, For: seconds(0)},
	}
	if diff := cmp.Diff(services, v.Services); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(jobs, v.Jobs); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}
}

func TestRecorder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var count atomic.Int64
		r := &Recorder{Source: func() *status.Gateway { return served(count.Add(1)) }}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { r.Run(ctx) })
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		looks := count.Load()
		if looks < 700 || looks > 722 {
			t.Errorf("%d looks in two hours without a watcher", looks)
		}
		points, updates, stop, err := r.Watch()
		if err != nil || len(points) != MostPoints || points[0].At >= points[1].At {
			t.Errorf("%d points, %v", len(points), err)
		}
		if u := <-updates; u.View == nil {
			t.Error("a new watcher gets no view at once")
		}
		before := count.Load()
		views, more := 0, 0
		for range 10 {
			u := <-updates
			views++
			if u.Point != nil {
				more++
			}
		}
		if looks := count.Load() - before; looks != 10 || more != 2 {
			t.Errorf("%d looks for ten views, with %d points", looks, more)
		}
		time.Sleep(time.Minute) // a watcher that takes nothing does not hold the recorder up
		synctest.Wait()
		if u := <-updates; u.View.Requests < count.Load() {
			t.Errorf("a slow watcher gets the view of look %d, of %d", u.View.Requests, count.Load())
		}
		stop()
		for range MostWatchers {
			if _, _, _, err := r.Watch(); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, _, err := r.Watch(); !errors.Is(err, ErrTooMany) {
			t.Errorf("one more than may watch: %v", err)
		}
		cancel()
		running.Wait()
		if _, updates, _, err := r.Watch(); err != nil {
			t.Error(err)
		} else if _, open := <-updates; open {
			t.Error("the channel of a recorder that has ended is open")
		}
	})
}
