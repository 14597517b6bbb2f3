package session_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/session"
)

// twice runs write in one request and read in the next one, both with all stores' way at rest: in
// memory and in a cookie.
func twice(t *testing.T, write, read func(t *testing.T, c *call) error) {
	t.Helper()
	app := pages{
		"/write": func(c *call) (string, error) { return "", write(t, c) },
		"/read":  func(c *call) (string, error) { return "", read(t, c) },
	}
	for _, f := range []*fixture{newFixture(app), cookieFixture(app, false), cookieFixture(app, true)} {
		f.get(t, "/write")
		f.get(t, "/read")
	}
}

type user struct {
	Name string
	Age  int
}

func TestValues(t *testing.T) {
	set := func(t *testing.T, c *call) error {
		return errors.Join(c.Set("text", "ü"), c.Set("number", 7), c.Set("big", int64(math.MaxInt64)), c.Set("null", nil),
			c.Set("user", user{"ann", 30}), c.Set("list", []string{"a", "b"}))
	}
	check := func(t *testing.T, c *call) error {
		for key, want := range map[string]any{
			"text": "ü", "number": 7.0, "null": nil, "user": map[string]any{"Name": "ann", "Age": 30.0}, "list": []any{"a", "b"},
		} {
			got, err := c.Get(key)
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%s: %v %s", key, err, diff)
			}
		}
		if n, err := session.Value[int64](c.Session, "big"); n != math.MaxInt64 || err != nil {
			t.Errorf("big number %d, error %v", n, err)
		}
		if u, err := session.Value[user](c.Session, "user"); u != (user{"ann", 30}) || err != nil {
			t.Errorf("user %v, error %v", u, err)
		}
		if p, err := session.Value[*user](c.Session, "null"); p != nil || err != nil {
			t.Errorf("null as a pointer: %v, %v", p, err)
		}
		if diff := cmp.Diff([]string{"big", "list", "null", "number", "text", "user"}, c.Keys()); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(map[string]any{"text": "ü", "null": nil}, c.Slice("text", "missing", "null")); diff != "" {
			t.Error(diff)
		}
		if !c.Has("null") || c.Has("missing") || c.GetOr("missing", 1) != 1 || c.GetOr("null", 1) != nil || c.GetOr("text", "") != "ü" {
			t.Error("has or get-or")
		}
		return nil
	}
	both := func(t *testing.T, c *call) error { return errors.Join(set(t, c), check(t, c)) }
	twice(t, both, check)
}

func TestStrictGet(t *testing.T) {
	twice(t, func(t *testing.T, c *call) error { return errors.Join(c.Set("text", "a"), c.Set("null", nil)) },
		func(t *testing.T, c *call) error {
			of := func(_ any, err error) error { return err }
			asInt := func(key string) error { _, err := session.Value[int](c.Session, key); return err }
			for _, q := range []struct {
				name    string
				err     error
				missing bool
				text    string
			}{
				{"a missing key", of(c.Get("usr")), true, `session: there is no value under "usr"`},
				{"a missing key of a type", asInt("usr"), true, `"usr"`},
				{"a reserved key", of(c.Get("_flash.x")), true, `"_flash.x"`},
				{"a text as a number", asInt("text"), false, `key "text"`},
				{"null as a number", asInt("null"), false, "null is no int"},
			} {
				var e *session.KeyError
				if !errors.As(q.err, &e) || e.Missing != q.missing || !strings.Contains(e.Error(), q.text) {
					t.Errorf("%s: %v", q.name, q.err)
				}
			}
			return nil
		})
}

func TestValuesThatMayBeMissing(t *testing.T) {
	twice(t, func(t *testing.T, c *call) error {
		return errors.Join(c.Set("n", 7), c.Set("text", "a"), c.Flash("note", "x"))
	},
		func(t *testing.T, c *call) error {
			for key, want := range map[string]int{"n": 7, "other": 3} {
				if n, err := session.ValueOr(c.Session, key, 3); n != want || err != nil {
					t.Errorf("%s: %d, %v", key, n, err)
				}
			}
			var e *session.KeyError
			if _, err := session.ValueOr(c.Session, "text", 3); !errors.As(err, &e) || e.Missing {
				t.Errorf("a text as a number: %v", err)
			}
			for _, want := range []string{"x", "none"} {
				if note, err := session.TakeFlashOr(c.Session, "note", "none"); note != want || err != nil {
					t.Errorf("note %q, want %q, %v", note, want, err)
				}
			}
			return nil
		})
}

func TestDeleteAndClear(t *testing.T) {
	fill := func(t *testing.T, c *call) error {
		return errors.Join(c.Set("a", 1), c.Set("b", 2), c.Set("c", 3), c.Flash("note", "x"))
	}
	keys := func(want string) func(t *testing.T, c *call) error {
		return func(t *testing.T, c *call) error {
			if got := strings.Join(c.Keys(), " "); got != want {
				t.Errorf("keys %q, want %q", got, want)
			}
			return nil
		}
	}
	for _, q := range []struct {
		name   string
		change func(c *call) error
		want   string
	}{
		{"one key", func(c *call) error { return c.Delete("a") }, "b c"},
		{"several, of which one is missing", func(c *call) error { return c.Delete("a", "x", "c") }, "b"},
		{"none", func(c *call) error { return c.Delete() }, "a b c"},
		{"all", func(c *call) error { return c.Clear() }, ""},
		{"all, and one set anew", func(c *call) error { return errors.Join(c.Clear(), c.Set("b", 4)) }, "b"},
		{"one set anew", func(c *call) error { return errors.Join(c.Delete("b"), c.Set("b", 4)) }, "a b c"},
	} {
		t.Run(q.name, func(t *testing.T) {
			var id string
			f := newFixture(pages{
				"/fill": func(c *call) (string, error) { id = c.ID(); return "", fill(t, c) },
				"/change": func(c *call) (string, error) {
					return "", errors.Join(q.change(c), keys(q.want)(t, c))
				},
				"/read": func(c *call) (string, error) {
					if c.ID() != id {
						t.Error("the id has changed")
					}
					_, err := session.TakeFlash[string](c.Session, "note")
					if (err != nil) != strings.HasPrefix(q.name, "all") {
						t.Errorf("flash: %v", err)
					}
					return "", keys(q.want)(t, c)
				},
			})
			f.get(t, "/fill")
			f.get(t, "/change")
			f.get(t, "/read")
		})
	}
}

