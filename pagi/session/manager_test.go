package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/session"
)

func TestValuesAreKeptBetweenRequests(t *testing.T) {
	f := newFixture(basics())
	res := f.Get("/login")
	if got := cookies(res); res.Err != nil || len(got) != 1 || !strings.HasSuffix(got[0], "; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax") {
		t.Errorf("cookies %q, error %v", got, res.Err)
	}
	if got := f.get(t, "/user"); got != "ann" {
		t.Errorf("user %q", got)
	}
	other := pagitest.New(f.App)
	if got := other.Get("/user").Text(); got != "nobody" {
		t.Errorf("another client is %q", got)
	}
}

func TestARequestThatDoesNotTouchItsSessionCostsNothing(t *testing.T) {
	f := newFixture(basics())
	f.get(t, "/login")
	f.store.calls()
	f.clock.Advance(idleTouch * 2)
	res := f.Get("/plain")
	if got := cookies(res); len(got) != 0 {
		t.Errorf("cookies %q", got)
	}
	if got := f.store.calls(); got != [4]int32{} {
		t.Errorf("the store was asked: %v", got)
	}
}

func TestANewSessionWithoutValuesIsNotStored(t *testing.T) {
	f := newFixture(basics())
	res := f.Get("/user")
	if got := cookies(res); len(got) != 0 {
		t.Errorf("cookies %q", got)
	}
	if got := f.store.calls(); got != [4]int32{} {
		t.Errorf("the store was asked: %v", got)
	}
}

func TestReadingSendsNoCookie(t *testing.T) {
	f := newFixture(basics())
	f.get(t, "/login")
	if got := cookies(f.Get("/user")); len(got) != 0 {
		t.Errorf("cookies %q", got)
	}
	// Nor does changing, because the id stays the same.
	f.get(t, "/count")
	if got := cookies(f.Get("/count")); len(got) != 0 {
		t.Errorf("cookies %q", got)
	}
}

func TestSettingTheSameValueSavesNothing(t *testing.T) {
	f := newFixture(pages{"/": func(c *call) (string, error) { return "", c.Set("a", []int{1, 2}) }})
	f.get(t, "/")
	f.store.calls()
	f.get(t, "/")
	if got := f.store.calls(); got != [4]int32{1, 0, 0, 0} {
		t.Errorf("calls %v", got)
	}
}

func TestRegenerateAndAMutationGiveOneCookie(t *testing.T) {
	for name, handler := range map[string]func(c *call) error{
		"regenerate, then set": func(c *call) error { return errors.Join(c.Regenerate(), c.Set("b", 2)) },
		"set, then regenerate": func(c *call) error { return errors.Join(c.Set("b", 2), c.Regenerate()) },
		"regenerate twice":     func(c *call) error { return errors.Join(c.Regenerate(), c.Set("b", 2), c.Regenerate()) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(pages{
				"/set":  func(c *call) (string, error) { return c.ID(), c.Set("a", 1) },
				"/edit": func(c *call) (string, error) { err := handler(c); return c.ID(), err },
				"/get":  func(c *call) (string, error) { return fmt.Sprint(c.ID(), c.Slice("a", "b", "c")), nil },
			})
			before := f.get(t, "/set")
			res := f.Get("/edit")
			after := res.Text()
			if got := cookies(res); len(got) != 1 || !strings.HasPrefix(got[0], "pagi_session="+after+";") {
				t.Errorf("cookies %q for id %q", got, after)
			}
			if before == after {
				t.Error("the id is the same")
			}
			if got := f.get(t, "/get"); got != after+"map[a:1 b:2]" {
				t.Errorf("session %s", got)
			}
			if _, err := f.store.Load(t.Context(), before); !errors.Is(err, session.ErrNotFound) {
				t.Errorf("the old id: %v", err)
			}
		})
	}
}

func TestRegenerateOfANewSession(t *testing.T) {
	f := newFixture(basics())
	if got := cookies(f.Get("/login")); len(got) != 1 {
		t.Errorf("cookies %q", got)
	}
	if got := f.store.calls(); got != [4]int32{0, 1, 0, 0} {
		t.Errorf("calls %v", got)
	}
}

