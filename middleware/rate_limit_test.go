package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func ExampleRateLimit() {
	app := middleware.RateLimit{Requests: 1, Period: time.Minute, Burst: 2}.Wrap(hello)
	c := pagitest.New(app)
	for range 3 {
		res := c.Get("/")
		fmt.Println(res.Status, res.Header("ratelimit-policy"), res.Header("x-ratelimit-remaining"))
	}
	// Output:
	// 200 "default";q=2;w=120 1
	// 200 "default";q=2;w=120 0
	// 429 "default";q=2;w=120 0
}

// clock is a clock that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1_700_000_000, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// from makes a request come from an address.
func from(host string) pagitest.Option {
	return pagitest.Edit(func(s *pagi.Scope) { s.Client = pagi.Addr{Host: host, Port: 1234} })
}

func TestRateLimit(t *testing.T) {
	c := newClock()
	client := pagitest.New(middleware.RateLimit{Requests: 2, Period: 3 * time.Second, Burst: 3, Now: c.Now}.Wrap(hello))
	for i, step := range []struct {
		pass        time.Duration
		status      int
		remaining   string
		reset       int64
		retry, time string
	}{
		{0, 200, "2", 2, "", "2"},
		{0, 200, "1", 3, "", "3"},
		{0, 200, "0", 5, "", "5"},
		{0, 429, "0", 5, "2", "5"},
		{time.Second, 429, "0", 5, "1", "4"},
		{500 * time.Millisecond, 200, "0", 6, "", "5"},
		{0, 429, "0", 6, "2", "5"},
		{time.Hour, 200, "2", 3603, "", "2"},
	} {
		c.pass(step.pass)
		res := client.Get("/")
		want := pagi.NewHeaders("x-ratelimit-limit", "3", "x-ratelimit-remaining", step.remaining, "x-ratelimit-reset", fmt.Sprint(1_700_000_000+step.reset),
			"ratelimit-policy", `"default";q=3;w=5`, "ratelimit", `"default";r=`+step.remaining+";t="+step.time)
		var got pagi.Headers
		for _, h := range res.Headers {
			if strings.Contains(h.Name, "ratelimit") {
				got = append(got, h)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" || res.Status != step.status || res.Header("retry-after") != step.retry || res.Err != nil {
			t.Errorf("step %d: %d, retry %q, %v %s", i, res.Status, res.Header("retry-after"), res.Err, diff)
		}
	}
}

func TestRateLimitKeys(t *testing.T) {
	auth := func(name string) pagitest.Option {
		return pagitest.Edit(func(s *pagi.Scope) { *s = *s.With(pagi.AuthKey, pagi.Auth{Type: "basic", Username: name}) })
	}
	with := func(opts ...pagitest.Option) []pagitest.Option { return opts }
	for name, c := range map[string]struct {
		m             middleware.RateLimit
		first, second []pagitest.Option
		paths         [2]string
		shared        bool
	}{
		"an address":                    {middleware.RateLimit{}, with(from("10.0.0.1")), with(from("10.0.0.1")), [2]string{}, true},
		"two addresses":                 {middleware.RateLimit{}, with(from("10.0.0.1")), with(from("10.0.0.2")), [2]string{}, false},
		"an address in IPv6 form":       {middleware.RateLimit{}, with(from("10.0.0.1")), with(from("::ffff:10.0.0.1")), [2]string{}, true},
		"a network of IPv6":             {middleware.RateLimit{}, with(from("2001:db8::1")), with(from("2001:db8::ffff:2")), [2]string{}, true},
		"two networks of IPv6":          {middleware.RateLimit{}, with(from("2001:db8::1")), with(from("2001:db8:0:1::1")), [2]string{}, false},
		"a larger network":              {middleware.RateLimit{IPv6Prefix: 48}, with(from("2001:db8::1")), with(from("2001:db8:0:1::1")), [2]string{}, true},
		"an address with a zone":        {middleware.RateLimit{}, with(from("fe80::1%a")), with(from("fe80::1%b")), [2]string{}, true},
		"Unix sockets":                  {middleware.RateLimit{}, with(from("")), with(from("")), [2]string{}, true},
		"other paths of an address":     {middleware.RateLimit{}, with(from("a")), with(from("a")), [2]string{"/x", "/y"}, true},
		"a path":                        {middleware.RateLimit{Key: []string{"path"}}, with(from("a")), with(from("b")), [2]string{"/x", "/x?q"}, true},
		"two paths":                     {middleware.RateLimit{Key: []string{"path"}}, with(from("a")), with(from("a")), [2]string{"/x", "/y"}, false},
		"a user at two addresses":       {middleware.RateLimit{Key: []string{"user"}}, with(from("a"), auth("ann")), with(from("b"), auth("ann")), [2]string{}, true},
		"two users at an address":       {middleware.RateLimit{Key: []string{"user"}}, with(from("a"), auth("ann")), with(from("a"), auth("bob")), [2]string{}, false},
		"a client that is no user":      {middleware.RateLimit{Key: []string{"user"}}, with(from("a")), with(from("a")), [2]string{}, true},
		"a user called like an address": {middleware.RateLimit{Key: []string{"user"}}, with(from("10.0.0.1")), with(from("10.0.0.2"), auth("10.0.0.1")), [2]string{}, false},
		"a header":                      {middleware.RateLimit{Key: []string{"header X-Api-Key"}}, with(from("a"), pagitest.Header("x-api-key", "1")), with(from("b"), pagitest.Header("x-api-key", "1")), [2]string{}, true},
		"two values of a header":        {middleware.RateLimit{Key: []string{"header X-Api-Key"}}, with(from("a"), pagitest.Header("x-api-key", "1")), with(from("a"), pagitest.Header("x-api-key", "2")), [2]string{}, false},
		"an address and two paths":      {middleware.RateLimit{Key: []string{"address", "path"}}, with(from("a")), with(from("a")), [2]string{"/x", "/y"}, false},
		"an address and a path":         {middleware.RateLimit{Key: []string{"address", "path"}}, with(from("a")), with(from("a")), [2]string{"/x", "/x"}, true},
		"two long values":               {middleware.RateLimit{Key: []string{"header x"}}, with(pagitest.Header("x", strings.Repeat("a", 500)+"1")), with(pagitest.Header("x", strings.Repeat("a", 500)+"2")), [2]string{}, false},
		"a long value":                  {middleware.RateLimit{Key: []string{"header x"}}, with(pagitest.Header("x", strings.Repeat("a", 500))), with(pagitest.Header("x", strings.Repeat("a", 500))), [2]string{}, true},
		"a function":                    {middleware.RateLimit{KeyFunc: func(s *pagi.Scope) string { return s.QueryString }}, with(from("a")), with(from("b")), [2]string{"/?k=1", "/x?k=1"}, true},
		"a function without a key":      {middleware.RateLimit{KeyFunc: func(*pagi.Scope) string { return "" }}, nil, nil, [2]string{}, false},
		"a method that is not limited":  {middleware.RateLimit{Methods: []string{"POST"}}, nil, nil, [2]string{}, false},
		"a method that is":              {middleware.RateLimit{Methods: []string{"POST", "GET"}}, nil, nil, [2]string{}, true},
		"a method in lower case":        {middleware.RateLimit{Methods: []string{"get"}}, nil, nil, [2]string{}, true},
		"a path that is not limited":    {middleware.RateLimit{Paths: []string{"/api"}}, nil, nil, [2]string{"/x", "/x"}, false},
		"a path below a limited one":    {middleware.RateLimit{Paths: []string{"/api"}}, nil, nil, [2]string{"/api/x", "//api"}, true},
		"an excluded path":              {middleware.RateLimit{Exclude: []string{"/static/"}}, nil, nil, [2]string{"/static/x", "/static/x"}, false},
		"a path that looks excluded":    {middleware.RateLimit{Exclude: []string{"/static/"}}, nil, nil, [2]string{"/static/../x", "/static/../x"}, true},
	} {
		c.m.Requests, c.m.Period, c.m.Burst = 1, time.Hour, 1
		client := pagitest.New(c.m.Wrap(hello))
		path := func(i int) string {
			if c.paths[i] == "" {
				return "/"
			}
			return c.paths[i]
		}
		if res := client.Get(path(0), c.first...); res.Status != 200 {
			t.Errorf("%s: the first request: %d %v", name, res.Status, res.Err)
		}
		if res := client.Get(path(1), c.second...); (res.Status == 429) != c.shared {
			t.Errorf("%s: the second request: %d %v", name, res.Status, res.Err)
		}
	}
}

func TestRateLimitHeaders(t *testing.T) {
	for value, want := range map[string][2]bool{"both": {true, true}, "x": {true, false}, "draft": {false, true}, "off": {}} {
		c := pagitest.New(middleware.RateLimit{Headers: value, Burst: 1, Period: time.Hour, Name: "api"}.Wrap(hello))
		for _, status := range []int{200, 429} {
			res := c.Get("/")
			if got := [2]bool{res.Headers.Has("x-ratelimit-limit"), strings.HasPrefix(res.Header("ratelimit"), `"api";r=0;`)}; got != want || res.Status != status || (status == 429) != res.Headers.Has("retry-after") {
				t.Errorf("%s: %d %v", value, res.Status, res.Headers)
			}
		}
	}
	inner := middleware.RateLimit{Burst: 5, Name: "inner"}.Wrap(hello)
	res := pagitest.New(middleware.RateLimit{Burst: 9, Name: "outer"}.Wrap(inner)).Get("/")
	if got := res.Headers.Joined("ratelimit-policy"); got != `"inner";q=5;w=1, "outer";q=9;w=1` || res.Headers.Joined("x-ratelimit-limit") != "5" {
		t.Errorf("two limits: %v", res.Headers)
	}
}

func TestRateLimitInOtherScopes(t *testing.T) {
	m := middleware.RateLimit{Burst: 1, Period: time.Hour}
	c := pagitest.New(m.Wrap(answering(pagi.SSEStart{}, pagi.SSESend{Data: "x"}, pagi.SSEClose{})))
	for _, status := range []int{200, 429} {
		if res := c.Events("/").Finish(); res.Status != status || res.Header("x-ratelimit-remaining") != "0" {
			t.Errorf("an event stream: %d %v", res.Status, res.Headers)
		}
	}
	m.Methods = []string{"GET"} // a handshake is one
	c = pagitest.New(m.Wrap(answering(pagi.WebSocketAccept{}, pagi.WebSocketClose{})))
	for _, accepted := range []bool{true, false} {
		ws := c.WebSocket("/")
		if ws.Accepted != accepted || !accepted && ws.Response.Status != 429 {
			t.Errorf("a WebSocket: accepted %v, %+v", ws.Accepted, ws.Response)
		}
		if err := ws.Finish(); err != nil {
			t.Error(err)
		}
	}
}

// serveFrom calls app for a request from an address, and returns the status.
func serveFrom(t testing.TB, app pagi.App, host string) (status int) {
	send := func(_ context.Context, ev pagi.Event) error {
		if start, is := ev.(pagi.HTTPResponseStart); is {
			status = start.Status
		}
		return nil
	}
	if err := app.Serve(t.Context(), &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Path: "/", Client: pagi.Addr{Host: host}}, nil, send); err != nil {
		t.Error(err)
	}
	return status
}

