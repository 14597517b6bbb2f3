package session

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

const (
	// saveTime is how long saving may take.
	saveTime = 10 * time.Second
	// maxTries is how often a save is tried again because other requests save the same session.
	maxTries = 200
	// touchParts: a use is noted if a part of the idle time has passed since the one before, which
	// is 1/touchParts of it.
	touchParts = 20
)

// outgoing is what the response will tell the client; the zero value is nothing.
type outgoing struct {
	token string
	clear bool
}

// load loads the session once, with mu held.
func (s *Session) load() error {
	if s.loaded || s.failed != nil {
		return s.failed
	}
	rec, err := s.m.find(s.ctx, s.token)
	if err != nil {
		s.failed = failure("load", err)
		return s.failed
	}
	s.loaded, s.rec, s.isNew = true, rec, rec == nil
	switch {
	case rec != nil:
		s.id = rec.ID
	case !s.readOnly:
		s.id = newID()
	}
	return nil
}

// find returns the session of token, or nil if there is none that has not expired.
func (m *manager) find(ctx context.Context, token string) (*Record, error) {
	if token == "" || !m.clientSide && !ValidID(token) {
		return nil, nil
	}
	rec, err := m.store.Load(ctx, token)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case !ValidID(rec.ID) || !m.clientSide && rec.ID != token:
		return nil, ErrCorrupt
	case m.expired(rec):
		return nil, nil // the store drops it
	}
	return rec, nil
}

// expired applies the limits of today, and those of the time when rec was stored.
func (m *manager) expired(rec *Record) bool {
	now := m.now()
	return past(rec.Deadline, now) || past(m.deadline(rec), now)
}

// deadline returns when rec expires if it is not used again; the zero time means never.
func (m *manager) deadline(rec *Record) time.Time {
	var deadline time.Time
	if m.expire > 0 {
		deadline = rec.Created.Add(m.expire)
	}
	if m.idle > 0 {
		if idle := rec.Used.Add(m.idle); deadline.IsZero() || idle.Before(deadline) {
			deadline = idle
		}
	}
	return deadline
}

// begin saves the session and returns the headers of the event that begins the response.
func (s *Session) begin(ctx context.Context, scope *pagi.Scope, headers pagi.Headers) (pagi.Headers, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.flush(ctx); err != nil {
		return nil, err
	}
	if s.started || !s.loaded {
		return headers, nil
	}
	headers = headers.Clone()
	request, answer := carriers(s.m.state)
	if request != "" {
		reply.Vary(&headers, request)
	}
	if s.out == (outgoing{}) {
		return headers, nil
	}
	if answer != "" && !headers.Has("cache-control") {
		headers.Add("cache-control", `private, no-cache="`+answer+`"`)
	}
	if s.out.clear {
		s.m.state.Clear(scope, &headers)
		return headers, nil
	}
	var maxAge time.Duration
	if s.m.expire > 0 {
		maxAge = s.rec.Created.Add(s.m.expire).Sub(s.m.now())
	}
	if err := s.m.state.Inject(scope, &headers, s.out.token, maxAge); err != nil {
		s.failed = failure("send", err)
		return nil, s.failed
	}
	return headers, nil
}

// end saves what the application has changed since the response began, and adds a failure of the
// session to err, the application's error.
func (s *Session) end(ctx context.Context, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loaded && s.started { // without a response, the client never learns of a new id
		_ = s.flush(ctx) // the error is s.failed
	}
	s.ended = true
	if s.failed != nil && !errors.Is(err, s.failed) {
		err = errors.Join(err, s.failed)
	}
	if s.lost {
		err = errors.Join(err, &lostError{})
	}
	return err
}

// lostError says that the changes of a request were dropped.
type lostError struct{}

func (*lostError) Error() string {
	return "session: changes were dropped: another request has destroyed the session, or given it a new id"
}

func (*lostError) Is(target error) bool { return target == ErrDestroyed }