func TestAnUnknownIDIsNeverAdopted(t *testing.T) {
	for name, token := range map[string]string{
		"well formed":     strings.Repeat("a", 32),
		"too short":       "abc",
		"too long":        strings.Repeat("a", 4000),
		"other alphabet":  strings.Repeat("+", 32),
		"a path":          "../../../../../../../../etc/passw",
		"quoted":          `"` + strings.Repeat("a", 30) + `"`,
		"control letters": strings.Repeat("\x01", 32),
		"empty":           "",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(basics())
			res := f.Get("/login", pagitest.Header("cookie", "pagi_session="+token))
			got := cookies(res)
			if len(got) != 1 || strings.HasPrefix(got[0], "pagi_session="+token+";") {
				t.Errorf("cookies %q", got)
			}
			if calls := f.store.calls(); name != "well formed" && calls[0] != 0 {
				t.Error("the store was asked for it")
			}
		})
	}
}

func TestDestroy(t *testing.T) {
	f := newFixture(basics())
	f.get(t, "/login")
	id := f.Cookie("pagi_session")
	res := f.Get("/logout")
	want := []string{"pagi_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"}
	if diff := cmp.Diff(want, cookies(res)); diff != "" {
		t.Error(diff)
	}
	if f.Cookie("pagi_session") != "" {
		t.Error("the client has kept its cookie")
	}
	if _, err := f.store.Load(t.Context(), id); !errors.Is(err, session.ErrNotFound) {
		t.Error(err)
	}
	f.SetCookie("pagi_session", id)
	if got := f.get(t, "/user"); got != "nobody" {
		t.Errorf("user %q", got)
	}
}

func TestADestroyedSessionTakesNoValues(t *testing.T) {
	f := newFixture(pages{
		"/set": func(c *call) (string, error) { return "", c.Set("a", 1) },
		"/": func(c *call) (string, error) {
			if err := errors.Join(c.Set("b", 1), c.Destroy(), c.Destroy()); err != nil {
				return "", err
			}
			for name, err := range map[string]error{
				"set": c.Set("a", 1), "flash": c.Flash("a", 1), "delete": c.Delete("a"), "clear": c.Clear(), "regenerate": c.Regenerate(),
			} {
				if !errors.Is(err, session.ErrDestroyed) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if c.Has("a") || c.Has("b") || len(c.Keys()) != 0 || c.ID() != "" {
				t.Error("it has values or an id")
			}
			return "", nil
		},
	})
	f.get(t, "/set")
	f.get(t, "/")
}

func TestDestroyHasItsEffectIfTheApplicationFails(t *testing.T) {
	app := basics()
	app["/"] = func(c *call) (string, error) { return "", errors.Join(c.Destroy(), errors.New("no page")) }
	f := newFixture(app)
	f.get(t, "/login")
	if res := f.Get("/"); res.Status != 500 {
		t.Errorf("status %d", res.Status)
	}
	if got := f.get(t, "/user"); got != "nobody" {
		t.Errorf("user %q", got)
	}
}

func TestChangesOfAFailedRequestAreDropped(t *testing.T) {
	app := basics()
	app["/"] = func(c *call) (string, error) { return "", errors.Join(c.Set("user", "eve"), errors.New("no page")) }
	f := newFixture(app)
	f.get(t, "/login")
	f.Get("/")
	if got := f.get(t, "/user"); got != "ann" {
		t.Errorf("user %q", got)
	}
}

func TestExpiry(t *testing.T) {
	for _, c := range []struct {
		name         string
		expire, idle time.Duration
		steps        []time.Duration
		want         string
	}{
		{"used within the idle time", 0, 0, []time.Duration{59 * time.Minute, 59 * time.Minute, 59 * time.Minute}, "ann"},
		{"idle for too long", 0, 0, []time.Duration{time.Hour}, "nobody"},
		{"idle for too long after a use", 0, 0, []time.Duration{30 * time.Minute, time.Hour}, "nobody"},
		{"used all the time, but too old", time.Hour, 0, []time.Duration{40 * time.Minute, 20 * time.Minute}, "nobody"},
		{"no idle limit", 0, -1, []time.Duration{23 * time.Hour}, "ann"},
		{"no idle limit, but too old", 0, -1, []time.Duration{23 * time.Hour, time.Hour}, "nobody"},
		{"no limit", -1, -1, []time.Duration{100000 * time.Hour}, "ann"},
		{"no absolute limit", -1, 2 * time.Hour, []time.Duration{119 * time.Minute, 119 * time.Minute}, "ann"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(basics(), func(m *session.Manager) { m.Expire, m.Idle = c.expire, c.idle })
			f.get(t, "/login")
			got := ""
			for _, step := range c.steps {
				f.clock.Advance(step)
				got = f.get(t, "/user")
			}
			if got != c.want {
				t.Errorf("user %q, want %q", got, c.want)
			}
		})
	}
}

