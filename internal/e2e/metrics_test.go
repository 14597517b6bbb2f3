package e2e

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// metrics scrapes a URL below the gateway's, and returns each counter, gauge and number of samples under "name{label=value,...}".
func (g *gateway) metrics(path string) map[string]float64 {
	g.t.Helper()
	res, body := g.get(path)
	if res.StatusCode != 200 {
		g.t.Fatalf("metrics: %s %s", res.Status, body)
	}
	return parseMetrics(g.t, strings.NewReader(body))
}

func parseMetrics(t *testing.T, from io.Reader) map[string]float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(from)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%s", l.GetName(), l.GetValue()))
			}
			value := m.GetGauge().GetValue()
			switch family.GetType() {
			case dto.MetricType_COUNTER:
				value = m.GetCounter().GetValue()
			case dto.MetricType_HISTOGRAM:
				value = float64(m.GetHistogram().GetSampleCount())
			}
			values[name+"{"+strings.Join(labels, ",")+"}"] = value
		}
	}
	return values
}

// has waits until the metrics have these values.
func (g *gateway) has(path string, want map[string]float64) {
	g.t.Helper()
	var wrong string
	defer func() {
		if g.t.Failed() {
			g.t.Log(wrong)
		}
	}()
	g.Eventually("the metrics", func() bool {
		have := g.metrics(path)
		wrong = ""
		for name, value := range want {
			if got, there := have[name]; !there || got != value {
				wrong += fmt.Sprintf("%s is %v (there: %v), want %v\n", name, got, there, value)
			}
		}
		return wrong == ""
	})
}

const countingApp = `sub {
	my ($env) = @_;
	die "asked to\n" if $env->{PATH_INFO} eq '/die';
	PagiBridge::count('orders', 2, { kind => $env->{QUERY_STRING} });
	PagiBridge::gauge('workers', 1);
	PagiBridge::timing('search', 0.03);
	return [200, [], ['ok']];
}`

// The metrics of a site with workers in an adapter, in this process, and preloaded.
func TestMetrics(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	for name, options := range map[string]string{
		"in an adapter":              "",
		"in the gateway's process":   "isolate: none\n",
		"forked, in an adapter":      "preload: true\n",
		"forked by the same process": "preload: true\nisolate: none\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := testkit.Tree(t, map[string]string{
				"app.psgi":      countingApp,
				"cgi/hello.cgi": "#!/bin/sh\necho Content-Type: text/plain\necho\necho hi\n",
				"site.yaml": "listen: 127.0.0.1:0\nenvironment: deployment\n" + options + `
mounts:
  - {path: /, psgi: app.psgi, workers: 2}
  - {path: /cgi, cgi: cgi}
  - {path: /metrics, metrics: all}
  - {path: /own, metrics: application}
`})
			if err := os.Chmod(filepath.Join(dir, "cgi/hello.cgi"), 0o755); err != nil {
				t.Fatal(err)
			}
			g := &gateway{testkit.Start(t, testkit.Command(dir, program, "-c", "site.yaml")), t}
			for range 5 {
				g.get("/?web")
			}
			g.get("/?shop")
			g.get("/die")
			g.get("/cgi/hello.cgi")
			g.request("POST", "/metrics", "", nil)
			g.has("/metrics", map[string]float64{
				"app_orders_total{kind=web,mount=/}":                                10,
				"app_orders_total{kind=shop,mount=/}":                               2,
				"app_search_seconds{mount=/}":                                       6,
				"pagi_bridge_requests_total{method=GET,mount=/,status=2xx}":         6,
				"pagi_bridge_requests_total{method=GET,mount=/,status=5xx}":         1,
				"pagi_bridge_requests_total{method=GET,mount=/cgi,status=2xx}":      1,
				"pagi_bridge_requests_total{method=POST,mount=/metrics,status=4xx}": 1,
				"pagi_bridge_request_duration_seconds{mount=/}":                     7,
				"pagi_bridge_cgi_runs_total{mode=exec,mount=/cgi}":                  1,
				"pagi_bridge_mount_errors_total{class=application,mount=/}":         1,
				"pagi_bridge_workers{mount=/,state=ready}":                          2,
				"pagi_bridge_app_dropped_total{mount=/,reason=invalid}":             0,
			})
			own := g.metrics("/own")
			if len(own) == 0 {
				t.Error("nothing of the application")
			}
			for name := range own {
				if !strings.HasPrefix(name, "app_") {
					t.Errorf("%s is not the application's", name)
				}
			}
		})
	}
}

