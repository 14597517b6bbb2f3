package site_test

import (
	"context"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/site"
)

// reader reads the request body and says how long it is.
type reader struct{}

func (reader) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type != pagi.TypeHTTP {
		return pagi.Unsupported(scope)
	}
	for more := true; more; {
		ev, err := receive(ctx)
		if err != nil {
			return err
		}
		more = ev.(pagi.HTTPRequest).More
	}
	if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
		return err
	}
	return send(ctx, pagi.HTTPResponseBody{})
}

func init() { site.RegisterApp("test_reader", func() pagi.App { return &reader{} }) }

func TestBodySizesOfMounts(t *testing.T) {
	const script = "#!/bin/sh\ncat >/dev/null\nprintf 'Content-Type: text/plain\\n\\n'\n"
	dir := testkit.Tree(t, map[string]string{
		"site.yaml": `
max_body_size: 10
mounts:
  - {path: /go, go: test_reader}
  - {path: /plain, cgi: cgi}
  - {path: /both, cascade: [{file: cgi}, {go: test_reader}]}
  - {path: /large, cgi: cgi, max_body_size: 30}
  - {path: /small, cgi: cgi, max_body_size: 5}
  - {path: /some, cgi: cgi, directories: [{path: /upload, max_body_size: 40}]}
`,
		"cgi/a": script, "cgi/upload/a": script,
	})
	t.Chdir(dir)
	s, err := site.Load("site.yaml")
	if err != nil {
		t.Fatal(err)
	}
	app, err := s.Build()
	if err != nil {
		t.Fatal(err)
	}
	if got := s.MaxBodySize(); got != 40 {
		t.Errorf("the server's limit is %d", got)
	}
	c := pagitest.New(app)
	for target, limit := range map[string]int{"/go": 10, "/both/none": 10, "/plain/a": 10, "/large/a": 30, "/small/a": 5, "/some/a": 10, "/some/upload/a": 40} {
		for _, accept := range []string{"*/*", "application/json, text/event-stream"} {
			takes := pagitest.Header("accept", accept)
			if res := c.Post(target, takes, pagitest.Body(strings.Repeat("x", limit))); res.Err != nil || res.Status != 200 {
				t.Errorf("%s, %s, %d bytes: %d %v", target, accept, limit, res.Status, res.Err)
			}
			if res := c.Post(target, takes, pagitest.Body(strings.Repeat("x", limit+1))); res.Status == 200 || res.Err == nil || !strings.Contains(res.Err.Error(), "max_body_size") {
				t.Errorf("%s, %s, %d bytes: %d %v", target, accept, limit+1, res.Status, res.Err)
			}
		}
	}
}
