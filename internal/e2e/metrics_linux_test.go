package e2e

import (
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// The gateway that takes the workers over at a hot restart counts from zero, and hears of their gauges without a request.
func TestGaugesSurviveARestart(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	needPerl(t, "IO::Async::Loop", "libio-async-perl")
	for kind, options := range map[string]string{"blocking workers": "workers: 2", "a worker with an event loop": "loop: true, workers: 1"} {
		t.Run(kind, func(t *testing.T) {
			dir := testkit.Tree(t, map[string]string{
				"app.psgi": countingApp,
				"site.yaml": "listen: 127.0.0.1:0\nenvironment: deployment\nmounts:\n  - {path: /, psgi: app.psgi, " + options + "}\n" +
					"  - {path: /metrics, metrics: all}\n",
			})
			g := &gateway{testkit.StartAnyExit(t, testkit.Command(dir, program, "-c", "site.yaml")), t}
			for range 5 {
				g.get("/?web")
			}
			g.has("/metrics", map[string]float64{"app_orders_total{kind=web,mount=/}": 10})
			gauge := g.metrics("/metrics")["app_workers{mount=/}"]
			if gauge < 1 {
				t.Fatalf("the gauge is %v", gauge)
			}
			if err := g.Process.Signal(syscall.SIGUSR2); err != nil {
				t.Fatal(err)
			}
			next := successorOf(t, g)
			if code := g.Wait(); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			testkit.Eventually(t, "the gauge at the new gateway, and nothing else", func() bool {
				res, err := client.Get(g.URL + "/metrics")
				if err != nil {
					return false
				}
				now := parseMetrics(t, res.Body)
				if err := res.Body.Close(); err != nil {
					return false
				}
				_, counted := now["app_orders_total{kind=web,mount=/}"]
				return now["app_workers{mount=/}"] == gauge && !counted
			})
			if err := syscall.Kill(next, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			testkit.NoneLeft(t, dir)
		})
	}
}
