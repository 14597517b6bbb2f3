package middleware

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pagi-go/pagi-bridge/internal/redisclient"
)

// Time limits of a Redis that every request waits for.
const (
	redisDial  = time.Second
	redisReply = 500 * time.Millisecond
)

// rateRedis keeps each bucket as a string in Redis, the microsecond of the Unix time at which it will
// be full. Redis removes it then.
type rateRedis struct {
	client *redis.Client
	prefix string
}

// takeScript is takeTokens, by the clock of Redis. Redis runs a script as a whole. Arguments:
// interval in microseconds, burst, n. Result: whether it is allowed, what remains, and in
// microseconds the times until the bucket is full, and until an attempt can succeed.
var takeScript = redis.NewScript(`
if redis.replicate_commands then redis.replicate_commands() end
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local interval = tonumber(ARGV[1])
local limit = interval * ARGV[2]
local full = math.min(math.max(tonumber(redis.call('GET', KEYS[1]) or now), now), now + limit)
local next = full + interval * ARGV[3]
local wait = next - limit - now
if wait > 0 then return {0, math.floor((now + limit - full) / interval), full - now, wait} end
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000))
return {1, math.floor((now + limit - next) / interval), next - now, 0}`)

// newRateRedis makes a client of a URL that Check has read. It does not connect yet.
func newRateRedis(url, prefix string) *rateRedis {
	options, err := redisclient.Options(url)
	if err != nil {
		options = &redis.Options{}
	}
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout = redisDial, redisReply, redisReply
	options.DialerRetries, options.ContextTimeoutEnabled = 1, true
	return &rateRedis{client: redis.NewClient(options), prefix: prefix}
}

// Open does nothing: a Redis that is down must not keep the site from starting.
func (*rateRedis) Open(context.Context) error { return nil }

// Close closes the client.
func (r *rateRedis) Close(context.Context) error { return r.client.Close() }

// Take implements RateLimitStore.
func (r *rateRedis) Take(ctx context.Context, key string, policy RateLimitPolicy, n int) (RateLimitResult, error) {
	interval := (policy.Interval + time.Microsecond - 1) / time.Microsecond
	got, err := takeScript.Run(ctx, r.client, []string{r.prefix + key}, int64(interval), policy.Burst, n).Int64Slice()
	if err != nil {
		return RateLimitResult{}, err
	}
	if len(got) != 4 {
		return RateLimitResult{}, fmt.Errorf("a script of Redis returned %v", got)
	}
	return RateLimitResult{
		Allowed: got[0] == 1, Remaining: int(got[1]), Reset: time.Duration(got[2]) * time.Microsecond, RetryAfter: time.Duration(got[3]) * time.Microsecond,
	}, nil
}
