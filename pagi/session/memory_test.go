package session_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi/session"
	"github.com/pagi-go/pagi-bridge/pagi/session/internal/storetest"
)

var epoch = time.UnixMilli(1_800_000_000_000)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Suite {
		clock := storetest.NewClock(epoch)
		return storetest.Suite{Store: &session.Memory{Now: clock.Now}, Advance: clock.Advance, Now: clock.Now}
	})
}

func numbered(n int) string { return strings.Repeat("n", 29) + fmt.Sprintf("%03d", n) }

func TestAFullMemoryDropsTheLeastRecentlyUsed(t *testing.T) {
	store := &session.Memory{Max: 3}
	rec := func(n int) *session.Record {
		return &session.Record{ID: numbered(n), Data: map[string]json.RawMessage{}}
	}
	save := func(n int) {
		t.Helper()
		if _, err := store.Save(t.Context(), rec(n)); err != nil {
			t.Fatal(err)
		}
	}
	save(1)
	save(2)
	save(3)
	if _, err := store.Touch(t.Context(), rec(1)); err != nil {
		t.Fatal(err)
	}
	save(4)
	for n, there := range map[int]bool{1: true, 2: false, 3: true, 4: true} {
		if _, err := store.Load(t.Context(), numbered(n)); (err == nil) != there {
			t.Errorf("session %d: %v", n, err)
		}
	}
	if store.Len() != 3 {
		t.Errorf("%d sessions", store.Len())
	}
}

func TestMemoryDropsExpiredSessionsWhileOthersAreSaved(t *testing.T) {
	clock := storetest.NewClock(epoch)
	store := &session.Memory{Now: clock.Now}
	for n := range 100 {
		if _, err := store.Save(t.Context(), &session.Record{ID: numbered(n), Deadline: clock.Now().Add(time.Minute)}); err != nil {
			t.Fatal(err)
		}
	}
	clock.Advance(time.Hour)
	for n := range 100 {
		if _, err := store.Save(t.Context(), &session.Record{ID: numbered(100 + n), Deadline: clock.Now().Add(time.Minute)}); err != nil {
			t.Fatal(err)
		}
	}
	if store.Len() != 100 {
		t.Errorf("%d sessions are kept, want the 100 that have not expired", store.Len())
	}
	if _, err := store.Load(t.Context(), numbered(0)); !errors.Is(err, session.ErrNotFound) {
		t.Error(err)
	}
}