// flush saves what has changed, or notes the use of the session, with mu held.
func (s *Session) flush(ctx context.Context) error {
	if s.failed != nil || !s.loaded || s.destroyed {
		return s.failed
	}
	if s.rec == nil && len(s.changed) == 0 {
		return nil
	}
	// What is saved must not depend on when the client leaves.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
	defer cancel()
	var token string
	var err error
	switch {
	case s.rec == nil:
		token, err = s.create(ctx)
	case s.regenerate:
		token, err = s.move(ctx)
	case s.cleared || len(s.changed) > 0:
		token, err = s.merge(ctx)
	default:
		return s.touch(ctx)
	}
	switch {
	case errors.Is(err, ErrNotFound):
		s.destroyed, s.lost = true, true
		return nil
	case err != nil:
		s.failed = failure("save", err)
		return s.failed
	}
	s.saved(token)
	return nil
}

// saved notes that the store has all changes.
func (s *Session) saved(token string) {
	s.changed, s.cleared, s.regenerate = nil, false, false
	if token != s.token {
		s.out = outgoing{token: token}
	}
}

// create stores a new session.
func (s *Session) create(ctx context.Context) (token string, err error) {
	now := s.m.now()
	rec := &Record{ID: s.id, Created: now}
	if token, err = s.save(ctx, rec, now); err != nil {
		if errors.Is(err, ErrNotFound) { // of a store that breaks the rules
			err = ErrConflict
		}
		return "", err
	}
	s.rec = rec
	return token, nil
}

// save applies the changes to rec and stores it.
func (s *Session) save(ctx context.Context, rec *Record, now time.Time) (token string, err error) {
	rec.Data = s.applied(rec.Data)
	if size := sizeOf(rec.Data); size > s.m.maxSize {
		return "", &SizeError{What: "session data", Size: size, Limit: s.m.maxSize}
	}
	rec.Used = now
	rec.Deadline = s.m.deadline(rec)
	return s.m.store.Save(ctx, rec)
}

// merge stores the changes on top of what other requests have stored meanwhile.
func (s *Session) merge(ctx context.Context) (token string, err error) {
	base := s.rec
	for try := range maxTries {
		rec := base.Clone()
		token, err = s.save(ctx, rec, s.m.now())
		if err == nil {
			s.rec = rec
		}
		if !errors.Is(err, ErrConflict) {
			return token, err
		}
		if base, err = s.again(ctx, base.ID, try); err != nil {
			return "", err
		}
	}
	return "", ErrConflict
}

// move stores the session under its new id, and removes the old one. It removes only a version
// whose changes the new one has.
func (s *Session) move(ctx context.Context) (token string, err error) {
	base, version := s.rec, uint64(0)
	defer func() {
		if err != nil && version != 0 {
			_ = s.m.store.Delete(ctx, s.id, 0) // nobody knows this id, so it expires otherwise
		}
	}()
	for try := range maxTries {
		rec := base.Clone()
		rec.ID, rec.Version, rec.Created = s.id, version, s.m.now()
		if token, err = s.save(ctx, rec, rec.Created); err != nil {
			return "", err
		}
		version = rec.Version
		err = s.m.store.Delete(ctx, base.ID, base.Version)
		if err == nil {
			s.rec = rec
		}
		if !errors.Is(err, ErrConflict) {
			return token, err
		}
		if base, err = s.again(ctx, base.ID, try); err != nil {
			return "", err
		}
	}
	return "", ErrConflict
}

// again loads the session after a conflict. After some it waits a little first, at random, so that
// requests do not get into each other's way for long.
func (s *Session) again(ctx context.Context, id string, try int) (*Record, error) {
	if try > 2 {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(rand.N(time.Duration(min(try, 20)) * time.Millisecond)):
		}
	}
	return s.m.store.Load(ctx, id)
}

// touch notes the use of the session if the last one noted is long enough ago.
func (s *Session) touch(ctx context.Context) error {
	now := s.m.now()
	if s.m.idle < 0 || now.Sub(s.rec.Used) < s.m.idle/touchParts {
		return nil
	}
	rec := s.rec.Clone()
	rec.Used = now
	rec.Deadline = s.m.deadline(rec)
	token, err := s.m.store.Touch(ctx, rec)
	switch {
	case errors.Is(err, ErrNotFound):
		s.destroyed = true // by another request, and this one has nothing to lose
		return nil
	case err != nil:
		s.failed = failure("touch", err)
		return s.failed
	}
	s.rec = rec
	s.saved(token)
	return nil
}
