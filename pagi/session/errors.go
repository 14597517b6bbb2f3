package session

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Errors of a Session's methods. Test with errors.Is.
var (
	// ErrReadOnly says that the session of a websocket or sse scope cannot be changed.
	ErrReadOnly = errors.New("session: read-only in a websocket or sse scope")
	// ErrTooLate says that the response has begun, so the client cannot be told of the change, or that
	// the application has returned, so nothing is saved any more.
	ErrTooLate = errors.New("session: too late for a change: the response has begun, or the application has returned")
	// ErrDestroyed says that this request or another one has destroyed the session, or that another
	// one has given it a new id.
	ErrDestroyed = errors.New("session: destroyed")
)

// Errors of a Store. Test with errors.Is.
var (
	// ErrNotFound says that the store has no such session.
	ErrNotFound = errors.New("session: not found")
	// ErrConflict says that the stored version is not the expected one.
	ErrConflict = errors.New("session: changed by another request")
	// ErrCorrupt says that the store holds something under this id that is no session.
	ErrCorrupt = errors.New("session: stored data is corrupt")
)

// KeyError says which key a method could not use.
type KeyError struct {
	Key string
	// Missing says that the session has no value under Key.
	Missing bool
	// Err says what else is wrong; nil if the key is missing.
	Err error
}

func (e *KeyError) Error() string {
	if e.Missing {
		return fmt.Sprintf("session: there is no value under %q", e.Key)
	}
	return fmt.Sprintf("session: key %q: %v", e.Key, e.Err)
}

// Unwrap returns Err.
func (e *KeyError) Unwrap() error { return e.Err }

// SizeError says that a session is larger than its limit.
type SizeError struct {
	// What is "session data" or "cookie".
	What string
	// Size and Limit are in bytes.
	Size, Limit int
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("session: %s of %d bytes exceeds the limit of %d", e.What, e.Size, e.Limit)
}

// failure makes the error with which a request ends whose session cannot be loaded or saved. The
// status is 500 for data that is corrupt or too large, and 503 for a store that fails.
func failure(doing string, err error) error {
	status := http.StatusServiceUnavailable
	var size *SizeError
	if errors.Is(err, ErrCorrupt) || errors.As(err, &size) {
		status = http.StatusInternalServerError
	}
	return &pagi.StatusError{Status: status, Message: http.StatusText(status), Err: fmt.Errorf("session: %s: %w", doing, err)}
}
