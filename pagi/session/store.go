package session

import (
	"context"
	"encoding/json"
	"maps"
	"time"
)

// Record is a session at rest. Its values are JSON, so that programs in other languages can read
// them.
type Record struct {
	// ID is the session's id; see ValidID.
	ID string
	// Version is the store's: it grows by one with each Save. 0 stands for a session that is not
	// stored.
	Version uint64
	// Data is the session's values. Keys that begin with "_" belong to this package.
	Data map[string]json.RawMessage
	// Created is when the session got its id, and Used when it was last used.
	Created, Used time.Time
	// Deadline is when the session expires if it is not used again. A store may drop it then. The zero
	// time stands for never.
	Deadline time.Time
}

// Clone returns a copy whose Data can be changed without the original seeing it.
func (r *Record) Clone() *Record {
	c := *r
	c.Data = maps.Clone(r.Data)
	return &c
}

// Store keeps sessions. Its methods are called concurrently, for the same session also. A store
// neither keeps a Record that it was given, nor changes one that it has returned.
//
// A token is what the client holds: the session's id, or the whole session with a CookieStore.
//
// A store that has something to open implements Opener.
type Store interface {
	// Load returns the session of token. It returns ErrNotFound if there is none, and ErrCorrupt,
	// maybe wrapped, if the data is no session.
	Load(ctx context.Context, token string) (*Record, error)
	// Save stores rec if the stored version is rec.Version, and returns the token. A version of 0
	// means that the store must not have the session yet. Otherwise Save stores nothing and
	// returns ErrConflict, or ErrNotFound if the session has gone. On success rec.Version is the new
	// version.
	Save(ctx context.Context, rec *Record) (token string, err error)
	// Touch stores Used and Deadline of rec and leaves the data and the version alone. It returns
	// the token, or ErrNotFound.
	Touch(ctx context.Context, rec *Record) (token string, err error)
	// Delete removes the session of id if its version is version; 0 means any. It returns
	// ErrConflict for another version, and ErrNotFound if there is no such session.
	Delete(ctx context.Context, id string, version uint64) error
}

// Opener is a Store that is opened before the first request and closed after the last one. A
// Manager calls both in the lifespan scope.
type Opener interface {
	Open(ctx context.Context) error
	Close(ctx context.Context) error
}
