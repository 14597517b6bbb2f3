package psgi

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/internal/spans/spanstest"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

const tracedApp = `sub { my $e = shift; kill 9, $$ if $e->{PATH_INFO} eq '/die'; [200, [], ["$$ $e->{HTTP_TRACEPARENT}"]] }`

// The span of the work ends with the worker's answer, and not when the client has taken it.
func TestSpansOfARequest(t *testing.T) {
	m := mount(t, PSGI{Code: tracedApp, Name: "/shop"})
	trace := &spanstest.Trace{}
	before, taken := time.Now(), time.Time{}
	r := m.doContext(t.Context(), call{path: "/", trace: trace}, func(string) {
		testkit.Eventually(t, "the worker to be free", func() bool {
			return m.app.(interface{ Status() status.Backend }).Status().Running == 0
		})
		taken = time.Now()
	})
	wait, work := trace.Only(t, "wait"), trace.Only(t, "psgi")
	if wait.Err != nil || work.Err != nil || wait.From.Before(before) || !wait.To.Equal(work.From) || work.To.Before(work.From) || !work.To.Before(taken) {
		t.Errorf("the wait from %v to %v (%v), the work from %v to %v (%v), taken at %v", wait.From, wait.To, wait.Err, work.From, work.To, work.Err, taken)
	}
	if want := work.Attributes["process.pid"] + " " + work.Traceparent(); r.body != want || work.Attributes["pagi.mount"] != "/shop" || work.Attributes["pagi.worker"] != "1" {
		t.Errorf("told %q, want %q; %v", r.body, want, work.Attributes)
	}
}

// A request that a worker dies of, and one whose client has left, have spans that tell so.
func TestSpansOfARequestThatFails(t *testing.T) {
	m := mount(t, PSGI{Code: tracedApp, Limits: pool.Limits{Retry: pool.RetryOff}})
	trace := &spanstest.Trace{}
	r := m.do(call{path: "/die", trace: trace})
	if work := trace.Only(t, "psgi"); r.err == nil || work.Err == nil || !strings.Contains(work.Err.Error(), "died") {
		t.Errorf("%v, the span: %v", r.err, work.Err)
	}
	gone, cancel := context.WithCancelCause(t.Context())
	cancel(&pagi.DisconnectError{Reason: pagi.ReasonClientClosed})
	trace = &spanstest.Trace{}
	m.doContext(gone, call{path: "/", trace: trace}, nil)
	trace.Only(t, "wait")

	m = mount(t, PSGI{Code: `sub { [200, [], []] }`})
	trace = &spanstest.Trace{}
	if r := m.do(call{path: "/\x00", trace: trace}); r.err == nil || trace.Only(t, "wait").Err == nil || len(trace.Ended()) != 1 {
		t.Errorf("%v: %v", r.err, trace.Ended())
	}
}

// Each of many requests has the spans of its own work.
func TestSpansOfManyRequests(t *testing.T) {
	m := mount(t, PSGI{Code: tracedApp})
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() {
			for range 10 {
				trace := &spanstest.Trace{}
				r := m.do(call{path: "/", trace: trace})
				wait, work := trace.Only(t, "wait"), trace.Only(t, "psgi")
				if want := fmt.Sprint(work.Attributes["process.pid"], " ", work.Traceparent()); r.body != want || work.From.Before(wait.From) || work.To.Before(work.From) {
					t.Errorf("told %q, want %q; %+v %+v", r.body, want, wait, work)
				}
			}
		})
	}
	clients.Wait()
}
