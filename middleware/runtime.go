package middleware

import (
	"context"
	"strconv"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Runtime tells in a header how long the application took to begin its response,
// in seconds.
type Runtime struct {
	// Header is the header's name; "" means X-Runtime.
	Header string `yaml:"header"`
	// Precision is the number of decimal places, 1 to 9; 0 means 6.
	Precision int `yaml:"precision"`
	// ServerTiming also adds a Server-Timing header ("app;dur=" and the milliseconds), which
	// browsers show in their developer tools.
	ServerTiming bool `yaml:"server_timing"`
}

func init() { parts.Middleware[Runtime]("runtime") }

// Check reports a Header that is not a header name and a Precision out of range.
func (m Runtime) Check() error {
	if m.Precision < 0 || m.Precision > 9 {
		return pagi.BadOption("precision", "must be 1 to 9, is %d", m.Precision)
	}
	return checkName("header", or(m.Header, "x-runtime"))
}

// Wrap puts m around next.
func (m Runtime) Wrap(next pagi.App) pagi.App {
	header, precision := or(m.Header, "x-runtime"), m.Precision
	if precision == 0 {
		precision = 6
	}
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		begun := time.Now()
		return next.Serve(ctx, scope, receive, editStart(send, func(h *pagi.Headers) {
			took := time.Since(begun).Seconds()
			h.Set(header, strconv.FormatFloat(took, 'f', precision, 64))
			if m.ServerTiming {
				h.Add("server-timing", "app;dur="+strconv.FormatFloat(took*1000, 'f', 3, 64))
			}
		}))
	})
}
