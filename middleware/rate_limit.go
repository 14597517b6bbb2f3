package middleware

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/redisclient"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/session"
)

// RateLimit answers 429 to a client that sends requests faster than allowed. It refuses event streams
// and WebSocket handshakes in the same way. Behind a proxy it belongs inside a middleware that finds
// the address of the client.
//
// The limit is a bucket with Burst tokens, which gets Requests new ones in each Period (GCRA). A
// request takes one; a request that is refused takes none. So in any time t at most
// Burst + Requests*t/Period requests pass.
type RateLimit struct {
	// Requests pass in each Period once Burst is used up.
	Requests int `yaml:"requests" default:"10" zero:"must be more than 0"`
	// Period is the time for Requests.
	Period time.Duration `yaml:"period" default:"1s" zero:"must be more than 0"`
	// Burst is how many requests may come at once.
	Burst int `yaml:"burst" default:"20" zero:"must be more than 0"`
	// Key says which requests have a bucket in common: those with the same values of all in the list.
	// "address" is the client's address; "user" the name that a middleware outside has authenticated,
	// else the address; "path" the path; "header NAME" a header of the request. A client can choose its
	// paths and headers, and so has as many buckets as it likes. None means "address".
	Key []string `yaml:"key"`
	// KeyFunc takes the place of Key. A request with the key "" is not limited.
	KeyFunc func(scope *pagi.Scope) string `yaml:"-"`
	// IPv6Prefix is how many bits of an IPv6 address count. A network has 2^64 addresses.
	IPv6Prefix int `yaml:"ipv6_prefix" default:"64" zero:"must be more than 0"`
	// Paths are limited, with all below them; none means every path.
	Paths []string `yaml:"paths"`
	// Exclude are paths that are not limited. One that ends in a slash stands for everything below it.
	Exclude []string `yaml:"exclude"`
	// Methods are limited; none means all. A WebSocket handshake is a GET.
	Methods []string `yaml:"methods"`
	// Headers tell the client of its limit: "x" by X-RateLimit-Limit, -Remaining and -Reset; "draft"
	// by RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10); "both"; or "off". A
	// refusal has Retry-After in any case.
	Headers string `yaml:"headers" default:"both"`
	// Name is the name of the limit in RateLimit and RateLimit-Policy.
	Name string `yaml:"name" default:"default"`
	// Store is "memory", of this process, or "redis".
	Store string `yaml:"store" default:"memory"`
	// MaxKeys is how many buckets are kept in memory. When there are more, the fullest one is dropped.
	MaxKeys int `yaml:"max_keys" default:"10000" zero:"must be more than 0"`
	// URL is that of Redis: redis://user:password@host:port/db, rediss:// for TLS, or unix:///path.
	URL string `yaml:"url"`
	// Prefix is in front of the keys in Redis; "" means "pagi_rate:". Limits with the same prefix share
	// their buckets.
	Prefix string `yaml:"prefix"`
	// OnError is what happens to a request when the store fails: "allow", or "deny" with 503.
	OnError string `yaml:"on_error" default:"allow"`
	// Backend takes the place of Store.
	Backend RateLimitStore `yaml:"-"`
	// Logger gets a warning when the store fails; nil means slog.Default().
	Logger *slog.Logger `yaml:"-"`
	// Now is the clock of the memory; nil means time.Now.
	Now func() time.Time `yaml:"-"`
}

func init() { parts.Middleware[RateLimit]("rate_limit") }

// RateLimitPolicy is the size of a bucket, and how fast it fills.
type RateLimitPolicy struct {
	// Burst is the number of tokens in a full bucket.
	Burst int
	// Interval is the time for one token.
	Interval time.Duration
}

// fill is how long an empty bucket needs to become full.
func (p RateLimitPolicy) fill() time.Duration { return time.Duration(p.Burst) * p.Interval }

// RateLimitResult is what became of an attempt to take tokens.
type RateLimitResult struct {
	Allowed bool
	// Remaining is how many tokens are left.
	Remaining int
	// Reset is the time until the bucket is full.
	Reset time.Duration
	// RetryAfter is the time until the attempt can succeed; 0 if it did.
	RetryAfter time.Duration
}

// RateLimitStore keeps the buckets. Its methods are called concurrently. A store that has something
// to open and close implements session.Opener.
type RateLimitStore interface {
	// Take takes n tokens out of the bucket of key, or none if it has fewer. It does so in one step,
	// whatever other processes do.
	Take(ctx context.Context, key string, policy RateLimitPolicy, n int) (RateLimitResult, error)
}

