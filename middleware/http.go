package middleware

import (
	"net/http"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
)

// HTTP lets middleware written for net/http stand in a chain:
//
//	app = pagi.Chain(app, middleware.RequestID{}, middleware.HTTP(handlers.ProxyHeaders))
//
// nethttp.Wrap says how it sees requests and responses. Each request costs about as much again as
// without it, because it is translated to net/http and back.
type HTTP func(http.Handler) http.Handler

// Wrap puts m around next.
func (m HTTP) Wrap(next pagi.App) pagi.App { return nethttp.Wrap(next, m) }
