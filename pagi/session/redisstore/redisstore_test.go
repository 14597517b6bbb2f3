package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/session"
	"github.com/pagi-go/pagi-bridge/pagi/session/internal/storetest"
	"github.com/pagi-go/pagi-bridge/pagi/session/redisstore"
)

func open(t *testing.T, store *redisstore.Store) *redisstore.Store {
	t.Helper()
	if err := store.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return store
}

func TestRedis(t *testing.T) {
	for name, corrupt := range map[string]func(c *redis.Client, key string) error{
		"another type": func(c *redis.Client, key string) error { return c.Set(t.Context(), key, "garbage", 0).Err() },
		"no version":   func(c *redis.Client, key string) error { return c.HDel(t.Context(), key, "version").Err() },
		"no time":      func(c *redis.Client, key string) error { return c.HSet(t.Context(), key, "used", "yesterday").Err() },
		"no JSON":      func(c *redis.Client, key string) error { return c.HSet(t.Context(), key, "data", "{").Err() },
	} {
		t.Run("corrupt: "+name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storetest.Suite {
				server := testkit.SharedRedis(t)
				return storetest.Suite{
					Store: open(t, &redisstore.Store{URL: server.URL}),
					Now:   time.Now,
					// Redis has its own clock, which a test cannot set.
					Advance: func(d time.Duration) { <-time.After(d) },
					Corrupt: func(t *testing.T, id string) {
						if err := corrupt(clientOf(t, server), key(id)); err != nil {
							t.Fatal(err)
						}
					},
				}
			})
		})
		if testing.Short() {
			break
		}
	}
}

func TestAClientOfTheCallersStaysOpen(t *testing.T) {
	client := clientOf(t, testkit.SharedRedis(t))
	store := &redisstore.Store{Client: client, Prefix: "mine:"}
	if err := store.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	id := strings.Repeat("a", 32)
	if _, err := store.Save(t.Context(), &session.Record{ID: id}); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := client.Exists(t.Context(), "mine:"+id).Result(); err != nil || n != 1 {
		t.Errorf("%d keys, error %v", n, err)
	}
}

func TestRedisRemovesASessionAtItsDeadline(t *testing.T) {
	server := testkit.SharedRedis(t)
	store, client := open(t, &redisstore.Store{URL: server.URL}), clientOf(t, server)
	rec := &session.Record{ID: strings.Repeat("a", 32), Deadline: time.Now().Add(time.Hour)}
	within := func(low, high time.Duration) {
		t.Helper()
		ttl, err := client.PTTL(t.Context(), key(rec.ID)).Result()
		if err != nil || ttl <= low || ttl > high {
			t.Errorf("time to live %v, error %v", ttl, err)
		}
	}
	if _, err := store.Save(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	within(59*time.Minute, time.Hour)
	rec.Deadline = rec.Deadline.Add(time.Hour)
	if _, err := store.Touch(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	within(119*time.Minute, 2*time.Hour)
}

func TestConcurrentRequestsAreMerged(t *testing.T) {
	server := testkit.SharedRedis(t)
	const requests = 50
	app := session.Manager{Store: &redisstore.Store{URL: server.URL}}.Wrap(setter)
	err := pagitest.Run(t.Context(), app, func(first *pagitest.Client) error {
		if res := first.Get("/begin"); res.Err != nil {
			return res.Err
		}
		cookie := pagitest.Header("cookie", "pagi_session="+first.Cookie("pagi_session"))
		var wg sync.WaitGroup
		for n := range requests {
			wg.Go(func() {
				if res := pagitest.New(app).Get(fmt.Sprint("/", n), cookie); res.Err != nil {
					t.Error(res.Err)
				}
			})
		}
		wg.Wait()
		if got := first.Get("/").Text(); got != fmt.Sprint(requests+1) {
			t.Errorf("%s keys", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAServerThatHasGone(t *testing.T) {
	server := testkit.StartRedis(t)
	app := session.Manager{Store: &redisstore.Store{URL: server.URL}}.Wrap(setter)
	err := pagitest.Run(t.Context(), app, func(client *pagitest.Client) error {
		if res := client.Get("/begin"); res.Err != nil {
			return res.Err
		}
		server.Stop()
		var status *pagi.StatusError
		if res := client.Get("/a"); res.Status != 503 || !errors.As(res.Err, &status) {
			t.Errorf("status %d, error %v", res.Status, res.Err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := pagitest.New(app).Startup(t.Context()); err == nil {
		t.Error("a site starts without its Redis")
	}
}

func TestARequestWithoutLifespanFails(t *testing.T) {
	client := pagitest.New(session.Manager{Store: &redisstore.Store{URL: "unix:///nowhere"}}.Wrap(setter))
	client.SetCookie("pagi_session", strings.Repeat("a", 32))
	if res := client.Get("/a"); res.Status != 503 || !errors.Is(res.Err, redisstore.ErrNotOpen) {
		t.Errorf("status %d, error %v", res.Status, res.Err)
	}
}

func TestWrongOptions(t *testing.T) {
	var option *pagi.OptionError
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	for name, store := range map[string]*redisstore.Store{
		"none":        {},
		"both":        {URL: "redis://localhost", Client: client},
		"no such URL": {URL: "http://localhost"},
		"no database": {URL: "redis://ann:secret@localhost/x"},
		"no port":     {URL: "redis://ann:secret@localhost:x/1"},
		"no host":     {URL: "redis://ann:secret@[::/1"},
	} {
		if err := store.Check(); !errors.As(err, &option) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
		if err := store.Open(t.Context()); !errors.As(err, &option) {
			t.Errorf("%s: open: %v", name, err)
		}
	}
}
