package parts_test

import (
	"context"
	"slices"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
)

type app struct{ Text string }

func (app) Serve(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { return nil }

type wrapper struct{ Text string }

func (wrapper) Wrap(next pagi.App) pagi.App { return next }

func TestEachUseOfANameGetsAPartOfItsOwn(t *testing.T) {
	parts.Middleware[wrapper]("test_wrapper")
	parts.App[app]("test_app", "text")
	one, other := parts.NewMiddleware("test_wrapper").(*wrapper), parts.NewMiddleware("test_wrapper").(*wrapper)
	if one.Text = "x"; other.Text != "" {
		t.Error("two uses of a middleware are one struct")
	}
	kind, ok := parts.KindOf("test_app")
	if _, is := kind.New().(*app); !ok || !is || kind.Main != "text" {
		t.Errorf("got %+v, %v", kind, ok)
	}
	if !slices.Contains(parts.MiddlewareNames(), "test_wrapper") || !slices.Contains(parts.KindNames(), "test_app") {
		t.Error("the names are not listed")
	}
	if parts.NewMiddleware("test_app") != nil || parts.NewGoApp("test_app") != nil {
		t.Error("a name is found among parts of another sort")
	}
}

func TestANameIsTakenOnce(t *testing.T) {
	register := func() { parts.AddGoApp("f", "test_twice", func() pagi.App { return app{} }) }
	register()
	defer func() {
		if got := recover(); got != `f: "test_twice" is registered already` {
			t.Errorf("panicked with %v", got)
		}
	}()
	register()
}
