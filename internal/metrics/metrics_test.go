package metrics

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/tally"
)

// scrape reads what Text returns, as Prometheus does.
func scrape(t *testing.T, r *Registry, show string) map[string]*dto.MetricFamily {
	t.Helper()
	text, err := r.Text(show)
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return families
}

// value returns the value of the metric with these labels, or -1.
func value(f *dto.MetricFamily, labels ...string) float64 {
	for _, m := range f.GetMetric() {
		var have []string
		for _, l := range m.GetLabel() {
			if l.GetValue() != "" { // a label without a value is as good as none
				have = append(have, l.GetName(), l.GetValue())
			}
		}
		if !cmp.Equal(have, labels) && len(have)+len(labels) > 0 {
			continue
		}
		switch f.GetType() {
		case dto.MetricType_COUNTER:
			return m.GetCounter().GetValue()
		case dto.MetricType_GAUGE:
			return m.GetGauge().GetValue()
		case dto.MetricType_HISTOGRAM:
			return float64(m.GetHistogram().GetSampleCount())
		}
	}
	return -1
}

func TestRequestsAreShown(t *testing.T) {
	r := New()
	r.AddMount("/")
	r.AddMount("/")
	r.Requests("/").Done("GET", 200, time.Millisecond, false)
	r.Requests("/").Done("GET", 204, 3*time.Millisecond, false)
	r.Requests("/").Done("BREW", 418, time.Minute, false)
	r.Requests("/").Done("GET", 101, time.Hour, true)
	r.Requests("/").Done("POST", 0, time.Second, false)
	r.Requests("").Done("", 431, 0, false)
	r.Requests("/unknown").Done("GET", 999, 0, false)
	all := scrape(t, r, All)
	for _, c := range []struct {
		want   float64
		labels []string
	}{
		{2, []string{"method", "GET", "mount", "/", "status", "2xx"}},
		{1, []string{"method", "GET", "mount", "/", "status", "1xx"}},
		{1, []string{"method", "other", "mount", "/", "status", "4xx"}},
		{1, []string{"method", "POST", "mount", "/", "status", "none"}},
		{1, []string{"method", "other", "mount", "none", "status", "4xx"}},
		{1, []string{"method", "GET", "mount", "none", "status", "none"}},
		{-1, []string{"method", "PUT", "mount", "/", "status", "2xx"}},
	} {
		if got := value(all["pagi_bridge_requests_total"], c.labels...); got != c.want {
			t.Errorf("%v: %v, want %v", c.labels, got, c.want)
		}
	}
	for _, m := range all["pagi_bridge_request_duration_seconds"].GetMetric() {
		if m.GetLabel()[0].GetValue() != "/" {
			continue
		}
		h := m.GetHistogram()
		if h.GetSampleCount() != 4 || h.GetSampleSum() != 61.004 {
			t.Errorf("%d durations, %v s", h.GetSampleCount(), h.GetSampleSum())
		}
		for _, b := range h.GetBucket() {
			want := uint64(3) // up to the second
			switch {
			case b.GetUpperBound() < 0.0025:
				want = 1
			case b.GetUpperBound() < 1:
				want = 2
			case b.GetUpperBound() > 30:
				want = 4
			}
			if b.GetUpperBound() == 0.0025 {
				want = 1
			}
			if b.GetCumulativeCount() != want {
				t.Errorf("up to %v: %d, want %d", b.GetUpperBound(), b.GetCumulativeCount(), want)
			}
		}
	}
}

// full is the status of a gateway with everything in it.
func full() *status.Gateway {
	g := &status.Gateway{Version: "1", Since: time.Unix(1000, 0)}
	g.Requests, g.Protocols = 3, status.Protocols{HTTP1: 5, HTTP2: 2, HTTP3: 1}
	g.Traffic = status.Traffic{Connections: 9, ConnectionsRefused: 1, RequestsRefused: 4}
	g.Certificates = []status.Certificate{{File: "a.pem", Expires: time.Unix(2000, 0)}, {File: "a.pem", Expires: time.Unix(3000, 0)},
		{Domain: "a.example", Expires: time.Unix(4000, 0)}, {Domain: "b.example"}}
	pool := &status.Backend{Workers: []status.Worker{{State: "ready", Resident: 100}, {State: "busy", Resident: 50}}, Running: 1, Queued: 2}
	pool.Totals = status.Totals{Waits: 3, Waited: status.Seconds(2 * time.Second), Restarts: status.Restarts{MaxAge: 2}, FailedStarts: 1, Errors: status.Errors{Died: 7}}
	pool.Totals.WaitsByTime[0], pool.Totals.WaitsByTime[9] = 2, 1
	scripts := &status.Backend{Runs: &status.Runs{Exec: 1, Fork: 2, Persistent: 3}}
	proxy := &status.Backend{Upstreams: []status.Upstream{{Address: "10.0.0.1:80"}}, Running: 4}
	g.Mounts = []status.Mount{{Mount: "/", Backend: pool}, {Mount: "/cgi", Backend: scripts}, {Mount: "/proxy", Backend: proxy}, {Mount: "/files"}}
	return g
}

