package session

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/seal"
	"github.com/pagi-go/pagi-bridge/pagi"
)

const (
	// MinSecret is the smallest secret of a Key in bytes.
	MinSecret = 32
	maxKeyID  = 32
)

// Key is a secret of a CookieStore.
type Key struct {
	// ID names the key in the token: 1 to 32 letters, digits, "-" or "_".
	ID string
	// Secret is at least MinSecret random bytes.
	Secret []byte
}

// CookieStore is a Store that keeps nothing: the token holds the whole session, with the times by
// which the server lets it expire. A token is encrypted and authenticated with AES-256-GCM, so that
// the client can neither read nor change it; or with Signed only signed with HMAC-SHA256. It is
// bound to the name of its cookie, so a token of one cookie is nothing in another.
//
// Sessions must be small: a cookie has MaxCookie bytes at most, and a larger one fails with a
// *SizeError. Concurrent requests overwrite each other: the last response that the client gets
// counts. A client can go back to an older token until that expires, after a logout also. Changes
// after the response has begun fail with ErrTooLate.
//
// The fields must not change after the first use, and a CookieStore must not be copied.
type CookieStore struct {
	// Keys are the secrets. The first one makes tokens, and all of them open tokens. To change a key,
	// put the new one first and remove the old one after Manager.Expire. A key should seal no more
	// than 2^32 tokens, because nonces are random.
	Keys []Key
	// Signed leaves the session readable for the client. examples/session-cookie shows how Perl reads
	// such tokens.
	Signed bool
	// Name is what a token is bound to; "" means the full name of the cookie or header that carries
	// it, and DefaultCookie for a CallbackState.
	Name string

	once   sync.Once
	ring   *seal.Ring // of Keys
	broken error      // why there is none
}

var _ Store = (*CookieStore)(nil)

// Check reports keys that are missing, too short, or whose ids are wrong or equal.
func (c *CookieStore) Check() error {
	if len(c.Keys) == 0 {
		return pagi.BadOption("keys", "a cookie store needs a key")
	}
	var errs []error
	seen := map[string]bool{}
	for _, key := range c.Keys {
		switch {
		case key.ID == "" || len(key.ID) > maxKeyID || !seal.IsBase64URL(key.ID):
			errs = append(errs, pagi.BadOption("keys", "%q is no key id: it needs 1 to %d letters, digits, \"-\" or \"_\"", key.ID, maxKeyID))
		case seen[key.ID]:
			errs = append(errs, pagi.BadOption("keys", "two keys have the id %q", key.ID))
		}
		seen[key.ID] = true
		if len(key.Secret) < MinSecret {
			errs = append(errs, pagi.BadOption("keys", "the secret of key %q has %d bytes; it needs %d", key.ID, len(key.Secret), MinSecret))
		}
	}
	return errors.Join(errs...)
}

// boundTo returns a store whose tokens are bound to the cookie of state.
func (c *CookieStore) boundTo(state State) *CookieStore {
	bound := &CookieStore{Keys: c.Keys, Signed: c.Signed, Name: c.Name}
	if named, ok := state.(interface{ name() string }); ok && bound.Name == "" {
		bound.Name = named.name()
	}
	return bound
}

// ready derives what the keys need, once.
func (c *CookieStore) ready() (*seal.Ring, error) {
	c.once.Do(func() {
		if c.broken = c.Check(); c.broken != nil {
			return
		}
		var keys []seal.Key
		for _, key := range c.Keys {
			keys = append(keys, seal.Key(key))
		}
		c.ring, c.broken = seal.NewRing("session", keys...)
	})
	return c.ring, c.broken
}

func (c *CookieStore) name() string {
	if c.Name == "" {
		return DefaultCookie
	}
	return c.Name
}

// content is what a token holds, as JSON. Times are Unix times in seconds.
type content struct {
	ID       string                     `json:"id"`
	Created  int64                      `json:"created"`
	Used     int64                      `json:"used"`
	Deadline int64                      `json:"deadline,omitempty"`
	Data     map[string]json.RawMessage `json:"data"`
}

// Load implements Store. A token that no key opens is ErrNotFound.
func (c *CookieStore) Load(_ context.Context, token string) (*Record, error) {
	plain, err := c.open(token)
	if err != nil {
		return nil, err
	}
	var in content
	if err := json.Unmarshal(plain, &in); err != nil || !ValidID(in.ID) {
		return nil, ErrNotFound // made with the key by something else
	}
	rec := &Record{ID: in.ID, Version: 1, Data: in.Data, Created: time.Unix(in.Created, 0), Used: time.Unix(in.Used, 0)}
	if in.Deadline != 0 {
		rec.Deadline = time.Unix(in.Deadline, 0)
	}
	return rec, nil
}

// Save implements Store: it makes a token and stores nothing.
func (c *CookieStore) Save(ctx context.Context, rec *Record) (string, error) {
	token, err := c.Touch(ctx, rec)
	if err == nil {
		rec.Version++
	}
	return token, err
}

// Touch implements Store: it makes a token with the new times.
func (c *CookieStore) Touch(_ context.Context, rec *Record) (string, error) {
	ring, err := c.ready()
	if err != nil {
		return "", err
	}
	out := content{ID: rec.ID, Created: rec.Created.Unix(), Used: rec.Used.Unix(), Data: rec.Data}
	if !rec.Deadline.IsZero() {
		out.Deadline = rec.Deadline.Unix()
	}
	plain, err := json.Marshal(out)
	if err != nil {
		return "", err
	}
	token := ""
	if c.Signed {
		token = ring.Sign(c.name(), plain)
	} else {
		token = ring.Seal(c.name(), plain)
	}
	if len(token) > MaxCookie {
		return "", &SizeError{What: "cookie", Size: len(token), Limit: MaxCookie}
	}
	return token, nil
}

// Delete implements Store and does nothing: only the client can forget its token.
func (c *CookieStore) Delete(context.Context, string, uint64) error { return nil }

// open returns what a token holds, or ErrNotFound.
func (c *CookieStore) open(token string) ([]byte, error) {
	if len(token) > MaxCookie {
		return nil, ErrNotFound
	}
	ring, err := c.ready()
	if err != nil {
		return nil, err
	}
	open := ring.Open
	if c.Signed {
		open = ring.Verify
	}
	plain, ok := open(c.name(), token)
	if !ok {
		return nil, ErrNotFound
	}
	return plain, nil
}
