package psgi

import (
	"testing"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// What an application prints while it has a request carries the id that request has,
// and Perl's warnings keep file and line.
func TestRecordsCarryTheRequestID(t *testing.T) {
	m := mount(t, PSGI{Name: "/m", Code: "sub { warn 'careful'; $_[0]{'psgi.errors'}->print(\"printed\\n\"); [200, [], [$_[0]{HTTP_X_REQUEST_ID}]] }"})
	m.app = middleware.RequestID{Generator: func(*pagi.Scope) string { return "no-4711" }}.Wrap(m.app)
	if r := m.get("/path"); r.body != "no-4711" {
		t.Fatalf("%+v", r)
	}
	m.log.WaitFor(t, "msg=printed", "mount=/m", "worker=1", "pid=", `request="GET /path"`, "request_id=no-4711")
	m.log.WaitFor(t, "careful at -e line 1.", "mount=/m", "worker=1", "pid=")
}
