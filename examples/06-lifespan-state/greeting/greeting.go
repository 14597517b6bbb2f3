// Package greeting is an application whose startup leaves something for its requests.
package greeting

import (
	"context"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/pagi/response"
)

// New returns the application.
func New() pagi.App {
	var hooks lifespan.Hooks
	hooks.Startup = append(hooks.Startup, func(_ context.Context, state map[string]any) error {
		state["greeting"] = "Hello from lifespan"
		return nil
	})
	return pagi.Chain(endpoint.Func(greet), hooks)
}

func greet(c *endpoint.Context) (*response.Response, error) {
	greeting, ok := request.State[string](c.Request, "greeting")
	if !ok { // the server has not run the lifespan
		greeting = "Hello"
	}
	return response.Text(greeting + " via shared state"), nil
}
