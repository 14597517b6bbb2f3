package perlpagi_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/internal/leased"
	"github.com/pagi-go/pagi-bridge/bridge/perlpagi"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// mounted is an application that has been started, and its client.
type mounted struct {
	*pagitest.Client
	app     pagi.App
	log     *testkit.Log
	scratch string
}

// needs skips a test where perl lacks a module.
func needs(t *testing.T, modules ...string) {
	t.Helper()
	for _, module := range modules {
		if exec.Command(testkit.Tool(t, "perl", "perl"), "-M"+module, "-e", "1").Run() != nil {
			t.Skipf("perl has no module %s", module)
		}
	}
}

// mount starts an application of testdata, and stops it when the test ends.
func mount(t *testing.T, o perlpagi.PAGI) *mounted {
	t.Helper()
	needs(t, "IO::Async::Loop", "Future::AsyncAwait")
	m := &mounted{log: &testkit.Log{}, scratch: t.TempDir()}
	if o.App != "" && !strings.Contains(o.App, "/") {
		o.App = "testdata/" + o.App
	}
	o.Logger = m.log.Logger()
	if o.Crew == nil {
		o.Crew = leased.Maker()
	}
	if o.Workers == 0 && o.MaxWorkers == 0 {
		o.Workers = 1
	}
	env := map[string]string{"SCRATCH": m.scratch}
	for name, value := range o.Env {
		env[name] = value
	}
	o.Env = env
	app, err := o.Build()
	if err != nil {
		t.Fatal(err)
	}
	run, err := lifespan.Start(t.Context(), app, &pagi.Scope{Type: pagi.TypeLifespan, State: map[string]any{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		defer cancel()
		if err := run.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", m.log)
		}
	})
	m.app, m.Client = app, pagitest.New(app)
	return m
}

// expect checks the status and the body of an answer that is complete.
func expect(t *testing.T, r *pagitest.Response, status int, body string) {
	t.Helper()
	if r.Err != nil || r.Status != status || r.Text() != body {
		t.Errorf("%d %q, error %v; want %d %q", r.Status, r.Text(), r.Err, status, body)
	}
}
