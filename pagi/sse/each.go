package sse

import (
	"errors"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Stop ends a loop without ending the stream: the function given to Every or Each returns it, and the
// loop returns nil.
//
//lint:ignore ST1012 it is no error, as fs.SkipDir is none
var Stop = errors.New("sse: stop")

// Every calls f at once and then every interval, until the stream has ended; then it returns nil.
// It does not call f again while f runs: what f takes longer than interval is skipped. If f returns
// an error, the stream ends, the functions given to OnClose run, and Every returns the error; see
// Stop for an exception. It does the same if f panics, and panics again. interval must be more than
// 0.
func (s *Stream) Every(interval time.Duration, f func() error) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	return s.each(func() (bool, error) {
		if err := s.handle(f); err != nil {
			return false, err
		}
		select {
		case <-ticker.C:
		case <-s.Done():
		}
		return true, nil
	})
}

// Each calls f for every item until items is closed or the stream has ended; then it returns nil. It
// begins the stream if that has not begun. If f returns an error, Each does what Every does.
func Each[T any](s *Stream, items <-chan T, f func(T) error) error {
	if err := s.Start(0, nil); err != nil && !errors.Is(err, ErrStarted) {
		return ignoreEnd(err)
	}
	return s.each(func() (bool, error) {
		select {
		case item, ok := <-items:
			if !ok {
				return false, nil
			}
			return true, s.handle(func() error { return f(item) })
		case <-s.Done():
			return true, nil
		}
	})
}

// each calls step until it says no, or fails, or the stream has ended.
func (s *Stream) each(step func() (more bool, err error)) error {
	for {
		for s.Err() == nil && s.life.Err() != nil { // the client has left
			if err := s.notice(); err != nil {
				s.finish(&CloseError{pagi.ReasonServerError})
				return errors.Join(err, s.end.Run())
			}
		}
		if s.Err() != nil {
			return s.end.Run()
		}
		more, err := step()
		if errors.Is(err, Stop) {
			return nil
		}
		err = ignoreEnd(err)
		switch {
		case err != nil && s.Err() != nil:
			return errors.Join(err, s.end.Run())
		case err != nil || !more:
			return err
		}
	}
}

// ignoreEnd returns err unless it says that the stream has ended.
func ignoreEnd(err error) error {
	var end *CloseError
	if errors.As(err, &end) {
		return nil
	}
	return err
}

// handle calls the function of a loop. If it fails, the stream ends.
func (s *Stream) handle(f func() error) error {
	done := false
	defer func() {
		if !done { // it panics
			s.finish(&CloseError{pagi.ReasonServerError})
		}
	}()
	err := f()
	done = true
	var gone *pagi.DisconnectError
	switch {
	case err == nil, errors.Is(err, Stop), ignoreEnd(err) == nil:
		return err
	case errors.As(err, &gone):
		s.finish(&CloseError{gone.Reason})
		return s.Err()
	}
	s.finish(&CloseError{pagi.ReasonServerError})
	return err
}