// A store that does not drop what has expired is no reason to accept it.
func TestTheManagerEnforcesExpiry(t *testing.T) {
	for _, limit := range []string{"idle", "absolute"} {
		m := session.Manager{Store: &session.Memory{Now: func() time.Time { return epoch }}}
		now := epoch
		m.Now = func() time.Time { return now }
		client := pagitest.New(m.Wrap(basics()))
		client.Get("/login")
		now = now.Add(30 * time.Minute)
		if got := client.Get("/user").Text(); got != "ann" {
			t.Fatalf("user %q", got)
		}
		// A shorter limit than that of the time when the session was stored counts as well.
		if limit == "idle" {
			m.Idle = 20 * time.Minute
			now = now.Add(20 * time.Minute)
		} else {
			m.Expire = 40 * time.Minute
			now = now.Add(10 * time.Minute)
		}
		client.App = m.Wrap(basics())
		if got := client.Get("/user").Text(); got != "nobody" {
			t.Errorf("%s: user %q", limit, got)
		}
	}
}

func TestATouchSlidesTheIdleTimeWithoutASave(t *testing.T) {
	f := newFixture(basics())
	f.get(t, "/login")
	f.store.calls()
	for range 4 {
		f.clock.Advance(50 * time.Minute)
		if got := f.get(t, "/user"); got != "ann" {
			t.Fatalf("user %q", got)
		}
	}
	if got := f.store.calls(); got != [4]int32{4, 0, 4, 0} {
		t.Errorf("calls %v", got)
	}
	f.clock.Advance(idleTouch - time.Second)
	f.get(t, "/user")
	if got := f.store.calls(); got != [4]int32{1, 0, 0, 0} {
		t.Errorf("a use soon after another was noted: %v", got)
	}
}

func TestRegenerateBeginsTheAbsoluteTimeAnew(t *testing.T) {
	f := newFixture(basics(), func(m *session.Manager) { m.Expire, m.Idle = time.Hour, -1 })
	f.get(t, "/login")
	f.clock.Advance(50 * time.Minute)
	f.get(t, "/login")
	f.clock.Advance(50 * time.Minute)
	if got := f.get(t, "/user"); got != "ann" {
		t.Errorf("user %q", got)
	}
}

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

func TestAFailingStoreFailsTheRequest(t *testing.T) {
	down := errors.New("the store is down")
	for _, c := range []struct {
		method, path string
		err          error
		status       int
	}{
		{"load", "/user", down, 503},
		{"load", "/count", down, 503},
		{"load", "/user", fmt.Errorf("bytes: %w", session.ErrCorrupt), 500},
		{"save", "/count", down, 503},
		{"save", "/login", down, 503},
		{"delete", "/login", down, 503},
		{"delete", "/logout", down, 503},
		{"touch", "/user", down, 503},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			f := newFixture(basics())
			f.get(t, "/login")
			before := f.Cookie("pagi_session")
			f.clock.Advance(30 * time.Minute)
			f.store.fail = map[string]error{c.method: c.err}
			res := f.Get(c.path)
			if res.Status != c.status || !errors.Is(res.Err, c.err) {
				t.Errorf("status %d, error %v", res.Status, res.Err)
			}
			if len(cookies(res)) != 0 || f.Cookie("pagi_session") != before {
				t.Errorf("cookies %q", cookies(res))
			}
			f.store.fail = nil
			if got := f.get(t, "/user"); got != "ann" {
				t.Errorf("afterwards the user is %q", got)
			}
		})
	}
}

// mixedUp is a store that returns a session of another id.
type mixedUp struct{ session.Memory }

func (m *mixedUp) Load(context.Context, string) (*session.Record, error) { return record(), nil }

func TestAStoreThatMixesUpSessions(t *testing.T) {
	f := newFixture(basics(), func(m *session.Manager) { m.Store = &mixedUp{} })
	f.SetCookie("pagi_session", strings.Repeat("b", 32))
	if res := f.Get("/user"); res.Status != 500 || !errors.Is(res.Err, session.ErrCorrupt) {
		t.Errorf("status %d, error %v", res.Status, res.Err)
	}
}

