package middleware_test

import (
	"context"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// reaches reports whether a request comes through m to the application, or else the status with
// which m answers it.
func reaches(t *testing.T, m pagi.Middleware, scope pagi.Scope) (reached bool, status int) {
	t.Helper()
	app := pagi.AppFunc(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { reached = true; return nil })
	send := func(_ context.Context, ev pagi.Event) error {
		switch e := ev.(type) {
		case pagi.HTTPResponseStart:
			status = e.Status
		case pagi.SSEHTTPResponseStart:
			status = e.Status
		case pagi.WebSocketHTTPResponseStart:
			status = e.Status
		}
		return pagi.Validate(scope.Type, ev)
	}
	if err := m.Wrap(app).Serve(t.Context(), &scope, nil, send); err != nil {
		t.Error(err)
	}
	return reached, status
}

// checkFails demands that a part's options have one problem.
func checkFails(t *testing.T, part pagi.Checker, want string) {
	t.Helper()
	if err := part.Check(); err == nil || err.Error() != want {
		t.Errorf("%T: %v, want %s", part, err, want)
	}
}
