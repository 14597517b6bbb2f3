package middleware

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/internal/seal"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/pagi/response"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

var (
	// ErrCookieTooLate is the error of setting a cookie after the response has begun.
	ErrCookieTooLate = errors.New("middleware: the response has begun, so a cookie cannot be set any more")
	// ErrNoCookieSecret is the error of signing or encrypting a cookie without Cookie.Secrets.
	ErrNoCookieSecret = errors.New("middleware: the option secrets of the cookie middleware is not set")
)

// Cookie reads the cookies of the request into the scope, as scopekey.Cookies: a map[string]string.
// Of several with one name, the first counts. It also puts a *CookieJar there, as
// scopekey.CookieJar, which sets cookies, and signs or encrypts their values:
//
//	jar := middleware.CookieJarOf(scope)
//	theme := jar.Get("theme")
//	err := jar.SetSigned(&http.Cookie{Name: "user", Value: "ann", HttpOnly: true, Secure: true})
//
// It acts in http, sse and websocket scopes.
type Cookie struct {
	// Secrets sign and encrypt values. Each has at least 32 bytes, which should be random. The
	// first one makes values, all of them read values: to change the secret, put a new one first.
	Secrets []string `yaml:"secrets"`
}

func init() { parts.Middleware[Cookie]("cookie") }

// Check reports a secret that is too short, or that is there twice.
func (m Cookie) Check() error {
	_, err := m.ring()
	return errors.Join(checkSecrets("secrets", m.Secrets), err)
}

// ring returns the keys of the secrets, nil if there are none.
func (m Cookie) ring() (*seal.Ring, error) {
	if len(m.Secrets) == 0 {
		return nil, nil
	}
	var keys []seal.Key
	for _, secret := range m.Secrets {
		keys = append(keys, seal.Key{ID: keyID("cookie", secret), Secret: []byte(secret)})
	}
	return seal.NewRing("cookie", keys...)
}

// Wrap puts m around next.
func (m Cookie) Wrap(next pagi.App) pagi.App {
	ring, _ := m.ring() // Check reports the error
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		cookies := map[string]string{}
		if scope.Headers.Has("cookie") {
			r := request.New(ctx, scope, receive)
			for _, c := range r.Cookies() {
				if _, twice := cookies[c.Name]; !twice {
					cookies[c.Name] = c.Value
				}
			}
		}
		jar := &CookieJar{cookies: cookies, ring: ring}
		scope = scope.With(scopekey.Cookies, cookies).With(scopekey.CookieJar, jar)
		return next.Serve(ctx, scope, receive, func(ctx context.Context, ev pagi.Event) error { return jar.event(ctx, ev, send) })
	})
}

// CookieJarOf returns the jar that Cookie has put into the scope. It returns nil if Cookie is not
// around the application.
func CookieJarOf(scope *pagi.Scope) *CookieJar {
	jar, _ := scope.Value(scopekey.CookieJar).(*CookieJar)
	return jar
}

// CookieJar reads the cookies of a request and sets those of the response. All methods are safe for
// concurrent use.
type CookieJar struct {
	cookies map[string]string // of the request
	ring    *seal.Ring        // nil: there are no secrets

	mu    sync.Mutex
	lines []cookieLine
	begun bool // the response has begun
}

// cookieLine is a Set-Cookie. A later one with the same id takes its place.
type cookieLine struct {
	id   [3]string // name, domain and path, by which browsers tell cookies apart
	line string
}

// Get returns the value of a cookie of the request, "" if there is none. What Set has set is not
// among them.
func (j *CookieJar) Get(name string) string { return j.cookies[name] }

// Set sets a cookie with the attributes that net/http has for it. Without a Path it counts for all
// paths. A cookie with the same name, domain and path takes the place of an earlier one. The error
// is ErrCookieTooLate, or says why browsers would drop the cookie; see response.Response.Cookie.
func (j *CookieJar) Set(c *http.Cookie) error {
	if c.Path == "" {
		with := *c
		with.Path = "/"
		c = &with
	}
	return j.add(c.Name, c.Domain, c.Path, response.New(http.StatusOK).Cookie(c))
}

// Delete makes the client forget a cookie. Path and domain must be those with which it was set; ""
// stands for "/" and for none.
func (j *CookieJar) Delete(name, path, domain string) error {
	return j.add(name, domain, or(path, "/"), response.New(http.StatusOK).DeleteCookie(name, path, domain))
}

func (j *CookieJar) add(name, domain, path string, r *response.Response) error {
	if err := r.Err(); err != nil {
		return err
	}
	added := cookieLine{[3]string{name, strings.ToLower(strings.TrimPrefix(domain, ".")), path}, r.Headers().Get("set-cookie")}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.begun {
		return ErrCookieTooLate
	}
	for i := range j.lines {
		if j.lines[i].id == added.id {
			j.lines[i] = added
			return nil
		}
	}
	j.lines = append(j.lines, added)
	return nil
}

// SetSigned is Set with a signed value: the client can read it, but Signed returns no value that
// the client has changed, or has moved from a cookie of another name. A client can send an old
// value of the same cookie again; a time in the value tells how old it is.
func (j *CookieJar) SetSigned(c *http.Cookie) error { return j.protect(c, (*seal.Ring).Sign) }

// SetEncrypted is SetSigned with a value that the client cannot read. Encrypted returns it.
func (j *CookieJar) SetEncrypted(c *http.Cookie) error { return j.protect(c, (*seal.Ring).Seal) }

func (j *CookieJar) protect(c *http.Cookie, by func(*seal.Ring, string, []byte) string) error {
	if j.ring == nil {
		return ErrNoCookieSecret
	}
	protected := *c
	protected.Value, protected.Quoted = by(j.ring, c.Name, []byte(c.Value)), false
	return j.Set(&protected)
}

// Signed returns the value of a cookie that SetSigned has set. ok is false if there is none that
// one of the secrets has signed for that name.
func (j *CookieJar) Signed(name string) (value string, ok bool) {
	return j.open(name, (*seal.Ring).Verify)
}

// Encrypted returns the value of a cookie that SetEncrypted has set. ok is false if there is none
// that one of the secrets has encrypted for that name.
func (j *CookieJar) Encrypted(name string) (value string, ok bool) {
	return j.open(name, (*seal.Ring).Open)
}

func (j *CookieJar) open(name string, by func(*seal.Ring, string, string) ([]byte, bool)) (string, bool) {
	token, ok := j.cookies[name]
	if !ok || j.ring == nil {
		return "", false
	}
	plain, ok := by(j.ring, name, token)
	return string(plain), ok
}

// event sends an event, with the cookies if it begins the response.
func (j *CookieJar) event(ctx context.Context, ev pagi.Event, send pagi.Send) error {
	begins := false
	ev, _, err := reply.EditStart(ev, func(h pagi.Headers) (pagi.Headers, error) {
		h, begins = j.addTo(h)
		return h, nil
	})
	if err != nil {
		return err
	}
	if err = send(ctx, ev); err != nil && begins {
		j.mu.Lock()
		j.begun = false // another start may come
		j.mu.Unlock()
	}
	return err
}

// addTo returns the headers of a start with the cookies. begins is false for a second start, which is
// a mistake of the application.
func (j *CookieJar) addTo(h pagi.Headers) (with pagi.Headers, begins bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	begins, j.begun = !j.begun, true
	if len(j.lines) == 0 || !begins {
		return h, begins
	}
	h = h.Clone()
	for _, c := range j.lines {
		h.Add("set-cookie", c.line)
	}
	return h, begins
}
