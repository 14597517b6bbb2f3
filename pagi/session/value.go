package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

// Value returns the value under key as a T. It is strict: a missing key is a *KeyError, and so is a
// value that is no T. JSON's null is a T only if T is a pointer, map, slice or interface.
func Value[T any](s *Session, key string) (T, error) {
	raw, err := s.raw(key)
	if err != nil {
		var zero T
		return zero, err
	}
	return decode[T](key, raw)
}

// ValueOr is Value for a key that may be missing: the result is otherwise then. A value that is no T is
// an error all the same.
func ValueOr[T any](s *Session, key string, otherwise T) (T, error) {
	v, err := Value[T](s, key)
	return or(v, err, otherwise)
}

// TakeFlash returns the value that Session.Flash has stored under key, and removes it. A missing
// key is a *KeyError, and so is a value that is no T, which is removed as well.
func TakeFlash[T any](s *Session, key string) (T, error) {
	raw, err := s.takeFlash(key)
	if err != nil {
		var zero T
		return zero, err
	}
	return decode[T](key, raw)
}

// TakeFlashOr is TakeFlash for a value that may be missing: the result is otherwise then.
func TakeFlashOr[T any](s *Session, key string, otherwise T) (T, error) {
	v, err := TakeFlash[T](s, key)
	return or(v, err, otherwise)
}

// or puts otherwise in the place of a value that is missing, which err tells.
func or[T any](v T, err error, otherwise T) (T, error) {
	var e *KeyError
	if errors.As(err, &e) && e.Missing {
		return otherwise, nil
	}
	return v, err
}

func decode[T any](key string, raw json.RawMessage) (T, error) {
	var v, zero T
	if string(raw) == "null" && !nullable(reflect.TypeFor[T]()) {
		return zero, &KeyError{Key: key, Err: fmt.Errorf("null is no %T", zero)}
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return zero, &KeyError{Key: key, Err: err}
	}
	return v, nil
}

func nullable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface:
		return true
	}
	return false
}

// encode returns v as JSON.
func encode(key string, v any) (json.RawMessage, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, &KeyError{Key: key, Err: err}
	}
	return raw, nil
}

var errReserved = errors.New("keys that begin with \"_\" are reserved")
