package middleware

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
)

const (
	// jwksMaxAge is how old keys may be before they are fetched again.
	jwksMaxAge = time.Hour
	// jwksRetry is the least time between two fetches. Tokens with made-up key ids cause no more.
	jwksRetry = 10 * time.Second
)

// errNoKeys says that there are no keys yet, because their server has not answered.
var errNoKeys = errors.New("the keys could not be fetched")

// remoteKeys is a JWK set at a URL. Requests fetch it, so there is no goroutine: the first one, one
// that finds the keys old, and one with the id of an unknown key. While a fetch fails, the last good
// keys stay in use.
type remoteKeys struct {
	url           string
	client        *http.Client
	logger        *slog.Logger
	maxAge, retry time.Duration

	current atomic.Pointer[fetchedKeys]
	turn    chan struct{} // capacity 1: held by the request that fetches
	tried   time.Time     // when the last fetch began, with turn held
}

type fetchedKeys struct {
	set keyfunc.Keyfunc
	at  time.Time
}

func newRemoteKeys(url string, logger *slog.Logger) *remoteKeys {
	return &remoteKeys{url: url, client: limitedClient(), logger: logger, maxAge: jwksMaxAge, retry: jwksRetry, turn: make(chan struct{}, 1)}
}

// keys is a keyring. It returns errNoKeys if no keys could be fetched.
func (r *remoteKeys) keys(ctx context.Context, token *jwt.Token) (any, error) {
	set := r.current.Load()
	if set == nil || time.Since(set.at) > r.maxAge {
		set = r.fetch(ctx, set, set == nil)
	}
	if set == nil {
		return nil, errNoKeys
	}
	key, err := jwksKeys(ctx, set.set, token)
	if errors.Is(err, jwkset.ErrKeyNotFound) {
		if newer := r.fetch(ctx, set, true); newer != set {
			return jwksKeys(ctx, newer.set, token)
		}
	}
	return key, err
}

// fetch returns newer keys than old, or old. With wait it waits for another request that fetches.
func (r *remoteKeys) fetch(ctx context.Context, old *fetchedKeys, wait bool) *fetchedKeys {
	if wait {
		select {
		case r.turn <- struct{}{}:
		case <-ctx.Done():
			return old
		}
	} else {
		select {
		case r.turn <- struct{}{}:
		default:
			return old
		}
	}
	defer func() { <-r.turn }()
	if newer := r.current.Load(); newer != old {
		return newer
	}
	if !r.tried.IsZero() && time.Since(r.tried) < r.retry {
		return old
	}
	r.tried = time.Now()
	set, err := r.get(context.WithoutCancel(ctx)) // others wait for it, even if this client leaves
	if err != nil {
		logger(r.logger).ErrorContext(ctx, "bearer_auth: fetch the keys", "url", shownURL(r.url), "error", err, "former_keys", old != nil)
		return old
	}
	newer := &fetchedKeys{set, time.Now()}
	r.current.Store(newer)
	return newer
}

func (r *remoteKeys) get(ctx context.Context) (keyfunc.Keyfunc, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() // it is read whole, or of no use
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the status is %d", res.StatusCode)
	}
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	return parseJWKS(ctx, text)
}
