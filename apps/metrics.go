package apps

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/pagi-go/pagi-bridge/internal/metrics"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Metrics answers with the metrics of the gateway and its applications, in the text format of Prometheus. It answers GET and
// HEAD, at any path of its mount. Any client that reaches it sees all: protect it by a middleware.
type Metrics struct {
	// Show is "all", the default, "gateway" for those of the gateway, or "application" for what the applications have counted.
	Show string `yaml:"show"`
	// Registry has the metrics. The site sets it.
	Registry *metrics.Registry `yaml:"-"`
}

func init() { parts.App[Metrics]("metrics", "show") }

// Check reports an unknown value of Show, and a missing Registry.
func (m *Metrics) Check() error {
	if err := metrics.Check(m.Show); err != nil {
		return pagi.BadOption("show", "%w", err)
	}
	if m.Registry == nil {
		return errors.New("metrics: there is no registry; only a site has one")
	}
	return nil
}

// Serve implements pagi.App.
func (m *Metrics) Serve(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
	if scope.Type != pagi.TypeHTTP {
		return pagi.Unsupported(scope)
	}
	if scope.Method != http.MethodGet && scope.Method != http.MethodHead {
		return reply.Status(ctx, scope, send, http.StatusMethodNotAllowed, "allow", "GET, HEAD")
	}
	text, err := m.Registry.Text(m.Show)
	if err != nil {
		return err
	}
	headers := pagi.NewHeaders("content-type", metrics.ContentType, "content-length", strconv.Itoa(len(text)), "cache-control", "no-store")
	return reply.Send(ctx, scope, send, http.StatusOK, headers, text)
}