// maxFill keeps the arithmetic on times far from its limits.
const maxFill = 10 * 365 * 24 * time.Hour

// Check reports options that are wrong or contradict each other.
func (m RateLimit) Check() error {
	given := m
	option.SetDefaults(&m)
	var errs []error
	for _, o := range []struct {
		name  string
		value int64
	}{{"requests", int64(m.Requests)}, {"period", int64(m.Period)}, {"burst", int64(m.Burst)}, {"max_keys", int64(m.MaxKeys)}} {
		if o.value < 1 {
			errs = append(errs, pagi.BadOption(o.name, "must be more than 0"))
		}
	}
	if errors.Join(errs...) == nil {
		if m.Requests > int(m.Period) {
			errs = append(errs, pagi.BadOption("requests", "cannot be more than one a nanosecond"))
		} else if float64(m.Burst)*float64(m.policy().Interval) > float64(maxFill) {
			errs = append(errs, pagi.BadOption("burst", "an empty bucket would need more than ten years to become full"))
		}
	}
	if _, err := m.keyParts(); err != nil {
		errs = append(errs, err)
	}
	if m.IPv6Prefix < 1 || m.IPv6Prefix > 128 {
		errs = append(errs, pagi.BadOption("ipv6_prefix", "must be 1 to 128, is %d", m.IPv6Prefix))
	}
	errs = append(errs, checkPaths("paths", m.Paths), checkPaths("exclude", m.Exclude))
	for _, method := range m.Methods {
		errs = append(errs, checkMethod("methods", method))
	}
	for _, o := range []struct{ name, value, words string }{
		{"headers", m.Headers, "both, x, draft or off"}, {"store", m.Store, "memory or redis"}, {"on_error", m.OnError, "allow or deny"},
	} {
		if !slices.Contains(strings.FieldsFunc(strings.ReplaceAll(o.words, " or ", ","), func(r rune) bool { return r == ',' || r == ' ' }), o.value) {
			errs = append(errs, pagi.BadOption(o.name, "must be %s, is %q", o.words, o.value))
		}
	}
	if !headername.IsToken(m.Name) {
		errs = append(errs, pagi.BadOption("name", "%q has characters other than those of a token", m.Name))
	}
	for _, o := range []struct {
		name, store string
		set         bool
	}{{"max_keys", "memory", given.MaxKeys != 0}, {"url", "redis", m.URL != ""}, {"prefix", "redis", m.Prefix != ""}} {
		if o.set && m.Store != o.store {
			errs = append(errs, pagi.BadOption(o.name, "it belongs to the store %s, not to %s", o.store, m.Store))
		}
	}
	if m.Store == "redis" && m.Backend == nil {
		if _, err := redisclient.Options(m.URL); err != nil {
			errs = append(errs, pagi.BadOption("url", "is no URL of Redis: %w", err))
		}
	}
	return errors.Join(errs...)
}

// policy returns the limit. The interval is rounded up, so that it is never less strict than asked.
func (m RateLimit) policy() RateLimitPolicy {
	n := time.Duration(m.Requests)
	return RateLimitPolicy{Burst: m.Burst, Interval: (m.Period + n - 1) / n}
}

// rateLimit is a RateLimit that is ready for use.
type rateLimit struct {
	RateLimit
	limit   RateLimitPolicy
	key     []keyPart
	memory  *rateMemory // nil with a store
	x       bool
	draft   bool
	policy  string // the value of RateLimit-Policy
	total   string
	warning rate.Sometimes
}

