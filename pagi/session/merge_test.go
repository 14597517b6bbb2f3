package session_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/session"
)

func TestConcurrentRequestsAreMerged(t *testing.T) {
	const requests = 50
	app := pages{
		"/begin": func(c *call) (string, error) { return "", c.Set("begun", true) },
		"/keys":  func(c *call) (string, error) { return fmt.Sprint(len(c.Keys())), nil },
	}
	for n := range requests {
		app[fmt.Sprint("/", n)] = func(c *call) (string, error) {
			key := fmt.Sprint("key", n)
			count := 0
			if c.Has(key) {
				var err error
				if count, err = session.Value[int](c.Session, key); err != nil {
					return "", err
				}
			}
			return "", c.Set(key, count+1)
		}
	}
	f := newFixture(app)
	f.get(t, "/begin")
	cookie := pagitest.Header("cookie", "pagi_session="+f.Cookie("pagi_session"))
	for range 2 {
		var wg sync.WaitGroup
		for n := range requests {
			wg.Go(func() {
				if res := pagitest.New(f.App).Get(fmt.Sprint("/", n), cookie); res.Err != nil || res.Status != 200 {
					t.Errorf("%d: %d %v", n, res.Status, res.Err)
				}
			})
		}
		wg.Wait()
	}
	rec, err := f.store.Load(t.Context(), f.Cookie("pagi_session"))
	if err != nil {
		t.Fatal(err)
	}
	for n := range requests {
		if got := string(rec.Data[fmt.Sprint("key", n)]); got != "2" {
			t.Errorf("key%d is %q, want 2", n, got)
		}
	}
}

// between runs other while handler has loaded its session and not saved it yet.
func between(t *testing.T, handler func(c *call) error, other func(c *call) error) (f *fixture, res *pagitest.Response) {
	t.Helper()
	app := basics()
	app["/other"] = func(c *call) (string, error) { return "", other(c) }
	app["/handler"] = func(c *call) (string, error) {
		if err := handler(c); err != nil {
			return "", err
		}
		cookie, _ := c.scope.Headers.Lookup("cookie")
		if res := pagitest.New(f.App).Get("/other", pagitest.Header("cookie", cookie)); res.Err != nil {
			t.Error(res.Err)
		}
		return "", nil
	}
	app["/dump"] = func(c *call) (string, error) { return fmt.Sprint(c.Slice(c.Keys()...)), nil }
	f = newFixture(app)
	f.get(t, "/login")
	return f, f.Get("/handler")
}

func TestTwoRequestsOfOneSession(t *testing.T) {
	set := func(key string, v any) func(*call) error { return func(c *call) error { return c.Set(key, v) } }
	regenerate := func(c *call) error { return errors.Join(c.Set("a", 1), c.Regenerate()) }
	for _, c := range []struct {
		name           string
		handler, other func(*call) error
		want           string
	}{
		{"different keys are both kept", set("a", 1), set("b", 2), "map[a:1 b:2 user:ann]"},
		{"of the same key the last save counts", set("a", 1), set("a", 2), "map[a:1 user:ann]"},
		{"a deletion and another key", func(c *call) error { return c.Delete("user") }, set("b", 2), "map[b:2]"},
		{"a clear removes what came meanwhile", func(c *call) error { return errors.Join(c.Clear(), c.Set("c", 3)) }, set("b", 2), "map[c:3]"},
		{"a new id keeps what came meanwhile", regenerate, set("b", 2), "map[a:1 b:2 user:ann]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, res := between(t, c.handler, c.other)
			if res.Err != nil {
				t.Fatal(res.Err)
			}
			if got := f.get(t, "/dump"); got != c.want {
				t.Errorf("session %s, want %s", got, c.want)
			}
		})
	}
}

func TestDestroyWinsOverAConcurrentRequest(t *testing.T) {
	destroy := func(c *call) error { return c.Destroy() }
	for name, handler := range map[string]func(*call) error{
		"a change":              func(c *call) error { return c.Set("a", 1) },
		"a new id":              func(c *call) error { return c.Regenerate() },
		"a new id and a change": func(c *call) error { return errors.Join(c.Regenerate(), c.Set("a", 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			f, res := between(t, handler, destroy)
			if res.Status != 200 || !errors.Is(res.Err, session.ErrDestroyed) {
				t.Errorf("status %d, error %v", res.Status, res.Err)
			}
			if got := cookies(res); len(got) != 0 {
				t.Errorf("cookies %q", got)
			}
			if n := f.store.Store.(*session.Memory).Len(); n != 0 {
				t.Errorf("%d sessions are stored", n)
			}
		})
	}
	t.Run("a use", func(t *testing.T) {
		f, res := between(t, func(c *call) error { c.Has("user"); return nil }, destroy)
		if res.Err != nil {
			t.Error(res.Err)
		}
		if n := f.store.Store.(*session.Memory).Len(); n != 0 {
			t.Errorf("%d sessions are stored", n)
		}
	})
}
