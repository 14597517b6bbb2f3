package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

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

// Without a response the client would never learn of a new id, so nothing is saved. What was stored
// after the start of a response is saved also when the application then panics.
func TestApplicationsThatEndOddly(t *testing.T) {
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		s, _ := session.FromScope(scope)
		start := func() error { return send(ctx, pagi.HTTPResponseStart{Status: 200}) }
		switch scope.Path {
		case "/set":
			if err := errors.Join(s.Set("user", "ann"), start()); err != nil {
				return err
			}
		case "/silent":
			return errors.Join(s.Set("user", "eve"), s.Regenerate())
		case "/panic":
			if err := errors.Join(start(), s.Set("user", "bob")); err != nil {
				return err
			}
			panic("a bug")
		default:
			if err := start(); err != nil {
				return err
			}
			user, err := session.Value[string](s, "user")
			return errors.Join(err, send(ctx, pagi.HTTPResponseBody{Body: []byte(user)}))
		}
		return send(ctx, pagi.HTTPResponseBody{})
	})
	client := pagitest.New((&session.Manager{}).Wrap(app))
	for _, step := range []struct{ path, user string }{{"/set", "ann"}, {"/silent", "ann"}, {"/panic", "bob"}} {
		client.Get(step.path)
		if res := client.Get("/user"); res.Err != nil || res.Text() != step.user {
			t.Errorf("after %s: %q, %v", step.path, res.Text(), res.Err)
		}
	}
}
