// Package session keeps values for a client between its requests.
//
//	app = session.Manager{}.Wrap(app)
//
//	s, _ := session.FromScope(scope)
//	user, err := session.Value[string](s, "user")
//	err = s.Set("user", "ann")
//
// A Manager is the middleware. It puts a Session into the scope of each request. A State carries
// the session's token to the client and back: in a cookie, for example. A Store keeps the session
// at rest. The packages boltstore and redisstore below this one have stores in a file and in Redis.
//
// After a login call Session.Regenerate, so that somebody who knew the id before cannot use the
// session of the user. After a logout call Session.Destroy.
//
// Files: session.go what an application reads, change.go what it changes, value.go typed reading,
// manager.go the middleware, flush.go loading, merging and saving, store.go the interface of
// stores, memory.go and cookiestore.go two stores (package internal/seal has the form of the
// latter's cookies), state.go the interface of states, cookie.go and headers.go the states, id.go
// ids, errors.go.
package session

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// flashPrefix is in front of the keys of flash values. Other keys that begin with "_" are reserved.
const flashPrefix = "_flash."

// Session is the session of one scope. It is safe for concurrent use.
//
// The first call of any method loads it from the store; a request that calls none reads nothing.
// If the store fails, the methods with an error result return a *pagi.StatusError. The others then
// act as on an empty session, but nothing of what the application makes of that reaches the client:
// Send and the Manager's Serve return that error.
//
// Values are kept as JSON. Set encodes them, and Get returns what JSON decodes them to: a number is
// a float64. Value decodes into a type of the caller's choice.
type Session struct {
	m        *manager
	ctx      context.Context // of the request
	token    string          // what the client has sent
	readOnly bool

	mu      sync.Mutex
	loaded  bool
	failed  error   // why the session could not be loaded or saved
	rec     *Record // as stored; nil for a new session
	id      string  // of the session, or of the one that it will be saved as
	isNew   bool
	changed map[string]json.RawMessage // not saved yet; nil is a deletion
	cleared bool                       // changed applies to an empty session

	regenerate bool
	destroyed  bool
	lost       bool // changes were dropped because the stored session has gone
	started    bool // the response has begun
	ended      bool // the application has returned
	out        outgoing
}

// FromScope returns the session of scope; ok is false without a Manager above the application.
func FromScope(scope *pagi.Scope) (s *Session, ok bool) {
	s, ok = scope.Value(scopekey.Session).(*Session)
	return s, ok
}

// Load loads the session if no other method has done so yet. An application calls it to learn early
// that the store fails.
func (s *Session) Load() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.load()
}

// Get returns the value under key. A missing key is a *KeyError.
func (s *Session) Get(key string) (any, error) { return Value[any](s, key) }

// GetOr returns the value under key, or otherwise if there is none.
func (s *Session) GetOr(key string, otherwise any) any {
	if v, err := s.Get(key); err == nil {
		return v
	}
	return otherwise
}

// Has reports whether there is a value under key.
func (s *Session) Has(key string) bool {
	_, err := s.raw(key)
	return err == nil
}

// Keys returns the keys of all values, sorted. Flash values are not among them.
func (s *Session) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.load()
	var keys []string
	for key := range s.view() {
		if !reserved(key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// Slice returns the values under those of keys that exist.
func (s *Session) Slice(keys ...string) map[string]any {
	values := map[string]any{}
	for _, key := range keys {
		if v, err := s.Get(key); err == nil {
			values[key] = v
		}
	}
	return values
}

// ID returns the session's id. That of a new session is stored once the session has a value. After
// Regenerate it is the new one. ID is "" after Destroy, and for a client without a session in a
// websocket or sse scope.
func (s *Session) ID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.load() != nil || s.destroyed {
		return ""
	}
	return s.id
}

// IsNew reports whether the client came without a session that is known and has not expired.
func (s *Session) IsNew() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.load()
	return s.isNew
}

// Created returns when the session got its id; the zero time for a session that is not stored yet.
func (s *Session) Created() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.load() != nil || s.rec == nil {
		return time.Time{}
	}
	return s.rec.Created
}

// LastUsed returns when the session was last used, to an accuracy of a 20th part
// of Manager.Idle. It returns the zero time for a session that is not stored yet.
func (s *Session) LastUsed() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.load() != nil || s.rec == nil {
		return time.Time{}
	}
	return s.rec.Used
}

// raw returns the value under key as JSON.
func (s *Session) raw(key string) (json.RawMessage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(); err != nil {
		return nil, err
	}
	if reserved(key) {
		return nil, &KeyError{Key: key, Missing: true}
	}
	return s.lookup(key, key)
}

// lookup returns the value under key with mu held; name goes into the error.
func (s *Session) lookup(key, name string) (json.RawMessage, error) {
	value, changed := s.changed[key]
	if !changed && !s.cleared && s.rec != nil {
		value = s.rec.Data[key]
	}
	if value == nil || s.destroyed {
		return nil, &KeyError{Key: name, Missing: true}
	}
	return value, nil
}

// view returns all values, with mu held.
func (s *Session) view() map[string]json.RawMessage {
	if s.destroyed {
		return nil
	}
	var stored map[string]json.RawMessage
	if s.rec != nil {
		stored = s.rec.Data
	}
	return s.applied(stored)
}

func reserved(key string) bool { return strings.HasPrefix(key, "_") }
