package site_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/site"
)

// gates hold the requests of test_gate until they are closed, by the first element of the path below the mount.
var gates sync.Map

func init() {
	site.RegisterApp("test_gate", func() pagi.App {
		return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
			if scope.Type != pagi.TypeHTTP {
				return pagi.Unsupported(scope)
			}
			if gate, is := gates.Load(scope.RootPath + scope.Path); is {
				<-gate.(chan struct{})
			}
			return reply.Text(ctx, scope, send, 200, "done")
		})
	})
}

// Parts of routers and cascades have thresholds of their own, and their names are logged.
func TestSlowRequestsOfParts(t *testing.T) {
	const text = `
slow_request: 20ms
mounts:
  - path: /r
    router:
      - {path: /watched, go: test_gate}
      - {path: /free, go: test_gate, slow_request: 0}
      - {path: /patient, go: test_gate, slow_request: 1h}
  - path: /c
    slow_request: 0
    cascade:
      - {not_found: nothing}
      - {go: test_gate, slow_request: 20ms}
  - path: /plain
    slow_request: 0
    router: [{path: /free, go: test_gate}]
`
	dir := testkit.Tree(t, map[string]string{"site.yaml": text})
	s, err := site.Load(filepath.Join(dir, "site.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var log testkit.Log
	s.Logger = log.Logger()
	app, err := s.Build()
	if err != nil {
		t.Fatal(err)
	}
	client := pagitest.Start(t, app)
	gate := make(chan struct{})
	paths := []string{"/r/free", "/r/patient", "/plain/free", "/r/watched", "/c/any"}
	var requests sync.WaitGroup
	for _, path := range paths {
		gates.Store(path, gate)
		defer gates.Delete(path)
		requests.Go(func() {
			if res := client.Get(path); res.Status != 200 {
				t.Errorf("%s: %d", path, res.Status)
			}
		})
	}
	testkit.Eventually(t, "lines about those with a threshold", func() bool { return strings.Count(log.String(), "a request is slow") >= 2 })
	close(gate)
	requests.Wait()
	for path, mount := range map[string]string{"/r/watched": "/r#1", "/c/any": "/c#2"} {
		if got := strings.Count(log.String(), "mount="+mount+` request="GET `+path+`"`); got != 2 {
			t.Errorf("%d lines about %s in %s", got, path, &log)
		}
	}
	if got := strings.Count(log.String(), "slow"); got != 4 {
		t.Errorf("%d lines, want 4:\n%s", got, &log)
	}
}