func TestFlash(t *testing.T) {
	var got []string
	f := newFixture(pages{
		"/set": func(c *call) (string, error) { return "", errors.Join(c.Flash("note", "saved"), c.Set("note", "mine")) },
		"/take": func(c *call) (string, error) {
			note, err := session.TakeFlash[string](c.Session, "note")
			got = append(got, fmt.Sprint(note, err != nil))
			return fmt.Sprint(c.Keys()), nil
		},
	})
	f.get(t, "/set")
	if keys := f.get(t, "/take"); keys != "[note]" {
		t.Errorf("keys %s", keys)
	}
	f.get(t, "/take")
	if diff := cmp.Diff([]string{"savedfalse", "true"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestSetRefuses(t *testing.T) {
	f := newFixture(pages{"/": func(c *call) (string, error) {
		var key *session.KeyError
		for name, err := range map[string]error{
			"a reserved key":              c.Set("_id", 1),
			"a function":                  c.Set("a", func() {}),
			"a number that JSON has not":  c.Set("a", math.NaN()),
			"a function as a flash value": c.Flash("a", func() {}),
		} {
			if !errors.As(err, &key) || key.Missing || key.Err == nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		var size *session.SizeError
		if err := c.Set("a", strings.Repeat("x", session.DefaultMaxSize)); !errors.As(err, &size) || size.Limit != session.DefaultMaxSize {
			t.Errorf("a large value: %v", err)
		}
		if err := c.Set("half", strings.Repeat("x", session.DefaultMaxSize/2)); err != nil {
			t.Error(err)
		}
		if err := c.Set("other half", strings.Repeat("x", session.DefaultMaxSize/2)); !errors.As(err, &size) {
			t.Errorf("two halves: %v", err)
		}
		// A value that is set again counts once.
		if err := c.Set("half", strings.Repeat("y", session.DefaultMaxSize/2)); err != nil {
			t.Errorf("the same half again: %v", err)
		}
		return "", nil
	}})
	f.get(t, "/")
}

func TestMetadata(t *testing.T) {
	f := newFixture(pages{
		"/new": func(c *call) (string, error) {
			if !c.IsNew() || !c.Created().IsZero() || !c.LastUsed().IsZero() || !session.ValidID(c.ID()) {
				t.Errorf("new %v, created %v, used %v, id %q", c.IsNew(), c.Created(), c.LastUsed(), c.ID())
			}
			return c.ID(), c.Set("a", 1)
		},
		"/old": func(c *call) (string, error) {
			if c.IsNew() || !c.Created().Equal(epoch) {
				t.Errorf("new %v, created %v", c.IsNew(), c.Created())
			}
			return c.LastUsed().Sub(epoch).String(), nil
		},
	})
	id := f.get(t, "/new")
	if f.Cookie("pagi_session") != id {
		t.Errorf("id %q, cookie %q", id, f.Cookie("pagi_session"))
	}
	for _, want := range []string{"0s", "30m0s", "1h0m0s"} {
		f.clock.Advance(30 * time.Minute)
		if got := f.get(t, "/old"); got != want {
			t.Errorf("used after %s, want %s", got, want)
		}
	}
}

// Goroutines of one request may share its session.
func TestASessionIsSafeForConcurrentUse(t *testing.T) {
	f := newFixture(pages{
		"/": func(c *call) (string, error) {
			var wg sync.WaitGroup
			for n := range 20 {
				wg.Go(func() {
					key := fmt.Sprint("k", n)
					if err := errors.Join(c.Set(key, n), c.Flash(key, n), c.Delete("none")); err != nil {
						t.Error(err)
					}
					c.Get(key)
					c.Keys()
					c.ID()
					c.Slice("k1")
					if _, err := session.TakeFlash[int](c.Session, key); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			return "", nil
		},
		"/keys": func(c *call) (string, error) { return fmt.Sprint(len(c.Keys())), nil },
	})
	f.SetCookie("pagi_session", strings.Repeat("a", 32))
	f.get(t, "/")
	if got := f.get(t, "/keys"); got != "20" {
		t.Errorf("%s keys", got)
	}
}

func TestFromScopeWithoutAManager(t *testing.T) {
	if s, ok := session.FromScope(&pagi.Scope{Type: pagi.TypeHTTP}); ok || s != nil {
		t.Errorf("%v %v", s, ok)
	}
}

func FuzzValidID(f *testing.F) {
	for _, seed := range []string{"", strings.Repeat("a", 31), strings.Repeat("a", 32), strings.Repeat("a", 33), strings.Repeat("-_", 16), strings.Repeat("é", 16), strings.Repeat("a", 31) + "\n", strings.Repeat("=", 32)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if !session.ValidID(id) {
			return
		}
		raw, err := json.Marshal(id)
		if err != nil || len(raw) != 34 {
			t.Errorf("%q is accepted as an id", id)
		}
	})
}
