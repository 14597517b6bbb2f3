package pagi

import "sync"

// Stash holds values that all layers of one request share: what an inner layer stores, an outer one
// finds. Values set by Scope.With travel towards the application only. Keys are compared as in a
// map. An application uses strings; a package that must not clash with others uses a key type of its
// own. The zero Stash is empty and ready for use. All methods are safe for concurrent use. The
// methods of a nil Stash find nothing; Set and Once of a nil Stash panic.
type Stash struct {
	mu     sync.Mutex
	values map[any]any
}

// Get returns the value stored under key; ok is false if there is none.
func (s *Stash) Get(key any) (value any, ok bool) {
	if s == nil {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	value, ok = s.values[key]
	return value, ok
}

// Set stores value under key.
func (s *Stash) Set(key, value any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store(key, value)
}

func (s *Stash) store(key, value any) {
	if s.values == nil {
		s.values = make(map[any]any)
	}
	s.values[key] = value
}

// Once returns the value stored under key. If there is none, it stores and returns the result of
// make. The stash is locked meanwhile: make must not use it.
func (s *Stash) Once(key any, make func() any) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, ok := s.values[key]
	if !ok {
		value = make()
		s.store(key, value)
	}
	return value
}

// Delete removes the value stored under key.
func (s *Stash) Delete(key any) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.values, key)
}

// Keys returns the keys of all values, in no particular order.
func (s *Stash) Keys() []any {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make([]any, 0, len(s.values))
	for key := range s.values {
		keys = append(keys, key)
	}
	return keys
}

// Clear removes all values.
func (s *Stash) Clear() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values = nil
}
