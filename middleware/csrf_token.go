package middleware

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"
	"sync"

	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
	"github.com/pagi-go/pagi-bridge/pagi/session"
)

const (
	// csrfSize is the size of a token without its mask, and of what it is made of, in bytes.
	csrfSize = 32
	// csrfKey is the key in a session of what its tokens are made of.
	csrfKey = "csrf_token"
)

// CSRFToken is what CSRF puts into the scope in the mode "token", under scopekey.CSRFToken. It is
// safe for concurrent use.
type CSRFToken struct {
	c       *csrf
	scope   *pagi.Scope
	session *session.Session // nil without one
	ours    bool             // the request is not from a page of another site

	mu      sync.Mutex
	seed    []byte // of the cookie
	asked   bool   // the response depends on the cookie
	issued  bool   // the response sets the cookie
	started bool
}

// CSRFTokenOf returns the CSRFToken of scope; ok is false without CSRF in the mode "token".
func CSRFTokenOf(scope *pagi.Scope) (token *CSRFToken, ok bool) {
	token, ok = scope.Value(scopekey.CSRFToken).(*CSRFToken)
	return token, ok
}

// String returns a token for a page: for a hidden field of its forms, or for scripts to send in a
// header. It must be asked for before the response begins, and after Session.Regenerate. Each call
// returns another text for the same token, so that compression does not give it away (BREACH). The
// result is "" if no token can be made: in a websocket or sse scope, for example.
func (t *CSRFToken) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked = true
	token := t.token(true)
	if token == nil {
		return ""
	}
	var masked [2 * csrfSize]byte
	rand.Read(masked[:csrfSize]) // never fails (crypto/rand)
	subtle.XORBytes(masked[csrfSize:], masked[:csrfSize], token)
	return base64.RawURLEncoding.EncodeToString(masked[:])
}

// Valid reports whether a token that the request has brought is right, and the request is not from a
// page of another site.
func (t *CSRFToken) Valid(token string) bool {
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) != 2*csrfSize || !t.ours {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	want := t.token(false)
	if want == nil {
		return false
	}
	subtle.XORBytes(raw[csrfSize:], raw[csrfSize:], raw[:csrfSize])
	return subtle.ConstantTimeCompare(raw[csrfSize:], want) == 1
}

// token returns the token of the client; nil if there is none, and one is not to be made or
// cannot be made. mu is held.
func (t *CSRFToken) token(create bool) []byte {
	if t.session != nil {
		return t.ofSession(create)
	}
	if t.seed == nil {
		t.seed = t.c.readCookie(t.scope)
	}
	if t.seed == nil && create && !t.started {
		t.seed, t.issued = newSeed(), true
	}
	return t.seed
}

// ofSession derives the token from a seed in the session and from the session's id. A token that
// somebody knows from before a login is nothing after it, because Session.Regenerate changes the id.
func (t *CSRFToken) ofSession(create bool) []byte {
	text, err := session.Value[string](t.session, csrfKey)
	seed, bad := base64.RawURLEncoding.DecodeString(text)
	if err != nil || bad != nil || len(seed) != csrfSize {
		if !create {
			return nil
		}
		seed = newSeed()
		if t.session.Set(csrfKey, base64.RawURLEncoding.EncodeToString(seed)) != nil {
			return nil
		}
	}
	return csrfMAC(seed, "session", t.session.ID())
}

// begin adds the cookie to the headers of a response.
func (t *CSRFToken) begin(h *pagi.Headers) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.started = true
	if t.asked {
		reply.Vary(h, "cookie")
	}
	if t.issued {
		value := base64.RawURLEncoding.EncodeToString(t.seed) + "." + base64.RawURLEncoding.EncodeToString(t.c.mac(t.seed))
		_ = t.c.state.Inject(t.scope, h, value, 0) // it is small
	}
}

// readCookie returns the seed in the cookie of a request, or nil. With several cookies of the name
// it is not known which one CSRF has set.
func (c *csrf) readCookie(scope *pagi.Scope) []byte {
	name := c.CookieName
	if c.HostPrefix {
		name = "__Host-" + name
	}
	value, n := "", 0
	for line := range scope.Headers.Values("cookie") {
		for pair := range strings.SplitSeq(line, ";") {
			if key, v, ok := strings.Cut(pair, "="); ok && strings.Trim(key, " \t") == name {
				value, n = strings.Trim(v, " \t"), n+1
			}
		}
	}
	left, right, _ := strings.Cut(value, ".")
	seed, err := base64.RawURLEncoding.DecodeString(left)
	signature, bad := base64.RawURLEncoding.DecodeString(right)
	if n != 1 || err != nil || bad != nil || len(seed) != csrfSize || !hmac.Equal(signature, c.mac(seed)) {
		return nil
	}
	return seed
}

// mac signs the seed of a cookie.
func (c *csrf) mac(seed []byte) []byte {
	return csrfMAC([]byte(c.Secret), "cookie "+c.CookieName, string(seed))
}

func csrfMAC(key []byte, purpose, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("pagi csrf " + purpose + "\n" + text))
	return h.Sum(nil)
}

func newSeed() []byte {
	seed := make([]byte, csrfSize)
	rand.Read(seed) // never fails (crypto/rand)
	return seed
}
