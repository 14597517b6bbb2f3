package middleware

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// providerRetry is how long a provider that has failed is not asked again.
const providerRetry = 5 * time.Second

// provider is an OpenID provider whose configuration is known.
type provider struct {
	*oidc.Provider
	endSession *url.URL // nil: it has no such endpoint
}

// lazyProvider asks a provider for its configuration when that is first needed.
type lazyProvider struct {
	issuer string
	client *http.Client
	logger *slog.Logger
	retry  time.Duration

	found atomic.Pointer[provider]
	turn  chan struct{} // capacity 1: held by the request that asks
	tried time.Time     // when the provider has failed last, with turn held
	err   error
}

func newLazyProvider(issuer string, client *http.Client, logger *slog.Logger) *lazyProvider {
	return &lazyProvider{issuer: issuer, client: client, logger: logger, retry: providerRetry, turn: make(chan struct{}, 1)}
}

func (l *lazyProvider) get(ctx context.Context) (*provider, error) {
	if p := l.found.Load(); p != nil {
		return p, nil
	}
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-l.turn }()
	if p := l.found.Load(); p != nil {
		return p, nil
	}
	if l.err != nil && time.Since(l.tried) < l.retry {
		return nil, l.err
	}
	// Others wait for the answer, even if this client leaves.
	p, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), l.client), l.issuer)
	l.tried, l.err = time.Now(), err
	if err != nil {
		logger(l.logger).ErrorContext(ctx, "auth_oidc: ask the provider for its configuration", "issuer", l.issuer, "error", err)
		return nil, err
	}
	known := &provider{Provider: p}
	var more struct {
		EndSession string `json:"end_session_endpoint"`
	}
	if err := p.Claims(&more); err == nil && more.EndSession != "" {
		if u, err := url.Parse(more.EndSession); err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" {
			known.endSession = u
		}
	}
	l.found.Store(known)
	return known, nil
}

// maxEnded is how many logins that were ended early are remembered.
const maxEnded = 100_000

// endedLogins are logins whose cookies do not count any more, although they have not expired. They are
// kept in the memory of this process.
type endedLogins struct {
	now  func() time.Time
	mu   sync.RWMutex
	till map[string]time.Time
}

func newEndedLogins(now func() time.Time) *endedLogins {
	return &endedLogins{now: now, till: map[string]time.Time{}}
}

func (e *endedLogins) has(id string) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	_, ended := e.till[id]
	return ended
}

func (e *endedLogins) add(id string, deadline time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.till) >= maxEnded {
		now := e.now()
		maps.DeleteFunc(e.till, func(_ string, till time.Time) bool { return now.After(till) })
		for other := range e.till { // any one: the order of a map is random
			if len(e.till) < maxEnded {
				break
			}
			delete(e.till, other)
		}
	}
	e.till[id] = deadline
}
