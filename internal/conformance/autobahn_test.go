package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server"
)

const (
	// suiteVariable names a checkout of crossbario/autobahn-testsuite. PYTHONPATH must
	// hold what it needs.
	suiteVariable = "AUTOBAHN_SUITE"
	// pythonVariable names the Python 2 to run it with; python2 by default.
	pythonVariable = "AUTOBAHN_PYTHON"
	// casesVariable picks cases, "6.*,7.1.1"; all by default.
	casesVariable = "AUTOBAHN_CASES"
	// mostNonStrict is how many cases may end NON-STRICT.
	mostNonStrict = 3
)

// echo sends back what it receives.
var echo = pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type != pagi.TypeWebSocket {
		return pagi.Unsupported(scope)
	}
	for {
		ev, err := receive(ctx)
		if err != nil {
			return err
		}
		switch ev := ev.(type) {
		case pagi.WebSocketConnect:
			err = send(ctx, pagi.WebSocketAccept{})
		case pagi.WebSocketReceive:
			err = send(ctx, pagi.WebSocketSend(ev))
		case pagi.WebSocketDisconnect:
			return nil
		}
		if err != nil {
			return err
		}
	}
})

// serve runs s until the test ends and returns its address.
func serve(t *testing.T, s *server.Server) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan []net.Addr, 1), make(chan error, 1)
	s.Listen, s.Ready = []string{"127.0.0.1:0"}, func(addrs []net.Addr) error { ready <- addrs; return nil }
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := testkit.Await(t, done); err != nil {
			t.Error(err)
		}
	})
	return testkit.Await(t, ready)[0].String()
}

// TestAutobahn runs the fuzzing client: every case with compression, and the cases that do not
// concern compression once more without it.
func TestAutobahn(t *testing.T) {
	suite := os.Getenv(suiteVariable)
	if suite == "" {
		t.Skip(suiteVariable + " names no checkout of crossbario/autobahn-testsuite")
	}
	all := []string{"*"}
	if cases := os.Getenv(casesVariable); cases != "" {
		all = strings.Split(cases, ",")
	}
	for _, run := range []struct {
		mode    server.WSCompressionMode
		cases   []string
		without []string
	}{
		{server.WSCompressionOn, all, nil},
		{server.WSCompressionOff, all, []string{"12.*", "13.*"}},
	} {
		t.Run("compression "+string(run.mode), func(t *testing.T) {
			if !slices.ContainsFunc(run.cases, func(pattern string) bool {
				return !slices.ContainsFunc(run.without, func(w string) bool { return strings.HasPrefix(pattern, strings.TrimSuffix(w, "*")) })
			}) {
				t.Skip("none of these cases is for it") // the suite would wait for ever
			}
			const room = 32 << 20 // the suite sends messages of 16 MiB
			addr := serve(t, &server.Server{App: echo, WSCompression: run.mode, Limits: server.Limits{MaxWSFrameSize: room, MaxWSMessageSize: room}})
			judge(t, fuzz(t, suite, addr, run.cases, run.without))
		})
	}
}

// result is the verdict of the suite on one case.
type result struct {
	Behavior      string `json:"behavior"`
	BehaviorClose string `json:"behaviorClose"`
}

// fuzz runs the suite's fuzzing client against addr.
func fuzz(t *testing.T, suite, addr string, cases, without []string) map[string]result {
	t.Helper()
	dir := t.TempDir()
	spec, err := json.Marshal(map[string]any{
		"outdir":        filepath.Join(dir, "reports"),
		"servers":       []map[string]string{{"agent": "pagi-bridge", "url": "ws://" + addr}},
		"cases":         cases,
		"exclude-cases": append([]string{}, without...),
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "spec.json")
	if err := os.WriteFile(file, spec, 0o600); err != nil {
		t.Fatal(err)
	}
	python := os.Getenv(pythonVariable)
	if python == "" {
		python = "python2"
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", client, file)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+filepath.Join(suite, "autobahntestsuite")+":"+os.Getenv("PYTHONPATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the suite: %v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "reports", "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index map[string]map[string]result
	if err := json.Unmarshal(text, &index); err != nil {
		t.Fatal(err)
	}
	return index["pagi-bridge"]
}

// client is the command line of the suite. Empty modules stand in for the modules that the suite
// imports and this test does not use.
const client = `
import json, sys, types, unittest
import twisted.internet
sys.modules["unittest2"] = unittest
for name in ("jinja2", "twisted.internet.ssl"):
    sys.modules[name] = types.ModuleType(name)
twisted.internet.ssl = sys.modules["twisted.internet.ssl"]
twisted.internet.ssl.ClientContextFactory = lambda: None
from twisted.internet import reactor
from autobahntestsuite.fuzzing import FuzzingClientFactory
factory = FuzzingClientFactory(json.load(open(sys.argv[1])))
reactor.run()
`

// judge counts the verdicts, and fails the test for those that must not occur.
func judge(t *testing.T, results map[string]result) {
	t.Helper()
	counts := map[string]int{}
	for _, name := range sorted(results) {
		r := results[name]
		counts[r.Behavior]++
		switch {
		case r.Behavior == "OK", r.Behavior == "INFORMATIONAL":
		case r.Behavior == "NON-STRICT":
			t.Logf("case %s: %s", name, r.Behavior)
		default:
			t.Errorf("case %s: %s", name, r.Behavior)
		}
		if r.BehaviorClose != "OK" && r.BehaviorClose != "INFORMATIONAL" {
			t.Errorf("case %s: %s in how it closes", name, r.BehaviorClose)
		}
	}
	t.Logf("%d cases: %v", len(results), counts)
	if counts["NON-STRICT"] > mostNonStrict {
		t.Errorf("%d cases are NON-STRICT, at most %d may be", counts["NON-STRICT"], mostNonStrict)
	}
	if len(results) == 0 {
		t.Error("the suite ran no case")
	}
}

// sorted returns the names of cases in their order, 2.9 before 2.10.
func sorted(results map[string]result) []string {
	key := func(name string) (k string) {
		for part := range strings.SplitSeq(name, ".") {
			k += fmt.Sprintf("%4s", part)
		}
		return k
	}
	names := make([]string, 0, len(results))
	for name := range results {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(key(a), key(b)) })
	return names
}