// An application that does not look at errors cannot answer on the ground of an empty session.
func TestAFailureThatTheApplicationIgnores(t *testing.T) {
	f := newFixture(pages{"/": func(c *call) (string, error) {
		if c.Has("user") || c.ID() != "" || len(c.Keys()) != 0 {
			t.Error("it is not empty")
		}
		_ = c.start()
		_ = c.body("welcome")
		return "", errSent
	}})
	f.SetCookie("pagi_session", strings.Repeat("a", 32))
	f.store.fail = map[string]error{"load": errors.New("down")}
	res := f.Get("/")
	var status *pagi.StatusError
	if res.Status != 503 || !errors.As(res.Err, &status) || len(res.Events) != 0 {
		t.Errorf("status %d, error %v, events %v", res.Status, res.Err, res.Events)
	}
}

// The same holds for a session that is first used in the middle of the response.
func TestAFailureAfterTheStart(t *testing.T) {
	f := newFixture(pages{"/": func(c *call) (string, error) {
		if err := c.start(); err != nil {
			return "", err
		}
		return "", errors.Join(c.body(c.GetOr("user", "nobody").(string)), errSent)
	}})
	f.SetCookie("pagi_session", strings.Repeat("a", 32))
	down := errors.New("down")
	f.store.fail = map[string]error{"load": down}
	if res := f.Get("/"); len(res.Events) != 1 || !errors.Is(res.Err, down) {
		t.Errorf("error %v, events %v", res.Err, res.Events)
	}
}

func TestChangesAfterTheStart(t *testing.T) {
	app := basics()
	app["/late"] = func(c *call) (string, error) {
		if err := errors.Join(c.start(), c.Set("user", "bob")); err != nil {
			return "", err
		}
		if err := c.Regenerate(); !errors.Is(err, session.ErrTooLate) {
			t.Errorf("regenerate: %v", err)
		}
		return "", errors.Join(c.body("x"), errSent)
	}
	app["/late"] = late(app["/late"])
	app["/lateLogout"] = late(func(c *call) (string, error) { return "", errors.Join(c.start(), c.Destroy(), c.body("x")) })
	app["/first"] = late(func(c *call) (string, error) {
		err := c.start()
		if err := c.Set("user", "bob"); !errors.Is(err, session.ErrTooLate) {
			t.Errorf("set in a new session: %v", err)
		}
		return "", errors.Join(err, c.body("x"))
	})
	f := newFixture(app)
	f.get(t, "/first")
	f.get(t, "/login")
	f.get(t, "/late")
	if got := f.get(t, "/user"); got != "bob" {
		t.Errorf("user %q", got)
	}
	f.get(t, "/lateLogout")
	if got := f.get(t, "/user"); got != "nobody" {
		t.Errorf("user %q", got)
	}
}

// late makes a page of a handler that sends its response itself.
func late(f func(c *call) (string, error)) func(c *call) (string, error) {
	return func(c *call) (string, error) {
		if _, err := f(c); err != nil && !errors.Is(err, errSent) {
			return "", err
		}
		return "", errSent
	}
}

func TestAStoreThatFailsAtTheEndIsToldByServe(t *testing.T) {
	app := basics()
	app["/late"] = late(func(c *call) (string, error) {
		return "", errors.Join(c.start(), c.Set("user", "bob"), c.body("x"))
	})
	f := newFixture(app)
	f.get(t, "/login")
	down := errors.New("down")
	f.store.fail = map[string]error{"save": down}
	if res := f.Get("/late"); res.Status != 200 || !errors.Is(res.Err, down) {
		t.Errorf("status %d, error %v", res.Status, res.Err)
	}
}

