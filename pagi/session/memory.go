package session

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// DefaultMaxSessions is how many sessions a Memory keeps unless Memory.Max is set.
const DefaultMaxSessions = 100_000

// Memory is a Store in the memory of this process. It is lost when the process ends, and other
// processes do not see it. The zero Memory is ready for use. A Memory must not be copied.
//
// A full Memory drops the session that has not been used for the longest time. Expired sessions are
// dropped while others are saved, so a Memory needs no goroutine.
type Memory struct {
	// Max is the number of sessions; 0 means DefaultMaxSessions.
	Max int
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	mu       sync.Mutex
	sessions map[string]*list.Element // of *Record
	byUse    list.List                // the last one has not been used for the longest time
}

var _ Store = (*Memory)(nil)

// Len returns the number of sessions, with expired ones that have not been dropped yet.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.sessions)
}

// Load implements Store.
func (m *Memory) Load(_ context.Context, id string) (*Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, rec := m.find(id)
	if rec == nil {
		return nil, ErrNotFound
	}
	return rec.Clone(), nil
}

// Save implements Store.
func (m *Memory) Save(_ context.Context, rec *Record) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, old := m.find(rec.ID)
	switch {
	case old == nil && rec.Version != 0:
		return "", ErrNotFound
	case old != nil && rec.Version != old.Version:
		return "", ErrConflict
	}
	rec.Version++
	if old != nil {
		e.Value = rec.Clone()
		m.byUse.MoveToFront(e)
		return rec.ID, nil
	}
	m.makeRoom()
	if m.sessions == nil {
		m.sessions = map[string]*list.Element{}
	}
	m.sessions[rec.ID] = m.byUse.PushFront(rec.Clone())
	return rec.ID, nil
}

// Touch implements Store.
func (m *Memory) Touch(_ context.Context, rec *Record) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, old := m.find(rec.ID)
	if old == nil {
		return "", ErrNotFound
	}
	old.Used, old.Deadline = rec.Used, rec.Deadline
	m.byUse.MoveToFront(e)
	return rec.ID, nil
}

// Delete implements Store.
func (m *Memory) Delete(_ context.Context, id string, version uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, old := m.find(id)
	switch {
	case old == nil:
		return ErrNotFound
	case version != 0 && version != old.Version:
		return ErrConflict
	}
	m.drop(e)
	return nil
}

// find returns the session of id, with mu held. One that has expired is dropped.
func (m *Memory) find(id string) (*list.Element, *Record) {
	e := m.sessions[id]
	if e == nil {
		return nil, nil
	}
	if m.expired(e) {
		m.drop(e)
		return nil, nil
	}
	return e, e.Value.(*Record)
}

func (m *Memory) expired(e *list.Element) bool {
	now := time.Now
	if m.Now != nil {
		now = m.Now
	}
	return past(e.Value.(*Record).Deadline, now())
}

func (m *Memory) drop(e *list.Element) {
	delete(m.sessions, e.Value.(*Record).ID)
	m.byUse.Remove(e)
}

// makeRoom drops up to two expired sessions, so that they cannot pile up, and then the session that
// has not been used for the longest time if the store is full. mu is held.
func (m *Memory) makeRoom() {
	for range 2 {
		if e := m.byUse.Back(); e != nil && m.expired(e) {
			m.drop(e)
		}
	}
	limit := m.Max
	if limit <= 0 {
		limit = DefaultMaxSessions
	}
	for m.byUse.Len() >= limit {
		m.drop(m.byUse.Back())
	}
}

// past reports whether deadline, which may be the zero time, is over at now.
func past(deadline, now time.Time) bool { return !deadline.IsZero() && !now.Before(deadline) }
