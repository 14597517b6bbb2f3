package site_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
	"github.com/pagi-go/pagi-bridge/site"
)

// failing fails with an error, with a panic or by sending nothing, depending on the path.
type failing struct{}

func (failing) Serve(_ context.Context, scope *pagi.Scope, _ pagi.Receive, _ pagi.Send) error {
	switch {
	case scope.Type != pagi.TypeHTTP:
		return pagi.Unsupported(scope)
	case scope.Path == "/error":
		return errors.New("no luck")
	case scope.Path == "/panic":
		panic("no luck")
	}
	return nil
}

// The log record of a failure identifies the request.
func TestFailuresNameRequestAndMount(t *testing.T) {
	s := &site.Site{
		Middleware: []*site.Middleware{{Name: "request_id", Part: &middleware.RequestID{Generator: func(*pagi.Scope) string { return "id-7" }}}},
		Mounts:     []*site.Mount{{Path: "/app", Kind: site.KindGo, Options: failing{}}},
	}
	app, err := s.Build()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/error", "/panic", "/silence"} {
		t.Run(path, func(t *testing.T) {
			log := &testkit.Log{}
			srv := httptest.NewServer(&nethttp.Adapter{Engine: &engine.Handler{App: app, Logger: log.Logger()}})
			defer srv.Close()
			if res, _ := testkit.Get(t, srv.Client(), srv.URL+"/app"+path); res.StatusCode != 500 {
				t.Errorf("%s", res.Status)
			}
			log.WaitFor(t, "level=ERROR", "application failed", "method=GET", "host="+strings.TrimPrefix(srv.URL, "http://"),
				"path=/app"+path, "mount=/app", "request_id=id-7")
		})
	}
}

// A note does nothing without a request.
func TestNotesWithoutARequest(t *testing.T) {
	(&pagi.Scope{}).Notes.Add(pagi.NewLogNote("mount", "/"))
}
