package site

import (
	"context"
	"log/slog"

	"github.com/pagi-go/pagi-bridge/bridge/cgi"
	"github.com/pagi-go/pagi-bridge/bridge/perlpagi"
	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// MaxBodySize returns the largest request body that any mount takes. It is the server's limit;
// negative: no limit.
func (s *Site) MaxBodySize() int64 {
	return s.largestOf(s.All())
}

// largestOf returns the largest request body that the site or any of these mounts takes.
func (s *Site) largestOf(mounts []*Mount) int64 {
	limit := s.ownBodySize()
	for _, m := range mounts {
		switch o := m.Options.(type) {
		case *psgi.PSGI:
			limit = larger(limit, o.MaxBodySize)
		case *perlpagi.PAGI:
			limit = larger(limit, o.MaxBodySize)
		case *cgi.CGI:
			limit = larger(limit, o.MaxBodySize)
			for _, d := range o.Directories {
				limit = larger(limit, d.MaxBodySize)
			}
		}
	}
	return limit
}

// ownBodySize returns the site's limit, for mounts that set none.
func (s *Site) ownBodySize() int64 {
	return s.Settings.Limits.WithDefaults().MaxBodySize
}

// larger returns the larger of two limits. A negative one means no limit.
func larger(limit, other int64) int64 {
	if limit < 0 {
		return limit
	}
	return max(limit, other)
}

// limitBody keeps a mount to its own limit or the site's, whichever is larger, if another mount
// makes the server's limit larger still.
func (s *Site) limitBody(m *Mount, app pagi.App) pagi.App {
	limit := s.largestOf(withParts([]*Mount{m})) // each part enforces its own limit
	if limit < 0 || limit >= s.MaxBodySize() {
		return app
	}
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeHTTP && scope.Type != pagi.TypeSSE {
			return app.Serve(ctx, scope, receive, send)
		}
		logger := s.Logger
		if logger == nil {
			logger = slog.Default()
		}
		receive, err := reply.LimitBody(ctx, scope, receive, limit, logger)
		if err != nil {
			return err
		}
		return app.Serve(ctx, scope, receive, send)
	})
}
