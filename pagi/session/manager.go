package session

import (
	"context"
	"errors"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// Defaults of a Manager.
const (
	DefaultExpire  = 24 * time.Hour
	DefaultIdle    = time.Hour
	DefaultMaxSize = 64 << 10
)

// Manager is the middleware that puts a *Session into the scope, under scopekey.Session. Below
// another Manager it does nothing. It opens and closes the store in the lifespan scope; see Opener.
//
// In an http scope a changed session is saved before the response starts, so that the next request
// of the client finds it. Changes after the start are saved when the application has returned. If
// the application fails before it has begun a response, its changes are dropped, because the server
// answers in its place; only Destroy has its effect. The client is told of a token only if it is
// another than the one that it has sent.
//
// A response for which the session was used has "Vary: Cookie", or the header of another State. One
// that tells the client of a token also has a Cache-Control with private and no-cache, unless the
// application has set one, so that no cache gives the token to others (RFC 9111 section 7.3).
//
// Concurrent requests of one session are merged by key: a save applies the request's own changes to
// what is stored by then. For a key that two requests change, the last save counts. If another
// request has destroyed the session meanwhile, or has given it a new id, the changes are dropped,
// and Serve returns an error that wraps ErrDestroyed; the response is not affected. A CookieStore
// cannot merge: the last response that the client gets counts.
//
// In websocket and sse scopes the session can only be read, and shows what was stored when the
// application first used it. It counts as used at the scope's beginning and at its end.
type Manager struct {
	// Store keeps the sessions; nil means a Memory of its own for each call of Wrap.
	Store Store `yaml:"-"`
	// State carries the token; nil means CookieState{}.
	State State `yaml:"-"`
	// Expire is how long a session lives after it was created, or got a new id, however much it is
	// used; 0 means DefaultExpire, and less than 0 means without a limit.
	Expire time.Duration `yaml:"expire" default:"24h" zero:"off"`
	// Idle is how long a session lives after it was last used. A use that follows another within a
	// 20th part of Idle is not noted. 0 means DefaultIdle, and less than 0 means without a limit.
	Idle time.Duration `yaml:"idle" default:"1h" zero:"off"`
	// MaxSize is the largest size of a session's keys and values as JSON, in bytes; 0 means
	// DefaultMaxSize. Within it a CookieStore has the limit of its cookie, MaxCookie.
	MaxSize int `yaml:"max_size" unit:"bytes" default:"64KiB"`
	// Now is the clock; nil means time.Now.
	Now func() time.Time `yaml:"-"`
}

// manager is a Manager whose defaults are filled in.
type manager struct {
	store        Store
	state        State
	expire, idle time.Duration
	maxSize      int
	now          func() time.Time
	clientSide   bool // tokens hold the whole session
}

// Check reports options that are wrong, and those of State and Store.
func (m Manager) Check() error {
	var errs []error
	if m.MaxSize < 0 {
		errs = append(errs, pagi.BadOption("max_size", "%d is less than 0", m.MaxSize))
	}
	if _, bearer := m.State.(BearerState); bearer {
		if _, cookie := m.Store.(*CookieStore); cookie {
			errs = append(errs, pagi.BadOption("state", "a bearer state cannot give the client what a cookie store keeps in its token"))
		}
	}
	if err := pagi.Check(m.State); err != nil {
		errs = append(errs, pagi.BadOption("state", "%w", err))
	}
	if err := pagi.Check(m.Store); err != nil {
		errs = append(errs, pagi.BadOption("store", "%w", err))
	}
	return errors.Join(errs...)
}

func (m Manager) withDefaults() *manager {
	r := &manager{store: m.Store, state: m.State, expire: m.Expire, idle: m.Idle, maxSize: m.MaxSize, now: m.Now}
	if r.now == nil {
		r.now = time.Now
	}
	if r.store == nil {
		r.store = &Memory{Now: r.now}
	}
	if r.state == nil {
		r.state = CookieState{}
	}
	if r.expire == 0 {
		r.expire = DefaultExpire
	}
	if r.idle == 0 {
		r.idle = DefaultIdle
	}
	if r.maxSize == 0 {
		r.maxSize = DefaultMaxSize
	}
	if cookies, ok := r.store.(*CookieStore); ok {
		r.clientSide = true
		r.store = cookies.boundTo(r.state)
	}
	return r
}

// Wrap puts m around next. With a wrong option it returns lifespan.Broken.
func (m Manager) Wrap(next pagi.App) pagi.App {
	if err := m.Check(); err != nil {
		return lifespan.Broken(err)
	}
	inner := m.withDefaults()
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if _, ok := FromScope(scope); ok || scope.Type == pagi.TypeLifespan {
			return next.Serve(ctx, scope, receive, send)
		}
		return inner.serve(ctx, next, scope, receive, send)
	})
	if opener, ok := inner.store.(Opener); ok {
		ignoreState := func(f func(context.Context) error) func(context.Context, map[string]any) error {
			return func(ctx context.Context, _ map[string]any) error { return f(ctx) }
		}
		return lifespan.Hooks{
			Startup:  []func(context.Context, map[string]any) error{ignoreState(opener.Open)},
			Shutdown: []func(context.Context, map[string]any) error{ignoreState(opener.Close)},
		}.Wrap(app)
	}
	return app
}

func (m *manager) serve(ctx context.Context, next pagi.App, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	s := &Session{m: m, ctx: ctx, token: m.state.Extract(scope), readOnly: scope.Type != pagi.TypeHTTP}
	returned := false
	defer func() {
		if !returned { // it panics, and what it has stored since its response began counts as with an error
			_ = s.end(ctx, errPanicked)
		}
	}()
	err := next.Serve(ctx, scope.With(scopekey.Session, s), receive, func(ctx context.Context, ev pagi.Event) error {
		return s.send(ctx, scope, send, ev)
	})
	returned = true
	return s.end(ctx, err)
}

var errPanicked = errors.New("the application panics")

// send passes ev on. Before an event that begins a response it saves the session and edits the
// event's headers.
func (s *Session) send(ctx context.Context, scope *pagi.Scope, send pagi.Send, ev pagi.Event) error {
	ev, isStart, err := reply.EditStart(ev, func(h pagi.Headers) (pagi.Headers, error) { return s.begin(ctx, scope, h) })
	if !isStart {
		if err := s.refused(); err != nil {
			return err
		}
		return send(ctx, ev)
	}
	if err != nil {
		return err
	}
	if err := send(ctx, ev); err != nil {
		return err // the application may send another start, with the same session header
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = true
	return nil
}

// refused returns why the session cannot be loaded or saved. The application then sends what it has
// made of an empty session, which is not for the client.
func (s *Session) refused() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}
