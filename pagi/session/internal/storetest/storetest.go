// Package storetest is the suite that every store of sessions on the server passes.
package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi/session"
)

// Clock is a clock that a test sets. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that shows now.
func NewClock(now time.Time) *Clock { return &Clock{now: now} }

// Now returns the time that the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance sets the clock forward.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Suite is a store under test.
type Suite struct {
	Store session.Store
	// Advance lets the time pass for the store.
	Advance func(d time.Duration)
	// Now is the time of the store.
	Now func() time.Time
	// Corrupt replaces what is stored under id by something that is no session; nil: the store
	// cannot hold such a thing.
	Corrupt func(t *testing.T, id string)
}

// id returns the n-th of a few ids.
func id(n int) string { return fmt.Sprintf("%s%02d", strings.Repeat("i", 30), n) }

func (s Suite) record(n int) *session.Record {
	now := s.Now().Truncate(time.Millisecond)
	return &session.Record{
		ID: id(n), Created: now, Used: now, Deadline: now.Add(time.Hour),
		Data: map[string]json.RawMessage{"user": json.RawMessage(`"ann"`), "big": json.RawMessage(`9007199254740993`)},
	}
}

// Run runs the suite; open returns a new, empty store.
func Run(t *testing.T, open func(t *testing.T) Suite) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, s Suite)
	}{
		{"a saved session is loaded as it was", roundTrip},
		{"an unknown id is not found by any method", unknown},
		{"a save of another version is a conflict", versions},
		{"a deleted session does not come back by a save", deleted},
		{"a delete of another version is a conflict", deleteVersion},
		{"a touch changes the times and nothing else", touch},
		{"a session is gone at its deadline", expiry},
		{"a session without a deadline stays", noDeadline},
		{"concurrent saves lose nothing", concurrent},
		{"of concurrent deletes and saves the delete wins", deleteWins},
		{"corrupt data is an error", corrupt},
		{"records are not shared with the caller", notShared},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: %v, want %v", what, err, target)
	}
}

func save(t *testing.T, s Suite, rec *session.Record) {
	t.Helper()
	token, err := s.Store.Save(t.Context(), rec)
	must(t, err)
	if token != rec.ID {
		t.Fatalf("token %q, want the id", token)
	}
}

func roundTrip(t *testing.T, s Suite) {
	rec := s.record(1)
	save(t, s, rec)
	got, err := s.Store.Load(t.Context(), rec.ID)
	must(t, err)
	if diff := cmp.Diff(rec, got); diff != "" {
		t.Error(diff)
	}
	rec.Data = map[string]json.RawMessage{"other": json.RawMessage(`{"a":[1,null,"ü"]}`)}
	rec.Used = rec.Used.Add(time.Minute)
	save(t, s, rec)
	got, err = s.Store.Load(t.Context(), rec.ID)
	must(t, err)
	if diff := cmp.Diff(rec, got); diff != "" {
		t.Error(diff)
	}
	empty := s.record(2)
	empty.Data = nil
	save(t, s, empty)
	got, err = s.Store.Load(t.Context(), empty.ID)
	must(t, err)
	if len(got.Data) != 0 {
		t.Errorf("data of an empty session: %v", got.Data)
	}
}

func unknown(t *testing.T, s Suite) {
	_, err := s.Store.Load(t.Context(), id(1))
	want(t, "load", err, session.ErrNotFound)
	rec := s.record(1)
	rec.Version = 3
	_, err = s.Store.Save(t.Context(), rec)
	want(t, "save", err, session.ErrNotFound)
	_, err = s.Store.Touch(t.Context(), rec)
	want(t, "touch", err, session.ErrNotFound)
	want(t, "delete", s.Store.Delete(t.Context(), id(1), 0), session.ErrNotFound)
	_, err = s.Store.Load(t.Context(), id(1))
	want(t, "load afterwards", err, session.ErrNotFound)
}

func versions(t *testing.T, s Suite) {
	first := s.record(1)
	save(t, s, first)
	if first.Version == 0 {
		t.Error("the version of a stored session is 0")
	}
	_, err := s.Store.Save(t.Context(), s.record(1))
	want(t, "a second creation", err, session.ErrConflict)
	stale := first.Clone()
	save(t, s, first)
	_, err = s.Store.Save(t.Context(), stale)
	want(t, "a save of the former version", err, session.ErrConflict)
	if stale.Version == first.Version {
		t.Error("a failed save changed the version")
	}
}

func deleted(t *testing.T, s Suite) {
	rec := s.record(1)
	save(t, s, rec)
	must(t, s.Store.Delete(t.Context(), rec.ID, 0))
	_, err := s.Store.Save(t.Context(), rec)
	want(t, "save", err, session.ErrNotFound)
	_, err = s.Store.Touch(t.Context(), rec)
	want(t, "touch", err, session.ErrNotFound)
	_, err = s.Store.Load(t.Context(), rec.ID)
	want(t, "load", err, session.ErrNotFound)
}

