package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/session"
)

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