func TestRateLimitUnderAFloodOfKeys(t *testing.T) {
	for _, keys := range []int{10, 2000} {
		c := newClock()
		app := middleware.RateLimit{Requests: 1, Period: time.Second, Burst: 20, MaxKeys: keys, Now: c.Now}.Wrap(hello)
		for range 20 {
			if got := serveFrom(t, app, "192.0.2.1"); got != 200 {
				t.Fatalf("the burst: %d", got)
			}
		}
		for i := range 5 * keys {
			serveFrom(t, app, fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
			if i%keys == 0 {
				if got := serveFrom(t, app, "192.0.2.1"); got != 429 {
					t.Errorf("%d keys: after %d other keys the client begins anew: %d", keys, i+1, got)
				}
			}
		}
	}
}

func TestRateLimitForManyAtOnce(t *testing.T) {
	c := newClock()
	app := middleware.RateLimit{Burst: 50, Now: c.Now}.Wrap(hello)
	var passed atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 40 {
				if serveFrom(t, app, "192.0.2.1") == 200 {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if passed.Load() != 50 {
		t.Errorf("%d requests have passed", passed.Load())
	}
}

// neverMore checks that no window of time has more than burst + rate * time of the requests at times.
func neverMore(t *testing.T, times []time.Duration, requests int, period time.Duration, burst int) {
	t.Helper()
	for i := range times {
		for j := i; j < len(times); j++ {
			if n, most := j-i+1, float64(burst)+float64(requests)*float64(times[j]-times[i])/float64(period); float64(n) > most+1e-9 {
				t.Fatalf("%d requests in %v; %.3f are allowed", n, times[j]-times[i], most)
			}
		}
	}
}

func FuzzRateLimit(f *testing.F) {
	f.Add(uint64(1), uint8(10), uint16(1000), uint8(20))
	f.Add(uint64(2), uint8(3), uint16(1), uint8(1))
	f.Add(uint64(3), uint8(7), uint16(60000), uint8(2))
	f.Fuzz(func(t *testing.T, seed uint64, requests uint8, millis uint16, burst uint8) {
		if requests == 0 || millis == 0 || burst == 0 {
			return
		}
		r := rand.New(rand.NewPCG(seed, 0))
		c := newClock()
		period := time.Duration(millis) * time.Millisecond
		app := middleware.RateLimit{Requests: int(requests), Period: period, Burst: int(burst), MaxKeys: 4, Now: c.Now}.Wrap(hello)
		var passed []time.Duration
		start, tried := c.Now(), 0
		for range 300 {
			c.pass(time.Duration(r.Int64N(int64(period)/int64(requests) + 1)))
			if r.IntN(20) == 0 {
				c.pass(time.Duration(r.Int64N(int64(period) * 3)))
			}
			for range r.IntN(4) {
				serveFrom(t, app, fmt.Sprint("10.0.0.", r.IntN(3))) // other clients
			}
			for range 1 + r.IntN(2) {
				tried++
				if serveFrom(t, app, "192.0.2.1") == 200 {
					passed = append(passed, c.Now().Sub(start))
				}
			}
		}
		neverMore(t, passed, int(requests), period, int(burst))
		if len(passed) < min(int(burst), tried) {
			t.Errorf("only %d requests have passed", len(passed))
		}
	})
}

func TestRateLimitInRedis(t *testing.T) {
	server := testkit.StartRedis(t)
	url := server.URL
	m := middleware.RateLimit{Requests: 20, Burst: 5, Store: "redis", URL: url, Prefix: "test:"}
	one, other := pagitest.Start(t, m.Wrap(hello)), pagitest.Start(t, m.Wrap(hello))
	var passed []time.Duration
	start := time.Now()
	refused := 0
	for i := 0; time.Since(start) < 400*time.Millisecond; i++ {
		res := []*pagitest.Client{one, other}[i%2].Get("/")
		switch res.Status {
		case 200:
			passed = append(passed, time.Since(start))
		case 429:
			refused++
			if res.Header("retry-after") != "1" || res.Header("x-ratelimit-remaining") != "0" {
				t.Errorf("%v", res.Headers)
			}
		default:
			t.Fatalf("%d %v", res.Status, res.Err)
		}
	}
	if n := len(passed); refused == 0 || n < 5 || n > 5+20*int(time.Since(start).Milliseconds())/1000+1 {
		t.Errorf("%d have passed, %d were refused in %v", n, refused, time.Since(start))
	}
	if res := one.Get("/", from("192.0.2.7")); res.Header("ratelimit") != `"default";r=4;t=1` {
		t.Errorf("another client: %v", res.Headers)
	}
	server.Stop()
	var log bytes.Buffer
	for onError, status := range map[string]int{"allow": 200, "deny": 503} {
		m := m
		m.OnError, m.Logger = onError, slog.New(slog.NewTextHandler(&log, nil))
		c := pagitest.Start(t, m.Wrap(hello))
		for range 3 {
			if res := c.Get("/"); res.Status != status {
				t.Errorf("%s: %d %v", onError, res.Status, res.Err)
			}
		}
	}
	if n := strings.Count(log.String(), "the store of a rate limit fails"); n != 2 {
		t.Errorf("%d warnings:\n%s", n, log.String())
	}
}

// counted is a store of a program's own.
type counted struct {
	keys   []string
	events []string
	policy middleware.RateLimitPolicy
	err    error
}

func (c *counted) Take(_ context.Context, key string, policy middleware.RateLimitPolicy, n int) (middleware.RateLimitResult, error) {
	c.keys, c.policy = append(c.keys, key), policy
	return middleware.RateLimitResult{Allowed: len(c.keys) < 2, RetryAfter: 90 * time.Minute}, c.err
}

func (c *counted) Open(context.Context) error {
	c.events = append(c.events, "open")
	return nil
}

func (c *counted) Close(context.Context) error {
	c.events = append(c.events, "close")
	return nil
}

func TestRateLimitWithAStoreOfItsOwn(t *testing.T) {
	store := &counted{}
	err := pagitest.Run(t.Context(), middleware.RateLimit{Requests: 3, Backend: store}.Wrap(hello), func(c *pagitest.Client) error {
		c.Get("/", from("192.0.2.1")).Expect(t, 200)
		if res := c.Get("/", from("192.0.2.1")); res.Status != 429 || res.Header("retry-after") != "5400" {
			t.Errorf("%d %v", res.Status, res.Headers)
		}
		return nil
	})
	if diff := cmp.Diff([]string{"192.0.2.1", "192.0.2.1"}, store.keys); diff != "" || err != nil || strings.Join(store.events, " ") != "open close" {
		t.Errorf("%v, %v %s", store.events, err, diff)
	}
	if store.policy != (middleware.RateLimitPolicy{Burst: 20, Interval: 333333334}) {
		t.Errorf("%+v", store.policy)
	}
	store.err = errors.New("broken")
	res := pagitest.New(middleware.RateLimit{Backend: store, OnError: "deny", Logger: slog.New(slog.DiscardHandler)}.Wrap(hello)).Get("/")
	if res.Status != 503 || !errors.Is(res.Err, store.err) {
		t.Errorf("%d %v", res.Status, res.Err)
	}
}

func TestRateLimitOptions(t *testing.T) {
	checks(t, map[string]pagi.Middleware{
		`requests: must be more than 0`:                          middleware.RateLimit{Requests: -1},
		`period: must be more than 0`:                            middleware.RateLimit{Period: -1},
		`burst: must be more than 0`:                             middleware.RateLimit{Burst: -1},
		`max_keys: must be more than 0`:                          middleware.RateLimit{MaxKeys: -1},
		`requests: cannot be more than one a nanosecond`:         middleware.RateLimit{Requests: 11, Period: 10},
		`burst: an empty bucket would need more than ten years`:  middleware.RateLimit{Requests: 1, Period: 24 * time.Hour, Burst: 1 << 30},
		`key: "ip" is not address, user, path`:                   middleware.RateLimit{Key: []string{"ip"}},
		`key: "header" is not`:                                   middleware.RateLimit{Key: []string{"header"}},
		`key: "header a b" is not`:                               middleware.RateLimit{Key: []string{"header a b"}},
		`ipv6_prefix: must be 1 to 128, is 129`:                  middleware.RateLimit{IPv6Prefix: 129},
		`paths: "x" must begin with a slash`:                     middleware.RateLimit{Paths: []string{"x"}},
		`exclude: "x" must begin with a slash`:                   middleware.RateLimit{Exclude: []string{"x"}},
		`methods: "a b" is not a method`:                         middleware.RateLimit{Methods: []string{"a b"}},
		`headers: must be both, x, draft or off, is "on"`:        middleware.RateLimit{Headers: "on"},
		`store: must be memory or redis, is "or"`:                middleware.RateLimit{Store: "or"},
		`on_error: must be allow or deny, is "x"`:                middleware.RateLimit{OnError: "x"},
		`name: "a\nb" has characters`:                            middleware.RateLimit{Name: "a\nb"},
		`max_keys: it belongs to the store memory, not to redis`: middleware.RateLimit{Store: "redis", URL: "redis://x", MaxKeys: 1},
		`url: it belongs to the store redis, not to memory`:      middleware.RateLimit{URL: "redis://x"},
		`prefix: it belongs to the store redis, not to memory`:   middleware.RateLimit{Prefix: "x"},
		`url: is no URL of Redis`:                                middleware.RateLimit{Store: "redis"},
	})
}
