package boltstore_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/session"
	"github.com/pagi-go/pagi-bridge/pagi/session/boltstore"
	"github.com/pagi-go/pagi-bridge/pagi/session/internal/storetest"
)

var epoch = time.UnixMilli(1_800_000_000_000)

func open(t *testing.T, store *boltstore.Store) *boltstore.Store {
	t.Helper()
	if err := store.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return store
}

// edit changes a file while its store is closed.
func edit(t *testing.T, store *boltstore.Store, f func(tx *bbolt.Tx) error) {
	t.Helper()
	if err := store.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(store.Path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(f), db.Close(), store.Open(t.Context())); err != nil {
		t.Fatal(err)
	}
}

func TestBolt(t *testing.T) {
	for _, garbage := range []string{"garbage", "{}", "null", `{"version":"x"}`, ""} {
		t.Run(fmt.Sprintf("corrupt as %q", garbage), func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storetest.Suite {
				clock := storetest.NewClock(epoch)
				store := open(t, &boltstore.Store{Path: filepath.Join(t.TempDir(), "sessions.db"), Now: clock.Now})
				return storetest.Suite{Store: store, Advance: clock.Advance, Now: clock.Now, Corrupt: func(t *testing.T, id string) {
					edit(t, store, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("sessions")).Put([]byte(id), []byte(garbage)) })
				}}
			})
		})
		if testing.Short() {
			break
		}
	}
}

func TestSessionsOutliveTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions.db")
	app := session.Manager{Store: &boltstore.Store{Path: path}}.Wrap(counter)
	cookie := ""
	for want := 1; want <= 3; want++ {
		err := pagitest.Run(t.Context(), app, func(c *pagitest.Client) error {
			c.SetCookie("pagi_session", cookie)
			res := c.Get("/")
			cookie = c.Cookie("pagi_session")
			if got := res.Text(); got != fmt.Sprint(want) {
				t.Errorf("count %q, want %d", got, want)
			}
			return res.Err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
}

// A reload of a site opens the file for the new site before the old one closes it.
func TestTwoStoresOfAProcessShareAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions.db")
	first, second := &boltstore.Store{Path: path}, &boltstore.Store{Path: path, Timeout: 10 * time.Millisecond}
	open(t, first)
	open(t, second)
	rec := &session.Record{ID: strings.Repeat("a", 32)}
	if _, err := first.Save(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Load(t.Context(), rec.ID); err != nil {
		t.Error(err)
	}
	if _, err := first.Load(t.Context(), rec.ID); !errors.Is(err, boltstore.ErrNotOpen) {
		t.Errorf("the closed store: %v", err)
	}
}

func TestAFileThatCannotBeOpened(t *testing.T) {
	dir := t.TempDir()
	held, err := bbolt.Open(filepath.Join(dir, "held.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := os.WriteFile(filepath.Join(dir, "text.db"), []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"no path":               "",
		"no such directory":     filepath.Join(dir, "missing", "a.db"),
		"a directory":           dir,
		"another kind of file":  filepath.Join(dir, "text.db"),
		"one that is held open": filepath.Join(dir, "held.db"),
	} {
		store := &boltstore.Store{Path: path, Timeout: 10 * time.Millisecond}
		if err := store.Open(t.Context()); err == nil {
			t.Errorf("%s: it was opened", name)
		}
		if err := pagitest.New(session.Manager{Store: store}.Wrap(counter)).Startup(t.Context()); err == nil {
			t.Errorf("%s: the site starts", name)
		}
	}
}

func TestARequestWithoutLifespanFails(t *testing.T) {
	client := pagitest.New(session.Manager{Store: &boltstore.Store{Path: filepath.Join(t.TempDir(), "a.db")}}.Wrap(counter))
	if res := client.Get("/"); res.Status != 503 || !errors.Is(res.Err, boltstore.ErrNotOpen) {
		t.Errorf("status %d, error %v", res.Status, res.Err)
	}
}

func TestASaveRemovesExpiredSessions(t *testing.T) {
	clock := storetest.NewClock(epoch)
	store := open(t, &boltstore.Store{Path: filepath.Join(t.TempDir(), "sessions.db"), Now: clock.Now})
	save := func(n int) {
		t.Helper()
		rec := &session.Record{ID: fmt.Sprintf("%032d", n), Deadline: clock.Now().Add(time.Minute), Data: map[string]json.RawMessage{"a": json.RawMessage("1")}}
		if _, err := store.Save(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 15 {
		save(n)
	}
	// A touch moves a session's deadline.
	if _, err := store.Touch(t.Context(), &session.Record{ID: fmt.Sprintf("%032d", 7), Deadline: clock.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	clock.Advance(2 * time.Minute)
	save(100)
	save(101)
	edit(t, store, func(tx *bbolt.Tx) error {
		for _, bucket := range []string{"sessions", "times", "deadlines"} {
			if n := tx.Bucket([]byte(bucket)).Stats().KeyN; n != 3 {
				t.Errorf("%s: %d entries, want 3", bucket, n)
			}
		}
		return nil
	})
}

func TestWrongOptions(t *testing.T) {
	var option *pagi.OptionError
	for _, store := range []*boltstore.Store{{}, {Path: "x", Timeout: -1}} {
		if err := store.Check(); !errors.As(err, &option) {
			t.Errorf("%v: %v", store.Path, err)
		}
	}
}
