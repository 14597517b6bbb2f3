package host_test

import (
	"context"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/spans/spanstest"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func TestTheSpanOfAPlugin(t *testing.T) {
	t.Parallel()
	r := start(t, options("kit"))
	trace := &spanstest.Trace{}
	client := pagitest.New(pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		scope = scope.Clone()
		scope.Notes = &pagi.LogNotes{}
		scope.Notes.SetTrace(trace)
		return r.plugin.Serve(ctx, scope, receive, send)
	}))
	answer := client.Get("/trace")
	work := trace.Only(t, "plugin")
	if want := work.Attributes["process.pid"] + " " + work.Traceparent(); answer.Text() != want || work.Attributes["pagi.mount"] != "/p" || work.Err != nil {
		t.Errorf("told %q, want %q; %+v", answer.Text(), want, work)
	}
	trace = &spanstest.Trace{}
	if answer := client.Get("/exit"); answer.Err == nil || trace.Only(t, "plugin").Err == nil {
		t.Errorf("a plugin that has ended: %v", answer.Err)
	}
}