// perlPAGI is countingApp as an application of PAGI. It also counts in a timer, outside of any scope.
const perlPAGI = `use Future::AsyncAwait;
use IO::Async::Loop;
IO::Async::Loop->new->watch_time(after => 0.2, code => sub { PagiBridge::count('ticks') });
async sub app {
	my ($scope, $receive, $send) = @_;
	die "no $scope->{type}\n" if $scope->{type} ne 'http';
	PagiBridge::count('orders', 2, { kind => $scope->{query_string} });
	PagiBridge::gauge('workers', 1);
	PagiBridge::timing('search', 0.03);
	await $send->({ type => 'http.response.start', status => 200, headers => [] });
	await $send->({ type => 'http.response.body', body => 'ok' });
}
\&app`

// A worker with an event loop tells what it counts.
func TestCountsOfALoopWorker(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	needPerl(t, "IO::Async::Loop", "libio-async-perl")
	needPerl(t, "Future::AsyncAwait", "libfuture-asyncawait-perl")
	for name, c := range map[string]struct {
		options, mount string
		ticks          bool
	}{
		"PSGI in an adapter":               {"", "psgi: app.psgi, loop: true", false},
		"PSGI in the gateway's process":    {"isolate: none\n", "psgi: app.psgi, loop: true", false},
		"PAGI in an adapter":               {"", "perlpagi: app.pl", true},
		"PAGI in the gateway's process":    {"isolate: none\n", "perlpagi: app.pl", true},
		"PAGI, preloaded, in that process": {"isolate: none\npreload: true\n", "perlpagi: app.pl", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := testkit.Tree(t, map[string]string{
				"app.psgi": countingApp, "app.pl": perlPAGI,
				"site.yaml": "listen: 127.0.0.1:0\nenvironment: deployment\n" + c.options + "mounts:\n  - {path: /, " + c.mount + ", workers: 1}\n" +
					"  - {path: /metrics, metrics: all}\n",
			})
			g := &gateway{testkit.Start(t, testkit.Command(dir, program, "-c", "site.yaml")), t}
			for range 5 {
				g.get("/?web")
			}
			want := map[string]float64{
				"app_orders_total{kind=web,mount=/}": 10, "app_workers{mount=/}": 1, "app_search_seconds{mount=/}": 5,
				"pagi_bridge_requests_total{method=GET,mount=/,status=2xx}": 5,
			}
			if c.ticks {
				want["app_ticks_total{mount=/}"] = 1
			}
			g.has("/metrics", want)
		})
	}
}

// The site file that docs/metrics.md begins with.
func TestTheSiteOfTheMetricsPage(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	page, err := os.ReadFile(filepath.Join(root, "docs/metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```yaml\n")
	text, _, _ = strings.Cut(text, "```")
	dir := testkit.Tree(t, map[string]string{"site.yaml": strings.Replace(text, "127.0.0.1:5000", "127.0.0.1:0", 1), "app.psgi": countingApp})
	cmd := testkit.Command(dir, program, "-c", "site.yaml")
	cmd.Env = append(os.Environ(), "METRICS_PASSWORD=secret")
	g := &gateway{testkit.Start(t, cmd), t}
	if res, _ := g.get("/metrics"); res.StatusCode != 401 {
		t.Errorf("without a password: %s", res.Status)
	}
	req := testkit.NewRequest(t, "GET", g.URL+"/metrics", nil)
	req.SetBasicAuth("prometheus", "secret")
	res, body := testkit.Do(t, client, req)
	if res.StatusCode != 200 || parseMetrics(t, strings.NewReader(body))["pagi_bridge_requests_total{method=GET,mount=/metrics,status=4xx}"] != 1 {
		t.Errorf("with it: %s %s", res.Status, body)
	}
}
