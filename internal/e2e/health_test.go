package e2e

import (
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// A health check of a site is 200 when its mounts have workers, and 503 when they cannot be started.
func TestHealthOfMounts(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{
		"good.psgi": `sub { [200, [], ['ok']] }`,
		"bad.psgi":  `my $first = !-e 'started'; if ($first) { open my $f, '>', 'started' or die; } else { die "no more\n" } sub { exit 1 }`,
		"good.yaml": "listen: 127.0.0.1:0\nmiddleware: [healthcheck]\nmounts: [{path: /, psgi: good.psgi, workers: 1}]\n",
		"bad.yaml":  "listen: 127.0.0.1:0\nmiddleware: [healthcheck: {live_path: /live}]\nmounts: [{path: /, psgi: bad.psgi, workers: 1}]\n",
	})
	g := &gateway{testkit.Start(t, testkit.Command(dir, program, "-c", "good.yaml")), t}
	if res, body := testkit.Get(t, client, g.URL+"/health"); res.StatusCode != 200 || body != `{"status":"ok","checks":{"mount /":{"status":"ok"}}}` {
		t.Errorf("%s %q", res.Status, body)
	}
	g = &gateway{testkit.StartAnyExit(t, testkit.Command(dir, program, "-c", "bad.yaml")), t}
	testkit.Get(t, client, g.URL+"/") // ends the only worker, and no other one can be started
	g.Eventually("the mount is not ready", func() bool {
		res, body := testkit.Get(t, client, g.URL+"/health")
		return res.StatusCode == 503 && strings.Contains(body, `"mount /":{"status":"error"`)
	})
	if res, _ := testkit.Get(t, client, g.URL+"/live"); res.StatusCode != 200 {
		t.Errorf("live: %s", res.Status)
	}
}
