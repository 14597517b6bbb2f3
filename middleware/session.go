package middleware

import (
	"errors"
	"slices"

	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/session"
	"github.com/pagi-go/pagi-bridge/pagi/session/boltstore"
	"github.com/pagi-go/pagi-bridge/pagi/session/redisstore"
)

// Session keeps values for a client between its requests. It is a session.Manager whose store and
// state have names, for site files; programs in Go may use the Manager itself. Put it outside CSRF
// and all else that uses the session.
type Session struct {
	// Manager has the limits. Its Store and State take the place of the options Store and State.
	Manager session.Manager `yaml:",inline"`
	// Store is "memory", of this process, which forgets its sessions at a reload of the site;
	// "cookie", at the client; "bolt", in a File; or "redis", at a URL.
	Store string `yaml:"store" default:"memory"`
	// State is how a client has its session: by a "cookie", a "header", or "bearer", in Authorization.
	State string `yaml:"state" default:"cookie"`
	// Cookie are the options of the cookie.
	Cookie session.CookieState `yaml:"cookie"`
	// Header is the name of the header.
	Header string `yaml:"header" default:"X-Session-ID"`
	// Secrets encrypt sessions in cookies. Each has at least 32 random bytes. The first one makes
	// cookies, and all of them read cookies. To change a secret, put the new one first.
	Secrets []string `yaml:"secrets"`
	// Signed leaves sessions in cookies readable for the client.
	Signed bool `yaml:"signed"`
	// File is the database of sessions, made where it is missing; its directory must exist.
	File string `yaml:"file" path:"yes"`
	// URL is that of Redis: redis://user:password@host:port/db, rediss:// for TLS, or unix:///path.
	URL string `yaml:"url"`
	// Prefix is in front of the keys in Redis; "" means "pagi_session:".
	Prefix string `yaml:"prefix"`
	// MaxSessions is how many sessions are kept in memory. The one that has not been used for the
	// longest time goes first.
	MaxSessions int `yaml:"max_sessions" default:"100000" zero:"must be more than 0"`
}

func init() { parts.Middleware[Session]("session") }

// Check reports an unknown store or state, an option that the store does not have or lacks, and what
// the Check methods of Manager, store and state report.
func (m Session) Check() error {
	manager, errs := m.manager()
	if len(errs) == 0 {
		errs = append(errs, renamed(manager.Check(), "state", or(m.State, "cookie")))
	}
	return errors.Join(errs...)
}

// manager returns the Manager with its store and state, and what is wrong with the options.
func (m Session) manager() (session.Manager, []error) {
	given := m
	option.SetDefaults(&m)
	manager, errs := m.Manager, []error(nil)
	for _, o := range []struct {
		name, store string
		set         bool
	}{
		{"secrets", "cookie", len(m.Secrets) > 0}, {"signed", "cookie", m.Signed}, {"file", "bolt", m.File != ""},
		{"url", "redis", m.URL != ""}, {"prefix", "redis", given.Prefix != ""}, {"max_sessions", "memory", given.MaxSessions != 0},
	} {
		if o.set && m.Store != o.store {
			errs = append(errs, pagi.BadOption(o.name, "it belongs to the store %s, not to %s", o.store, m.Store))
		}
	}
	var store session.Store
	switch m.Store {
	case "memory":
		store = &session.Memory{Max: m.MaxSessions, Now: manager.Now}
		if m.MaxSessions < 0 {
			errs = append(errs, pagi.BadOption("max_sessions", "must not be negative, is %d", m.MaxSessions))
		}
	case "cookie":
		keys := make([]session.Key, len(m.Secrets))
		for i, secret := range m.Secrets {
			keys[i] = session.Key{ID: keyID("session", secret), Secret: []byte(secret)}
		}
		errs = append(errs, checkSecrets("secrets", m.Secrets))
		if len(keys) == 0 {
			errs = append(errs, pagi.BadOption("secrets", "sessions in cookies need a secret"))
		}
		store = &session.CookieStore{Keys: keys, Signed: m.Signed}
	case "bolt":
		bolt := &boltstore.Store{Path: m.File, Now: manager.Now}
		store, errs = bolt, append(errs, renamed(bolt.Check(), "path", "file"))
	case "redis":
		redis := &redisstore.Store{URL: m.URL, Prefix: m.Prefix}
		store, errs = redis, append(errs, redis.Check())
	default:
		errs = append(errs, pagi.BadOption("store", "must be memory, cookie, bolt or redis, is %q", m.Store))
	}
	if manager.Store == nil {
		manager.Store = store
	}
	var state session.State
	switch m.State {
	case "cookie":
		state = m.Cookie
	case "header":
		state = session.HeaderState{Name: m.Header}
	case "bearer":
		state = session.BearerState{}
	default:
		errs = append(errs, pagi.BadOption("state", "must be cookie, header or bearer, is %q", m.State))
	}
	if m.State != "cookie" && m.Cookie != (session.CookieState{}) {
		errs = append(errs, pagi.BadOption("cookie", "it belongs to the state cookie, not to %s", m.State))
	}
	if m.State != "header" && given.Header != "" {
		errs = append(errs, pagi.BadOption("header", "it belongs to the state header, not to %s", m.State))
	}
	if manager.State == nil {
		manager.State = state
	}
	return manager, slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// Wrap puts m around next.
func (m Session) Wrap(next pagi.App) pagi.App {
	if err := m.Check(); err != nil {
		return lifespan.Broken(err)
	}
	manager, _ := m.manager()
	return manager.Wrap(next)
}
