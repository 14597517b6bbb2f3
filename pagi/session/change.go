package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
)

// Set stores value under key. The value is encoded as JSON at once, so later changes to what it
// points to have no effect.
//
// Set fails with a *KeyError for a value that JSON cannot encode and for a key that begins with
// "_", with a *SizeError if the session becomes larger than Manager.MaxSize, and with ErrReadOnly,
// ErrTooLate or ErrDestroyed.
func (s *Session) Set(key string, value any) error {
	if reserved(key) {
		return &KeyError{Key: key, Err: errReserved}
	}
	return s.set(key, key, value)
}

// Flash stores value under key until TakeFlash takes it: a message for the next page, for example.
// Flash values have keys of their own, which do not clash with those of Set.
func (s *Session) Flash(key string, value any) error { return s.set(flashPrefix+key, key, value) }

func (s *Session) set(key, name string, value any) error {
	raw, err := encode(name, value)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.changeable(); err != nil {
		return err
	}
	data := s.view()
	if old, ok := data[key]; ok && bytes.Equal(old, raw) {
		return nil
	}
	data[key] = raw
	if size := sizeOf(data); size > s.m.maxSize {
		return &SizeError{What: "session data", Size: size, Limit: s.m.maxSize}
	}
	s.change(key, raw)
	return nil
}

// Delete removes the values under keys. A key without a value is no error.
func (s *Session) Delete(keys ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.changeable(); err != nil {
		return err
	}
	for _, key := range keys {
		if _, err := s.lookup(key, key); err == nil && !reserved(key) {
			s.change(key, nil)
		}
	}
	return nil
}

// Clear removes all values, and the flash values. Values that concurrent requests store are removed
// as well if they are stored before this session is saved. The id stays.
func (s *Session) Clear() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.changeable(); err != nil {
		return err
	}
	if len(s.view()) > 0 {
		s.cleared, s.changed = true, nil
	}
	return nil
}

// Regenerate gives the session a new id and keeps its values. The store forgets the old id. Call it
// after a login, and whenever the rights of the user change. Manager.Expire counts from then on.
//
// The new id is stored with the other changes. If two concurrent requests call Regenerate, the
// first one to be saved counts. The changes of the other one are dropped, as after a Destroy.
func (s *Session) Regenerate() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.changeable(); err != nil {
		return err
	}
	if s.started {
		return ErrTooLate
	}
	s.id = newID()
	s.regenerate = s.rec != nil
	return nil
}

// Destroy deletes the session from the store at once, even if the application fails later. The
// response makes the client forget it. To greet the user after a logout, use Clear and Regenerate
// instead, because a destroyed session takes no more values.
//
// The client keeps the sessions of a CookieStore, so somebody who has copied the cookie can use it
// until it expires.
func (s *Session) Destroy() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readOnly {
		return ErrReadOnly
	}
	if err := s.load(); err != nil {
		return err
	}
	if s.destroyed {
		return nil
	}
	if s.started && s.m.clientSide {
		return ErrTooLate
	}
	if s.rec != nil {
		// A logout must not depend on when the client leaves.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), saveTime)
		defer cancel()
		if err := s.m.store.Delete(ctx, s.rec.ID, 0); err != nil && !errors.Is(err, ErrNotFound) {
			s.failed = failure("delete", err)
			return s.failed
		}
	}
	s.destroyed = true
	s.out = outgoing{clear: s.token != ""}
	return nil
}

func (s *Session) takeFlash(key string) (json.RawMessage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readOnly {
		return nil, ErrReadOnly
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	raw, err := s.lookup(flashPrefix+key, key)
	if err != nil {
		return nil, err
	}
	if err := s.changeable(); err != nil {
		return nil, err
	}
	s.change(flashPrefix+key, nil)
	return raw, nil
}

// changeable loads the session and says why it cannot be changed, with mu held.
func (s *Session) changeable() error {
	if s.readOnly {
		return ErrReadOnly
	}
	if err := s.load(); err != nil {
		return err
	}
	switch {
	case s.destroyed:
		return ErrDestroyed
	case s.ended || s.started && (s.rec == nil || s.m.clientSide):
		return ErrTooLate
	}
	return nil
}

// change notes a change with mu held; a nil value is a deletion.
func (s *Session) change(key string, value json.RawMessage) {
	if s.changed == nil {
		s.changed = map[string]json.RawMessage{}
	}
	s.changed[key] = value
}

// applied returns stored with the changes.
func (s *Session) applied(stored map[string]json.RawMessage) map[string]json.RawMessage {
	data := map[string]json.RawMessage{}
	if !s.cleared {
		maps.Copy(data, stored)
	}
	for key, value := range s.changed {
		if value == nil {
			delete(data, key)
		} else {
			data[key] = value
		}
	}
	return data
}

func sizeOf(data map[string]json.RawMessage) int {
	size := 0
	for key, value := range data {
		size += len(key) + len(value)
	}
	return size
}
