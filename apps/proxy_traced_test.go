package apps_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/spans/spanstest"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// Each backend that is asked has a span of its own, and gets its traceparent.
func TestSpansOfAProxy(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(w, "%s %s %s", r.Header.Get("Traceparent"), r.Header.Get("Tracestate"), body)
	}))
	defer backend.Close()
	p := &apps.Proxy{To: []string{"http://127.0.0.1:1", backend.URL}, ProxyBalance: apps.ProxyBalance{Balance: "round_robin"}, Logger: (&testkit.Log{}).Logger()}
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for i := range 20 {
				trace := &spanstest.Trace{}
				client := pagitest.New(pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
					scope = scope.Clone()
					scope.Headers = append(scope.Headers.Clone(), pagi.NewHeaders("traceparent", "00-"+spanstest.ID+"-ffffffffffffffff-01", "tracestate", "a=1")...)
					scope.Notes = &pagi.LogNotes{}
					scope.Notes.SetTrace(trace)
					return p.Serve(ctx, scope, receive, send)
				}))
				answer := client.Get("/")
				if i%2 == 1 {
					answer = client.Post("/", pagitest.Body("body"))
				}
				ended := trace.Ended()
				last := ended[len(ended)-1]
				if want := last.Traceparent() + " a=1 "; !strings.HasPrefix(answer.Text(), want) || last.Err != nil || !last.Client || last.Attributes["http.response.status_code"] != "200" {
					t.Errorf("the backend was told %q, want %q; %+v", answer.Text(), want, last)
				}
				for _, s := range ended[:len(ended)-1] {
					if s.Attributes["pagi.backend"] == "http://127.0.0.1:1" && (s.Err == nil || s.Attributes["http.response.status_code"] != "") {
						t.Errorf("a backend that is down: %+v", s)
					}
				}
			}
		})
	}
	clients.Wait()
}
