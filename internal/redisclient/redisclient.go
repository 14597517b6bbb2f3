// Package redisclient makes clients of Redis out of URLs, in one way for all who keep something there.
package redisclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

func init() { redis.SetLogger(debugLogger{}) }

// debugLogger gets what package redis says of itself. Each command returns its error to the caller, so
// that a Redis that is down would fill the log with the same errors again.
type debugLogger struct{}

// Printf implements the logger of package redis.
func (debugLogger) Printf(ctx context.Context, format string, args ...any) {
	slog.DebugContext(ctx, "redis: "+fmt.Sprintf(format, args...))
}

// Options returns what a URL stands for: redis://user:password@host:port/db, rediss:// for TLS, or
// unix:///path. The client does not retry, because a script that was repeated after its answer was
// lost would run twice. It uses no command that older servers do not know. The error does not show
// the URL, which may have a password.
func Options(text string) (*redis.Options, error) {
	options, err := redis.ParseURL(text)
	var shown *url.Error
	if errors.As(err, &shown) {
		err = shown.Err
	}
	if err != nil {
		return nil, err
	}
	options.MaxRetries = -1
	options.DisableIdentity = true
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return options, nil
}
