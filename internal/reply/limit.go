package reply

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"

	"golang.org/x/time/rate"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// warnings limits the warnings that clients can cause: ten at once, then one each second.
var warnings = rate.NewLimiter(1, 10)

// LimitBody returns a Receive that gives at most limit bytes of a request body; 0 and less mean no
// limit. A body that is announced or found to be larger makes it fail with a *pagi.StatusError of
// 413. logger gets a warning, or a debug record when there are very many.
func LimitBody(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, limit int64, logger *slog.Logger) (pagi.Receive, error) {
	if limit <= 0 {
		return receive, nil
	}
	tooLarge := func() error {
		level := slog.LevelWarn
		if !warnings.Allow() {
			level = slog.LevelDebug
		}
		logger.LogAttrs(ctx, level, "request body is too large", slog.String("option", "max_body_size"), slog.Int64("limit", limit),
			slog.String("method", scope.Method), slog.String("path", scope.RootPath+scope.Path), slog.String("client", scope.Client.Host))
		return &pagi.StatusError{
			Status: http.StatusRequestEntityTooLarge, Message: http.StatusText(http.StatusRequestEntityTooLarge),
			Err: fmt.Errorf("the request body is larger than %d bytes (option max_body_size)", limit),
		}
	}
	if length, err := strconv.ParseInt(scope.Headers.Get("content-length"), 10, 64); err == nil && length > limit {
		return nil, tooLarge()
	}
	var got int64
	return func(ctx context.Context) (pagi.Event, error) {
		ev, err := receive(ctx)
		if err != nil {
			return ev, err
		}
		switch piece := ev.(type) {
		case pagi.HTTPRequest:
			got += int64(len(piece.Body))
		case pagi.SSERequest:
			got += int64(len(piece.Body))
		}
		if got > limit {
			return nil, tooLarge()
		}
		return ev, nil
	}, nil
}
