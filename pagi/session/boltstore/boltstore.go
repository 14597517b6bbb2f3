// Package boltstore keeps sessions in a file, a go.etcd.io/bbolt database.
//
//	session.Manager{Store: &boltstore.Store{Path: "/var/lib/myapp/sessions.db"}}
//
// Files: boltstore.go the store, layout.go what the file holds, open.go the files that this process
// has open.
package boltstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/session"
)

// DefaultTimeout is how long Open waits for another process unless Store.Timeout is set.
const DefaultTimeout = 5 * time.Second

// ErrNotOpen says that the file is not open. A Manager opens it in the lifespan scope.
var ErrNotOpen = errors.New("boltstore: not open")

// Store keeps sessions in one file. Only one process can have the file open. In that process
// several Stores of the same path share it, so a reload of a site can open it before the former
// site has closed it. A change is on the disk when Save returns. A Store must not be copied.
type Store struct {
	// Path is the file, which Open makes with mode 0600 if it is not there. Its directory must exist.
	Path string
	// Timeout is how long Open waits for another process to close the file; 0 means DefaultTimeout.
	Timeout time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	mu   sync.Mutex
	file *file // nil: not open
}

var (
	_ session.Store  = (*Store)(nil)
	_ session.Opener = (*Store)(nil)
)

// Check reports a missing Path, and a negative Timeout.
func (s *Store) Check() error {
	var errs []error
	if s.Path == "" {
		errs = append(errs, pagi.BadOption("path", "it is missing"))
	}
	if s.Timeout < 0 {
		errs = append(errs, pagi.BadOption("timeout", "%v is less than 0", s.Timeout))
	}
	return errors.Join(errs...)
}

// Open opens the file. Opening an open Store does nothing.
func (s *Store) Open(context.Context) error {
	if err := s.Check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		return nil
	}
	timeout := s.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	f, err := openFile(s.Path, timeout)
	if err != nil {
		return fmt.Errorf("boltstore: %s: %w", s.Path, err)
	}
	s.file = f
	return nil
}

// Close closes the file. Closing a Store that is not open does nothing.
func (s *Store) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.file
	s.file = nil
	if f == nil {
		return nil
	}
	return f.close()
}

// Load implements session.Store.
func (s *Store) Load(_ context.Context, id string) (rec *session.Record, err error) {
	err = s.in((*bbolt.DB).View, func(t tables) error {
		rec, err = t.load(id, s.now())
		return err
	})
	if err != nil {
		return nil, err
	}
	return rec, nil
}

// Save implements session.Store. It also removes a few sessions that have expired.
func (s *Store) Save(_ context.Context, rec *session.Record) (string, error) {
	version := rec.Version + 1
	err := s.in((*bbolt.DB).Update, func(t tables) error {
		if err := t.sweep(s.now()); err != nil {
			return err
		}
		old, err := t.version(rec.ID, s.now())
		switch {
		case errors.Is(err, session.ErrNotFound) && rec.Version == 0:
		case err != nil:
			return err
		case old != rec.Version:
			return session.ErrConflict
		}
		return t.save(rec, version)
	})
	if err != nil {
		return "", err
	}
	rec.Version = version
	return rec.ID, nil
}

// Touch implements session.Store.
func (s *Store) Touch(_ context.Context, rec *session.Record) (string, error) {
	err := s.in((*bbolt.DB).Update, func(t tables) error {
		if _, err := t.version(rec.ID, s.now()); err != nil {
			return err
		}
		return t.setTimes(rec)
	})
	if err != nil {
		return "", err
	}
	return rec.ID, nil
}

// Delete implements session.Store.
func (s *Store) Delete(_ context.Context, id string, version uint64) error {
	return s.in((*bbolt.DB).Update, func(t tables) error {
		old, err := t.version(id, s.now())
		switch {
		case errors.Is(err, session.ErrCorrupt) && version == 0:
		case err != nil:
			return err
		case version != 0 && version != old:
			return session.ErrConflict
		}
		return t.remove(id)
	})
}

func (s *Store) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// in runs f in a transaction. A panic of bbolt, which it raises for a damaged file, is ErrCorrupt.
func (s *Store) in(transaction func(*bbolt.DB, func(*bbolt.Tx) error) error, f func(t tables) error) (err error) {
	s.mu.Lock()
	open := s.file
	s.mu.Unlock()
	if open == nil {
		return ErrNotOpen
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("boltstore: %s: %w: %v", s.Path, session.ErrCorrupt, p)
		}
	}()
	return transaction(open.db, func(tx *bbolt.Tx) error { return f(tablesOf(tx)) })
}
