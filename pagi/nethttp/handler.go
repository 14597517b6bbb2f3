package nethttp

import (
	"net/http"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/server/ws"
)

// Handler returns an http.Handler that runs app once per request, in an http, an sse or a websocket
// scope. It is an Adapter whose engine has only the application and support for WebSockets. Use an
// Adapter of your own for limits, timeouts and hooks.
//
// Mounted below http.StripPrefix, the prefix becomes the scope's RootPath.
//
// Handler runs no lifespan. An application that needs one is started with lifespan.Start and
// shut down with its Run, and an Adapter whose engine has State gives its scopes the state.
func Handler(app pagi.App) http.Handler {
	return &Adapter{Engine: &engine.Handler{App: app, WebSocket: &ws.Server{}}}
}