func deleteVersion(t *testing.T, s Suite) {
	rec := s.record(1)
	save(t, s, rec)
	save(t, s, rec)
	want(t, "delete", s.Store.Delete(t.Context(), rec.ID, rec.Version-1), session.ErrConflict)
	must(t, s.Store.Delete(t.Context(), rec.ID, rec.Version))
	want(t, "a second delete", s.Store.Delete(t.Context(), rec.ID, rec.Version), session.ErrNotFound)
}

func touch(t *testing.T, s Suite) {
	rec := s.record(1)
	save(t, s, rec)
	touched := &session.Record{ID: rec.ID, Used: rec.Used.Add(time.Minute), Deadline: rec.Deadline.Add(time.Minute)}
	token, err := s.Store.Touch(t.Context(), touched)
	must(t, err)
	if token != rec.ID {
		t.Errorf("token %q", token)
	}
	wanted := rec.Clone()
	wanted.Used, wanted.Deadline = touched.Used, touched.Deadline
	got, err := s.Store.Load(t.Context(), rec.ID)
	must(t, err)
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Error(diff)
	}
	save(t, s, rec) // the version is the same
}

func expiry(t *testing.T, s Suite) {
	rec, other := s.record(1), s.record(2)
	rec.Deadline = s.Now().Add(500 * time.Millisecond)
	save(t, s, rec)
	save(t, s, other)
	_, err := s.Store.Load(t.Context(), rec.ID)
	must(t, err)
	s.Advance(501 * time.Millisecond)
	_, err = s.Store.Load(t.Context(), rec.ID)
	want(t, "load", err, session.ErrNotFound)
	_, err = s.Store.Touch(t.Context(), rec)
	want(t, "touch", err, session.ErrNotFound)
	_, err = s.Store.Save(t.Context(), rec)
	want(t, "save", err, session.ErrNotFound)
	_, err = s.Store.Load(t.Context(), other.ID)
	must(t, err)
	again := s.record(1)
	save(t, s, again)
}

func noDeadline(t *testing.T, s Suite) {
	rec := s.record(1)
	save(t, s, rec)
	rec.Deadline = time.Time{}
	_, err := s.Store.Touch(t.Context(), rec)
	must(t, err)
	got, err := s.Store.Load(t.Context(), rec.ID)
	must(t, err)
	if !got.Deadline.IsZero() {
		t.Errorf("deadline %v after a touch", got.Deadline)
	}
	rec.Deadline = s.Now().Add(time.Hour)
	save(t, s, rec)
	rec.Deadline = time.Time{}
	save(t, s, rec)
	got, err = s.Store.Load(t.Context(), rec.ID)
	must(t, err)
	if !got.Deadline.IsZero() {
		t.Errorf("deadline %v after a save", got.Deadline)
	}
}

func concurrent(t *testing.T, s Suite) {
	save(t, s, s.record(1))
	const writers = 20
	var wg sync.WaitGroup
	for n := range writers {
		wg.Go(func() {
			for {
				rec, err := s.Store.Load(t.Context(), id(1))
				if err != nil {
					t.Error(err)
					return
				}
				rec = rec.Clone()
				rec.Data[fmt.Sprint("key", n)] = json.RawMessage("1")
				_, err = s.Store.Save(t.Context(), rec)
				if err == nil {
					return
				}
				if !errors.Is(err, session.ErrConflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	rec, err := s.Store.Load(t.Context(), id(1))
	must(t, err)
	if len(rec.Data) != writers+2 {
		t.Errorf("%d keys, want %d", len(rec.Data), writers+2)
	}
}

func deleteWins(t *testing.T, s Suite) {
	save(t, s, s.record(1))
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for {
				rec, err := s.Store.Load(t.Context(), id(1))
				if err == nil {
					_, err = s.Store.Save(t.Context(), rec)
				}
				if errors.Is(err, session.ErrNotFound) {
					return
				}
				if err != nil && !errors.Is(err, session.ErrConflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	must(t, s.Store.Delete(t.Context(), id(1), 0))
	wg.Wait()
	_, err := s.Store.Load(t.Context(), id(1))
	want(t, "load", err, session.ErrNotFound)
}

func corrupt(t *testing.T, s Suite) {
	if s.Corrupt == nil {
		t.Skip("this store cannot hold corrupt data")
	}
	rec := s.record(1)
	save(t, s, rec)
	s.Corrupt(t, rec.ID)
	_, err := s.Store.Load(t.Context(), rec.ID)
	want(t, "load", err, session.ErrCorrupt)
	must(t, s.Store.Delete(t.Context(), rec.ID, 0))
}

func notShared(t *testing.T, s Suite) {
	rec := s.record(1)
	save(t, s, rec)
	before := maps.Clone(rec.Data)
	rec.Data["mine"] = json.RawMessage("1")
	got, err := s.Store.Load(t.Context(), rec.ID)
	must(t, err)
	if diff := cmp.Diff(before, got.Data); diff != "" {
		t.Error(diff)
	}
	got.Data["yours"] = json.RawMessage("1")
	got, err = s.Store.Load(t.Context(), rec.ID)
	must(t, err)
	if diff := cmp.Diff(before, got.Data); diff != "" {
		t.Error(diff)
	}
}
