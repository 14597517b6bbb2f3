package site_test

import (
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/site"
)

// TestTheConnectionOfAClusterIsKept checks that the connection, and the mounts that use it, go on only while its settings
// are the same.
func TestTheConnectionOfAClusterIsKept(t *testing.T) {
	load := func(cluster string, old *site.Site) *site.Site {
		t.Helper()
		dir := testkit.Tree(t, map[string]string{"site.yaml": "cluster: " + cluster + "\nmounts:\n  - {path: /, ws_echo: {}}\n  - {path: /n, sse_pubsub: news}\n"})
		s, err := site.Load(dir + "/site.yaml")
		if err != nil {
			t.Fatal(err)
		}
		if old != nil {
			s.Succeed(old)
		}
		if _, err := s.Build(); err != nil {
			t.Fatal(err)
		}
		return s
	}
	one := load("redis://localhost:1", nil)
	two := load("{url: 'redis://localhost:1'}", one)
	if two.Broker() != one.Broker() || len(two.Kept()) != 2 {
		t.Errorf("the same cluster: kept %q", two.Kept())
	}
	if err := two.TakeOver(t.Context()); err != nil {
		t.Fatal(err)
	}
	three := load("redis://localhost:2", two)
	if three.Broker() == two.Broker() || len(three.Kept()) != 0 {
		t.Errorf("another cluster: kept %q", three.Kept())
	}
}
