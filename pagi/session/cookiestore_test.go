package session_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/session"
)

func key(id string) session.Key {
	return session.Key{ID: id, Secret: []byte(strings.Repeat(id, 32)[:32])}
}

func bothKinds(t *testing.T, run func(t *testing.T, signed bool)) {
	for _, signed := range []bool{false, true} {
		t.Run(map[bool]string{false: "sealed", true: "signed"}[signed], func(t *testing.T) { run(t, signed) })
	}
}

func record() *session.Record {
	return &session.Record{
		ID: strings.Repeat("a", 32), Created: epoch, Used: epoch.Add(time.Minute), Deadline: epoch.Add(time.Hour),
		Data: map[string]json.RawMessage{"user": json.RawMessage(`"ann"`)},
	}
}

func token(t *testing.T, store *session.CookieStore) string {
	t.Helper()
	tok, err := store.Save(t.Context(), record())
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestCookieStoreRoundTrip(t *testing.T) {
	bothKinds(t, func(t *testing.T, signed bool) {
		store := &session.CookieStore{Keys: []session.Key{key("k")}, Signed: signed}
		got, err := store.Load(t.Context(), token(t, store))
		if err != nil {
			t.Fatal(err)
		}
		want := record()
		want.Version = 1
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestKeysAreRotated(t *testing.T) {
	bothKinds(t, func(t *testing.T, signed bool) {
		store := func(ids ...string) *session.CookieStore {
			s := &session.CookieStore{Signed: signed}
			for _, id := range ids {
				s.Keys = append(s.Keys, key(id))
			}
			return s
		}
		first := token(t, store("old"))
		second := token(t, store("new", "old"))
		for _, c := range []struct {
			name, token string
			store       *session.CookieStore
			ok          bool
		}{
			{"the old key opens its token", first, store("old"), true},
			{"the old key opens its token beside the new one", first, store("new", "old"), true},
			{"a removed key opens nothing", first, store("new"), false},
			{"the first key makes the tokens", second, store("new"), true},
			{"the second key makes no tokens", second, store("old"), false},
		} {
			if _, err := c.store.Load(t.Context(), c.token); (err == nil) != c.ok {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		if again := token(t, store("old")); signed != (again == first) {
			t.Error("sealed tokens must have a nonce of their own")
		}
	})
}

func TestATokenIsBoundToItsPlace(t *testing.T) {
	bothKinds(t, func(t *testing.T, signed bool) {
		store := &session.CookieStore{Keys: []session.Key{key("k")}, Signed: signed}
		tok := token(t, store)
		sameSecret := key("k")
		sameSecret.ID = "other"
		for name, other := range map[string]*session.CookieStore{
			"another cookie":                   {Keys: store.Keys, Signed: signed, Name: "admin_session"},
			"the other kind":                   {Keys: store.Keys, Signed: !signed},
			"another secret with the same id":  {Keys: []session.Key{{ID: "k", Secret: make([]byte, 32)}}, Signed: signed},
			"the same secret with another id":  {Keys: []session.Key{sameSecret}, Signed: signed},
			"the same secret, its id replaced": {Keys: []session.Key{sameSecret}, Signed: signed},
		} {
			if strings.HasSuffix(name, "replaced") {
				tok = strings.Replace(tok, ".k.", ".other.", 1)
			}
			if _, err := other.Load(t.Context(), tok); !errors.Is(err, session.ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestEveryChangedByteIsNoticed(t *testing.T) {
	bothKinds(t, func(t *testing.T, signed bool) {
		store := &session.CookieStore{Keys: []session.Key{key("k")}, Signed: signed}
		tok := token(t, store)
		for i := range len(tok) {
			for _, c := range []byte{tok[i] ^ 1, 'A', '.', ' ', '='} {
				if c == tok[i] {
					continue
				}
				changed := tok[:i] + string([]byte{c}) + tok[i+1:]
				if _, err := store.Load(t.Context(), changed); !errors.Is(err, session.ErrNotFound) {
					t.Errorf("byte %d as %q: %v", i, c, err)
				}
			}
			if _, err := store.Load(t.Context(), tok[:i]); !errors.Is(err, session.ErrNotFound) {
				t.Errorf("cut at %d: %v", i, err)
			}
		}
		// The last character has bits that stand for nothing, so others would decode to the same.
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		for _, c := range alphabet {
			changed := tok[:len(tok)-1] + string(c)
			if _, err := store.Load(t.Context(), changed); changed != tok && !errors.Is(err, session.ErrNotFound) {
				t.Errorf("with %q at its end: %v", c, err)
			}
		}
		for _, more := range []string{".", "A", "=", "\n", ".x"} {
			if _, err := store.Load(t.Context(), tok+more); !errors.Is(err, session.ErrNotFound) {
				t.Errorf("with %q: %v", more, err)
			}
		}
	})
}

func TestASealedTokenHidesItsSession(t *testing.T) {
	store := &session.CookieStore{Keys: []session.Key{key("k")}}
	_, sealed, _ := strings.Cut(strings.TrimPrefix(token(t, store), "e1."), ".")
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || strings.Contains(string(raw), "ann") {
		t.Errorf("%q %v", raw, err)
	}
}

func TestWrongKeys(t *testing.T) {
	for _, c := range []struct {
		name string
		keys []session.Key
		want string
	}{
		{"none", nil, "needs a key"},
		{"a short secret", []session.Key{{ID: "k", Secret: make([]byte, 31)}}, "31 bytes"},
		{"no id", []session.Key{{Secret: make([]byte, 32)}}, "no key id"},
		{"an id with a point", []session.Key{{ID: "a.b", Secret: make([]byte, 32)}}, "no key id"},
		{"a long id", []session.Key{{ID: strings.Repeat("k", 33), Secret: make([]byte, 32)}}, "no key id"},
		{"two equal ids", []session.Key{key("k"), key("k")}, "two keys"},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := &session.CookieStore{Keys: c.keys}
			var option *pagi.OptionError
			if err := store.Check(); !errors.As(err, &option) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v", err)
			}
			if _, err := store.Save(t.Context(), record()); !errors.As(err, &option) {
				t.Errorf("save: %v", err)
			}
		})
	}
}

func cookieFixture(app pages, signed bool) *fixture {
	return newFixture(app, func(m *session.Manager) {
		m.Store = &session.CookieStore{Keys: []session.Key{key("k")}, Signed: signed}
	})
}

func TestSessionsInCookies(t *testing.T) {
	bothKinds(t, func(t *testing.T, signed bool) {
		f := cookieFixture(basics(), signed)
		if got := cookies(f.Get("/login")); len(got) != 1 {
			t.Fatalf("cookies %q", got)
		}
		for want := 1; want <= 3; want++ {
			if got := f.get(t, "/count"); got != fmt.Sprint(want) {
				t.Errorf("count %s, want %d", got, want)
			}
		}
		if got := cookies(f.Get("/user")); len(got) != 0 {
			t.Errorf("reading sends %q", got)
		}
		before := f.get(t, "/id")
		f.get(t, "/login")
		if after := f.get(t, "/id"); before == after || len(after) != 32 {
			t.Errorf("id %q, then %q", before, after)
		}
		if got := f.get(t, "/user"); got != "ann" {
			t.Errorf("user %q", got)
		}
		f.get(t, "/logout")
		if got := f.get(t, "/user"); got != "nobody" {
			t.Errorf("user %q", got)
		}
	})
}

func TestTheServerEnforcesTheTimesInACookie(t *testing.T) {
	bothKinds(t, func(t *testing.T, signed bool) {
		f := cookieFixture(basics(), signed)
		f.get(t, "/login")
		old := f.Cookie("pagi_session")
		var sent int
		for range 5 {
			f.clock.Advance(50 * time.Minute)
			res := f.Get("/user")
			sent += len(cookies(res))
			if res.Text() != "ann" {
				t.Fatalf("user %q", res.Text())
			}
		}
		if sent != 5 {
			t.Errorf("%d cookies in 5 requests that slide the idle time", errSent)
		}
		f.ClearCookies()
		f.SetCookie("pagi_session", old)
		if got := f.get(t, "/user"); got != "nobody" {
			t.Errorf("with the first cookie the user is %q", got)
		}
		f.get(t, "/login")
		for range 28 {
			f.clock.Advance(50 * time.Minute)
			f.get(t, "/user")
		}
		f.clock.Advance(50 * time.Minute) // 24 hours and 10 minutes after the login
		if got := f.get(t, "/user"); got != "nobody" {
			t.Errorf("user %q after the absolute time", got)
		}
	})
}

func TestACookieThatIsTooLarge(t *testing.T) {
	bothKinds(t, func(t *testing.T, signed bool) {
		f := cookieFixture(pages{
			"/3000": func(c *call) (string, error) { return "", c.Set("a", strings.Repeat("x", 2500)) },
			"/4000": func(c *call) (string, error) { return "", c.Set("a", strings.Repeat("x", 3500)) },
		}, signed)
		f.get(t, "/3000")
		res := f.Get("/4000")
		var size *session.SizeError
		if res.Status != 500 || !errors.As(res.Err, &size) || size.Limit != 4096 || size.What != "cookie" {
			t.Errorf("status %d, error %v", res.Status, res.Err)
		}
		if len(cookies(res)) != 0 {
			t.Error("there is a cookie")
		}
	})
}

func TestATokenThatIsTooLargeForAHeader(t *testing.T) {
	f := newFixture(pages{"/": func(c *call) (string, error) { return "", c.Set("a", strings.Repeat("x", 5000)) }}, func(m *session.Manager) {
		m.Store, m.State = &session.CookieStore{Keys: []session.Key{key("k")}}, session.HeaderState{}
	})
	var size *session.SizeError
	if res := f.Get("/"); res.Status != 500 || !errors.As(res.Err, &size) {
		t.Errorf("status %d, error %v", res.Status, res.Err)
	}
}

func TestChangesOfACookieAfterTheStart(t *testing.T) {
	app := basics()
	app["/late"] = late(func(c *call) (string, error) {
		err := errors.Join(c.start(), c.Load())
		for name, err := range map[string]error{
			"set": c.Set("user", "bob"), "delete": c.Delete("user"), "clear": c.Clear(), "regenerate": c.Regenerate(), "destroy": c.Destroy(),
		} {
			if !errors.Is(err, session.ErrTooLate) {
				t.Errorf("%s: %v", name, err)
			}
		}
		return "", errors.Join(err, c.body("x"))
	})
	f := cookieFixture(app, false)
	f.get(t, "/login")
	f.clock.Advance(30 * time.Minute)
	f.get(t, "/late")
	if got := f.get(t, "/user"); got != "ann" {
		t.Errorf("user %q", got)
	}
}

func TestTheTokenIsBoundToTheFullNameOfTheCookie(t *testing.T) {
	store := &session.CookieStore{Keys: []session.Key{key("k")}}
	client := pagitest.New(session.Manager{Store: store, State: session.CookieState{HostPrefix: true}}.Wrap(basics()))
	client.Scheme = "https"
	client.Get("/login")
	tok := client.Cookie("__Host-pagi_session")
	for name, ok := range map[string]bool{"__Host-pagi_session": true, "pagi_session": false} {
		bound := &session.CookieStore{Keys: store.Keys, Name: name}
		if _, err := bound.Load(t.Context(), tok); (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzCookieStore looks for a token that is accepted and was not made by the store, and for one
// that does harm.
func FuzzCookieStore(f *testing.F) {
	sealed := &session.CookieStore{Keys: []session.Key{key("k"), key("other")}}
	signed := &session.CookieStore{Keys: sealed.Keys, Signed: true}
	made := map[string]bool{}
	for _, store := range []*session.CookieStore{sealed, signed} {
		tok, err := store.Save(f.Context(), record())
		if err != nil {
			f.Fatal(err)
		}
		made[tok] = true
		f.Add(tok)
		f.Add(tok[:len(tok)-1])
		f.Add(tok + "=")
		f.Add(strings.Replace(tok, ".k.", ".other.", 1))
	}
	for _, seed := range []string{"", ".", "e1.", "s1.", "e1.k.", "s1.k..", "s1.k.e30.", "s1.k.e30.AAAA", "e1.k.AAAAAAAAAAAAAAAA", "s1..e30.", "e1.k.\x00", strings.Repeat("e1.k.", 1000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, tok string) {
		for _, store := range []*session.CookieStore{sealed, signed} {
			rec, err := store.Load(t.Context(), tok)
			switch {
			case err == nil && !made[tok]:
				// The fuzzer may keep tokens of an earlier run, which had another nonce.
				if !session.ValidID(rec.ID) || rec.ID != record().ID {
					t.Errorf("%q is accepted as %+v", tok, rec)
				}
			case err != nil && !errors.Is(err, session.ErrNotFound):
				t.Errorf("%q: %v", tok, err)
			}
		}
	})
}
