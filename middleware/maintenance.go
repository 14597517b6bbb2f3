package middleware

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/network"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Maintenance answers every request with 503 and a page while it is switched on: by Enabled, by a
// file that exists, or by a function. Behind a proxy, put ReverseProxy in front, so that BypassIPs are
// those of clients.
type Maintenance struct {
	// Enabled switches it on.
	Enabled bool `yaml:"enabled"`
	// File switches it on as long as there is a file of that name. It is looked for at each request.
	File string `yaml:"file" path:"yes"`
	// On switches it on for the requests for which it returns true; nil stands for none.
	On func(*pagi.Scope) bool `yaml:"-"`
	// BypassIPs are addresses and networks of clients who see the application, or "unix".
	BypassIPs []string `yaml:"bypass_ips"`
	// BypassPaths are paths that stay as they are, such as a health check; one that ends in a slash
	// stands for all below it.
	BypassPaths []string `yaml:"bypass_paths"`
	// RetryAfter is sent as Retry-After, in whole seconds; 0 sends none.
	RetryAfter time.Duration `yaml:"retry_after"`
	// Body is the page's text; "" means a built-in page.
	Body string `yaml:"body"`
	// Page is the name of a file with the page, in place of Body. It is read at each request.
	Page string `yaml:"page" path:"yes"`
	// ContentType is that of the page; "" means text/html; charset=utf-8.
	ContentType string `yaml:"content_type"`
	// Logger gets a record if Page cannot be read; nil means slog.Default.
	Logger *slog.Logger `yaml:"-"`
}

func init() { parts.Middleware[Maintenance]("maintenance") }

const maintenancePage = `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Maintenance</title>
<style>body{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:20vh auto;padding:0 1rem;color:#222}</style></head>
<body><h1>Back soon</h1><p>This site is down for maintenance. Please try again in a while.</p></body></html>
`

// Check reports a negative RetryAfter, wrong addresses and paths, Body beside Page, and a Page that
// cannot be read.
func (m Maintenance) Check() error {
	errs := []error{checkPaths("bypass_paths", m.BypassPaths), checkValue("content_type", m.ContentType)}
	if _, err := network.ParseSet(m.BypassIPs); err != nil {
		errs = append(errs, pagi.BadOption("bypass_ips", "%w", err))
	}
	if m.RetryAfter < 0 {
		errs = append(errs, pagi.BadOption("retry_after", "must not be negative, is %v", m.RetryAfter))
	}
	if m.Body != "" && m.Page != "" {
		errs = append(errs, pagi.BadOption("page", "stands beside body; leave one out"))
	}
	if m.Page != "" {
		if _, err := os.Stat(m.Page); err != nil {
			errs = append(errs, pagi.BadOption("page", "%w", err))
		}
	}
	return errors.Join(errs...)
}

// Wrap puts m around next.
func (m Maintenance) Wrap(next pagi.App) pagi.App {
	bypass, _ := network.ParseSet(m.BypassIPs) // Check has reported the error
	headers := pagi.NewHeaders("content-type", or(m.ContentType, "text/html; charset=utf-8"), "cache-control", "no-store")
	if m.RetryAfter > 0 {
		headers.Add("retry-after", strconv.FormatInt(int64((m.RetryAfter+time.Second-1)/time.Second), 10))
	}
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if !m.isOn(scope) || exempts(m.BypassPaths, scope) || bypass.HasHost(scope.Client.Host) {
			return next.Serve(ctx, scope, receive, send)
		}
		return reply.Send(ctx, scope, send, http.StatusServiceUnavailable, headers, m.page(ctx))
	})
}

func (m Maintenance) isOn(scope *pagi.Scope) bool {
	if m.Enabled || m.On != nil && m.On(scope) {
		return true
	}
	if m.File == "" {
		return false
	}
	_, err := os.Stat(m.File)
	return !errors.Is(err, fs.ErrNotExist)
}

func (m Maintenance) page(ctx context.Context) []byte {
	if m.Page == "" {
		return []byte(or(m.Body, maintenancePage))
	}
	text, err := os.ReadFile(m.Page)
	if err != nil {
		logger(m.Logger).ErrorContext(ctx, "the page cannot be read", "option", "maintenance.page", "error", fmt.Sprint(err))
		return []byte(maintenancePage)
	}
	return text
}