func TestAChangeAfterTheApplicationHasReturnedIsRefused(t *testing.T) {
	var kept *session.Session
	app := basics()
	app["/keep"] = func(c *call) (string, error) { kept = c.Session; return "", c.Load() }
	f := newFixture(app)
	f.get(t, "/login")
	f.get(t, "/keep")
	for name, err := range map[string]error{"set": kept.Set("user", "bob"), "regenerate": kept.Regenerate(), "clear": kept.Clear()} {
		if !errors.Is(err, session.ErrTooLate) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if kept.GetOr("user", "nobody") != "ann" {
		t.Error("it cannot be read")
	}
}

// A client that leaves does not keep the session from being saved.
func TestChangesAreSavedAfterTheClientHasLeft(t *testing.T) {
	app := basics()
	ended := make(chan struct{})
	app["/late"] = late(func(c *call) (string, error) {
		err := errors.Join(c.start(), c.Set("user", "bob"))
		<-c.ctx.Done()
		close(ended)
		return "", err
	})
	f := newFixture(app)
	f.get(t, "/login")
	f.store.hook = map[string]func(){}
	x := f.Begin("GET", "/late")
	x.Next()
	x.Disconnect(pagi.ReasonClientClosed)
	x.Finish()
	<-ended
	if got := f.get(t, "/user"); got != "bob" {
		t.Errorf("user %q", got)
	}
}

// A start that the server refuses does not use up the session's cookie.
func TestASecondStartAfterARefusedOne(t *testing.T) {
	f := newFixture(pages{"/": late(func(c *call) (string, error) {
		if err := c.Set("a", 1); err != nil {
			return "", err
		}
		if err := c.send(c.ctx, pagi.HTTPResponseStart{Status: 20}); err == nil {
			t.Error("status 20 was accepted")
		}
		return "", errors.Join(c.start(), c.body("x"))
	})})
	if got := cookies(f.Get("/")); len(got) != 1 {
		t.Errorf("cookies %q", got)
	}
}

func TestAManagerBelowAnotherDoesNothing(t *testing.T) {
	inner := &counted{Store: &session.Memory{}}
	f := newFixture(nil)
	f.App = f.manager.Wrap(session.Manager{Store: inner}.Wrap(basics()))
	if got := cookies(f.Get("/login")); len(got) != 1 {
		t.Errorf("cookies %q", got)
	}
	if got := inner.calls(); got != [4]int32{} {
		t.Errorf("calls %v", got)
	}
}

// opened is a store that is opened and closed.
type opened struct {
	session.Memory
	events  []string
	openErr error
}

func (o *opened) Open(context.Context) error  { o.events = append(o.events, "open"); return o.openErr }
func (o *opened) Close(context.Context) error { o.events = append(o.events, "close"); return nil }

func TestTheStoreIsOpenedAndClosed(t *testing.T) {
	store := &opened{}
	m := session.Manager{Store: store}
	err := pagitest.Run(t.Context(), m.Wrap(basics()), func(c *pagitest.Client) error {
		store.events = append(store.events, c.Get("/plain").Text())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"open", "plain", "close"}, store.events); diff != "" {
		t.Error(diff)
	}
	store.openErr = errors.New("no such directory")
	err = pagitest.New(m.Wrap(basics())).Startup(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no such directory") {
		t.Error(err)
	}
}

func TestLifespanGoesThrough(t *testing.T) {
	var seen string
	app := session.Manager{}.Wrap(pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		seen += scope.Type
		if _, ok := session.FromScope(scope); ok {
			t.Error("a session in a lifespan scope")
		}
		return pagi.Unsupported(scope)
	}))
	if err := pagitest.New(app).Startup(t.Context()); err != nil || seen != "lifespan" {
		t.Errorf("%q %v", seen, err)
	}
}

func TestWrongOptions(t *testing.T) {
	good := session.Key{ID: "k", Secret: make([]byte, 32)}
	for _, c := range []struct {
		name string
		m    session.Manager
		want string
	}{
		{"a negative size", session.Manager{MaxSize: -1}, "max_size"},
		{"a bearer state and a cookie store", session.Manager{State: session.BearerState{}, Store: &session.CookieStore{Keys: []session.Key{good}}}, "bearer"},
		{"a callback state without a callback", session.Manager{State: session.CallbackState{}}, "extract"},
		{"a header with a space", session.Manager{State: session.HeaderState{Name: "a b"}}, "header name"},
		{"a cookie with a semicolon", session.Manager{State: session.CookieState{Name: "a;b"}}, "name of a cookie"},
		{"a cookie store without a key", session.Manager{Store: &session.CookieStore{}}, "needs a key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var option *pagi.OptionError
			if err := c.m.Check(); !errors.As(err, &option) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v", err)
			}
			client := pagitest.New(c.m.Wrap(basics()))
			if res := client.Get("/plain"); res.Status != 500 || !errors.As(res.Err, &option) {
				t.Errorf("status %d, error %v", res.Status, res.Err)
			}
			if err := client.Startup(t.Context()); err == nil {
				t.Error("it starts")
			}
		})
	}
	if err := (session.Manager{}).Check(); err != nil {
		t.Error(err)
	}
}