func TestStatusIsShown(t *testing.T) {
	r := New()
	r.SetSource(full)
	all := scrape(t, r, Gateway)
	for name, want := range map[string]float64{
		"pagi_bridge_info version 1":                                        1,
		"pagi_bridge_start_time_seconds":                                    1000,
		"pagi_bridge_requests_running":                                      3,
		"pagi_bridge_requests_refused_total":                                4,
		"pagi_bridge_connections protocol http2":                            2,
		"pagi_bridge_connections_total":                                     9,
		"pagi_bridge_connections_refused_total":                             1,
		"pagi_bridge_certificate_expiry_timestamp_seconds file a.pem":       2000,
		"pagi_bridge_certificate_expiry_timestamp_seconds domain a.example": 4000,
		"pagi_bridge_certificate_expiry_timestamp_seconds domain b.example": 0,
		"pagi_bridge_workers mount / state busy":                            1,
		"pagi_bridge_workers mount / state dead":                            0,
		"pagi_bridge_worker_memory_bytes mount /":                           150,
		"pagi_bridge_worker_restarts_total cause max_age mount /":           2,
		"pagi_bridge_worker_failed_starts_total mount /":                    1,
		"pagi_bridge_mount_running mount /proxy":                            4,
		"pagi_bridge_mount_queued mount /":                                  2,
		"pagi_bridge_queue_wait_seconds mount /":                            3,
		"pagi_bridge_mount_errors_total class died mount /":                 7,
		"pagi_bridge_cgi_runs_total mode persistent mount /cgi":             3,
		"pagi_bridge_workers mount /cgi state ready":                        -1,
		"pagi_bridge_cgi_runs_total mode exec mount /":                      -1,
		"pagi_bridge_mount_errors_total class died mount /proxy":            -1,
	} {
		words := strings.Fields(name)
		if got := value(all[words[0]], words[1:]...); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if all["go_goroutines"] == nil || all["process_open_fds"] == nil {
		t.Error("nothing is told of the process")
	}
}

func TestCountsOfApplicationsAreShown(t *testing.T) {
	r := New()
	label := []tally.Label{{Name: "kind", Value: "a \"quoted\"\nvalue"}}
	r.Counts("/").Counted(1, []tally.Measure{
		{Kind: tally.Counter, Name: "orders", Labels: label, Value: 2},
		{Kind: tally.Counter, Name: "orders", Value: 1},
		{Kind: tally.Gauge, Name: "orders", Value: 5},
		{Kind: tally.Timing, Name: "orders", Value: 0.5, Times: [tally.Buckets]uint32{6: 1}},
		{Kind: tally.Counter, Name: "WRONG", Value: 1},
	})
	r.Counts("/other").Counted(1, []tally.Measure{{Kind: tally.Counter, Name: "orders", Labels: []tally.Label{{Name: "size", Value: "s"}}, Value: 4}})
	apps := scrape(t, r, Application)
	for name, want := range map[string]float64{
		"app_orders_total mount /":             1,
		"app_orders_total mount /other size s": 4,
		"app_orders mount /":                   5,
		"app_orders_seconds mount /":           1,
	} {
		words := strings.Fields(name)
		if got := value(apps[words[0]], words[1:]...); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if got := value(apps["app_orders_total"], "kind", label[0].Value, "mount", "/"); got != 2 {
		t.Errorf("with a label: %v", got)
	}
	if len(apps) != 3 {
		t.Errorf("%d families", len(apps))
	}
	own := scrape(t, r, Gateway)
	if got := value(own["pagi_bridge_app_dropped_total"], "mount", "/", "reason", "invalid"); got != 1 || own["app_orders"] != nil {
		t.Errorf("of the gateway: %v dropped", got)
	}
	if _, err := r.Text("some"); err == nil {
		t.Error("an unknown word is taken")
	}
}

func TestManyCountAndLookAtOnce(t *testing.T) {
	r := New()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 300 {
				r.AddMount("/")
				r.Requests("/").Done("GET", 200, time.Millisecond, false)
			}
			scrape(t, r, All)
		})
	}
	all.Wait()
	if got := value(scrape(t, r, All)["pagi_bridge_requests_total"], "method", "GET", "mount", "/", "status", "2xx"); got != 1200 {
		t.Errorf("%v requests", got)
	}
}

func TestCountingAllocatesNothing(t *testing.T) {
	r := New()
	r.AddMount("/")
	if n := testing.AllocsPerRun(100, func() { r.Requests("/").Done("GET", 200, time.Millisecond, false) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDone(b *testing.B) {
	r := New()
	r.AddMount("/")
	for b.Loop() {
		r.Requests("/").Done("GET", 200, time.Millisecond, false)
	}
}

// docs/metrics.md has a row for each metric, with its type and its labels, in the order of families.go.
func TestMetricsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[any]string{counter: "counter", gauge: "gauge", histogram: "histogram"}
	var want, got []string
	for _, f := range families {
		labels := "none"
		if len(f.labels) > 0 {
			labels = "`" + strings.Join(f.labels, "`, `") + "`"
		}
		want = append(want, strings.Join([]string{"`" + f.name + "`", kinds[f.kind], labels}, " | "))
	}
	_, table, _ := strings.Cut(string(page), "| metric | type | labels | |\n| --- | --- | --- | --- |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	for row := range strings.Lines(table) {
		cells := strings.Split(strings.TrimPrefix(row, "| "), " | ")
		if len(cells) < 4 || len(strings.TrimRight(cells[3], "|\n ")) == 0 {
			t.Fatalf("no row: %s", row)
		}
		got = append(got, strings.Join(cells[:3], " | "))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, list := range [][]string{methods[:], statuses[:], workerStates} {
		for _, word := range list {
			if !strings.Contains(string(page), "`"+word+"`") {
				t.Errorf("the value %s of a label is not documented", word)
			}
		}
	}
}

// Every family of the gateway is told, and no other.
func TestFamiliesAreComplete(t *testing.T) {
	r := New()
	r.SetSource(full)
	r.Counts("/")
	r.Requests(NoMount).Done("GET", 200, 0, false)
	told := scrape(t, r, Gateway)
	for _, f := range families {
		if told[f.name] == nil {
			t.Errorf("%s is not told", f.name)
		}
		delete(told, f.name)
	}
	for name := range told {
		if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			t.Errorf("%s is in no family", name)
		}
	}
}
