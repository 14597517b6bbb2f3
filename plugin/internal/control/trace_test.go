package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/spans/spanstest"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// answer has an application below the guard of an adapter answer a scope, as the gateway gets it.
func answer(t *testing.T, scope *pagi.Scope, app pagi.AppFunc) (start pagi.HTTPResponseStart) {
	t.Helper()
	err := NewAsides().Guard(app).Serve(t.Context(), scope, nil, func(_ context.Context, ev pagi.Event) error {
		if e, is := ev.(pagi.HTTPResponseStart); is {
			start = e
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return start
}

// A gateway records the spans that an adapter tells of. Nothing of that is left in the response, and no application can tell.
func TestSpansOfAnAdapter(t *testing.T) {
	forged := pagi.NewHeaders("x-own", "1", traceHeader, `[{"name":"forged","begin":1,"end":2}]`)
	begin := time.Now()
	work := func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		trace := scope.Trace()
		if trace == nil {
			return errors.New("it is not recorded")
		}
		wait := trace.Start("wait", begin)
		span := trace.Start("cgi", begin)
		wait.End(begin.Add(time.Second), nil)
		span.Begin(begin.Add(time.Second))
		span.Set(slog.Int("process.pid", 7), slog.String("pagi.script", "/a\nb"), slog.Float64("half", 0.5))
		if span.Traceparent() != scope.Headers.Get("traceparent") || trace.TraceID() != spanstest.ID {
			return fmt.Errorf("%s, %s", span.Traceparent(), trace.TraceID())
		}
		if scope.Path == "/fails" {
			return &pagi.StatusError{Status: 502, Err: errors.New("no")}
		}
		err := send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: forged})
		span.End(begin.Add(time.Minute), nil)
		return err
	}
	for _, path := range []string{"/", "/fails"} {
		t.Run(path, func(t *testing.T) {
			trace := &spanstest.Trace{}
			span := trace.Start("cgi", time.Unix(0, 0))
			start := answer(t, Traced(&pagi.Scope{Type: pagi.TypeHTTP, Path: path}, span), work)
			if err := TakeReport(&start, trace, span); err != nil {
				t.Fatal(err)
			}
			if start.Headers.Has(traceHeader) || path == "/" && start.Headers.Get("x-own") != "1" || (path == "/fails") != start.Headers.Has(asideHeader) {
				t.Errorf("%v", start.Headers)
			}
			wait, own := trace.Only(t, "wait"), span.(*spanstest.Span)
			if len(trace.Ended()) != 1 || !wait.From.Equal(begin) || wait.To.Sub(begin) != time.Second || own.From.Sub(begin) != time.Second {
				t.Errorf("%+v, %+v", wait, own)
			}
			if a := own.Attributes; a["process.pid"] != "7" || a["pagi.script"] != "/a\nb" || a["half"] != "0.5" {
				t.Errorf("%v", a)
			}
		})
	}
	start := answer(t, &pagi.Scope{Type: pagi.TypeHTTP, Headers: pagi.NewHeaders("traceparent", "00-"+spanstest.ID+"-b7ad6b7169203331-01")}, func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		if scope.Trace() != nil {
			return errors.New("a client has it recorded")
		}
		return send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: forged})
	})
	if start.Headers.Has(traceHeader) || start.Headers.Get("x-own") != "1" {
		t.Errorf("not recorded: %v", start.Headers)
	}
	span := (&spanstest.Trace{}).Start("cgi", begin)
	for _, text := range []string{"{", "7", `{"name":1}`} {
		start := pagi.HTTPResponseStart{Headers: pagi.NewHeaders(traceHeader, text)}
		if TakeReport(&start, &spanstest.Trace{}, span) == nil {
			t.Errorf("%s is taken", text)
		}
	}
	if start := (pagi.HTTPResponseStart{}); TakeReport(&start, nil, nil) != nil {
		t.Error("an adapter that tells nothing")
	}
}