// Wrap puts m around next.
func (m RateLimit) Wrap(next pagi.App) pagi.App {
	if err := m.Check(); err != nil {
		return lifespan.Broken(err)
	}
	given := m
	option.SetDefaults(&m)
	l := &rateLimit{
		RateLimit: m, limit: m.policy(), x: m.Headers == "x" || m.Headers == "both", draft: m.Headers == "draft" || m.Headers == "both",
		total: strconv.Itoa(m.Burst), warning: rate.Sometimes{First: 1, Interval: 10 * time.Second},
	}
	l.key, _ = m.keyParts()
	l.Methods = upper(m.Methods)
	l.policy = fmt.Sprintf("%q;q=%d;w=%d", m.Name, m.Burst, seconds(l.limit.fill()))
	switch {
	case m.Backend != nil:
	case m.Store == "redis":
		l.Backend = newRateRedis(m.URL, or(m.Prefix, "pagi_rate:"))
	default:
		l.memory = newRateMemory(m.MaxKeys, m.Now)
	}
	app := wrap(given, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if !l.concerns(scope) {
			return next.Serve(ctx, scope, receive, send)
		}
		return l.serve(ctx, next, scope, receive, send)
	})
	if opener, ok := l.Backend.(session.Opener); ok {
		return lifespan.Hooks{
			Startup:  []func(context.Context, map[string]any) error{func(ctx context.Context, _ map[string]any) error { return opener.Open(ctx) }},
			Shutdown: []func(context.Context, map[string]any) error{func(ctx context.Context, _ map[string]any) error { return opener.Close(ctx) }},
		}.Wrap(app)
	}
	return app
}

// concerns reports whether a request is limited.
func (l *rateLimit) concerns(scope *pagi.Scope) bool {
	return (len(l.Methods) == 0 || slices.Contains(l.Methods, methodOf(scope))) && protects(l.Paths, scope) && !exempts(l.Exclude, scope)
}

func (l *rateLimit) serve(ctx context.Context, next pagi.App, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	result, limited, err := l.take(ctx, scope)
	switch {
	case err != nil:
		l.warning.Do(func() { l.warn(ctx, err) })
		if l.OnError == "deny" {
			return &pagi.StatusError{Status: http.StatusServiceUnavailable, Message: http.StatusText(http.StatusServiceUnavailable), Err: fmt.Errorf("rate limit: %w", err)}
		}
		return next.Serve(ctx, scope, receive, send)
	case !limited:
		return next.Serve(ctx, scope, receive, send)
	case !result.Allowed:
		headers := pagi.NewHeaders("content-type", "text/plain; charset=utf-8", "retry-after", strconv.FormatInt(max(seconds(result.RetryAfter), 1), 10))
		l.tell(&headers, result)
		return reply.Send(ctx, scope, send, http.StatusTooManyRequests, headers, []byte("Too many requests. Try again later.\n"))
	case l.Headers == "off":
		return next.Serve(ctx, scope, receive, send)
	}
	return next.Serve(ctx, scope, receive, editStart(send, func(h *pagi.Headers) { l.tell(h, result) }))
}

// take takes a token for a request. limited is false if KeyFunc gives it no key.
func (l *rateLimit) take(ctx context.Context, scope *pagi.Scope) (result RateLimitResult, limited bool, err error) {
	var space [128]byte
	key := space[:0]
	if l.KeyFunc != nil {
		text := l.KeyFunc(scope)
		if text == "" {
			return result, false, nil
		}
		key = append(key, text...)
	} else {
		key = l.appendKey(key, scope)
	}
	key = shortKey(key)
	if l.memory != nil {
		return l.memory.take(key, l.limit, 1), true, nil
	}
	result, err = l.Backend.Take(ctx, string(key), l.limit, 1)
	return result, true, err
}

func (l *rateLimit) warn(ctx context.Context, err error) {
	logger(l.Logger).LogAttrs(ctx, slog.LevelWarn, "the store of a rate limit fails", slog.String("on_error", l.OnError), slog.Any("error", err))
}

// tell adds the headers about the limit. A limit further inside has told of itself already; its
// X headers stay.
func (l *rateLimit) tell(h *pagi.Headers, result RateLimitResult) {
	*h = slices.Grow(*h, 5)
	remaining := strconv.Itoa(result.Remaining)
	if l.x && !h.Has("x-ratelimit-limit") {
		now := time.Now()
		if l.Now != nil {
			now = l.Now()
		}
		h.Add("x-ratelimit-limit", l.total)
		h.Add("x-ratelimit-remaining", remaining)
		h.Add("x-ratelimit-reset", strconv.FormatInt(now.Add(result.Reset+time.Second-1).Unix(), 10))
	}
	if l.draft {
		h.Add("ratelimit-policy", l.policy)
		h.Add("ratelimit", `"`+l.Name+`";r=`+remaining+";t="+strconv.FormatInt(seconds(result.Reset), 10))
	}
}

// seconds rounds up.
func seconds(d time.Duration) int64 { return int64(math.Ceil(d.Seconds())) }
