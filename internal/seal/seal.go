// Package seal makes tokens that a client keeps and cannot change: signed ones, which it can read,
// and sealed ones, which it cannot. A token is bound to a purpose and to a name, so it is nothing
// under another one.
//
// A sealed token is
//
//	"e1." key id "." base64url(nonce of 12 bytes, AES-256-GCM ciphertext, tag of 16 bytes)
//
// The key is HKDF-SHA256 (RFC 5869) of the secret, without a salt and with the info "pagi " purpose
// " e1". The additional data is "e1." key id "." name.
//
// A signed token is
//
//	"s1." key id "." base64url(plain) "." base64url(HMAC-SHA256)
//
// The HMAC (RFC 2104) is that of "pagi " purpose " s1\n" name "\n" and the token up to its last
// point, without that point. Its key is the secret.
//
// The package imports nothing of this module. What is a good secret is for its callers to check.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
)

// Key is a secret with a name.
type Key struct {
	// ID names the key in tokens. It must be of the base64url alphabet (IsBase64URL) and not empty.
	ID     string
	Secret []byte
}

// Ring makes tokens by its first key and opens those of all keys. All methods are safe for
// concurrent use.
type Ring struct {
	purpose string
	locks   []lock
}

type lock struct {
	Key
	aead cipher.AEAD
}

const (
	sealedPrefix = "e1."
	signedPrefix = "s1."
)

// NewRing returns a Ring of the keys, of which there must be one.
func NewRing(purpose string, keys ...Key) (*Ring, error) {
	r := &Ring{purpose: purpose}
	for _, key := range keys {
		aead, err := newGCM(purpose, key)
		if err != nil {
			return nil, fmt.Errorf("derive key %s: %w", key.ID, err)
		}
		r.locks = append(r.locks, lock{key, aead})
	}
	return r, nil
}

func newGCM(purpose string, key Key) (cipher.AEAD, error) {
	derived, err := hkdf.Key(sha256.New, key.Secret, nil, "pagi "+purpose+" e1", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Seal returns a sealed token.
func (r *Ring) Seal(name string, plain []byte) string {
	l := &r.locks[0]
	head := sealedPrefix + l.ID + "."
	return head + base64.RawURLEncoding.EncodeToString(l.aead.Seal(nil, nil, plain, []byte(head+name)))
}

// Open returns what a sealed token holds; ok is false if no key has made it for that name.
func (r *Ring) Open(name, token string) (plain []byte, ok bool) {
	l, sealed := r.find(sealedPrefix, token)
	if l == nil {
		return nil, false
	}
	raw, ok := decode(sealed)
	if !ok {
		return nil, false
	}
	plain, err := l.aead.Open(nil, nil, raw, []byte(sealedPrefix+l.ID+"."+name))
	return plain, err == nil
}

// Sign returns a signed token.
func (r *Ring) Sign(name string, plain []byte) string {
	l := &r.locks[0]
	signed := signedPrefix + l.ID + "." + base64.RawURLEncoding.EncodeToString(plain)
	return signed + "." + base64.RawURLEncoding.EncodeToString(r.mac(l, name, signed))
}

// Verify returns what a signed token holds; ok is false if no key has made it for that name.
func (r *Ring) Verify(name, token string) (plain []byte, ok bool) {
	l, rest := r.find(signedPrefix, token)
	if l == nil {
		return nil, false
	}
	payload, signature, ok := strings.Cut(rest, ".")
	if !ok {
		return nil, false
	}
	got, ok := decode(signature)
	if !ok || !hmac.Equal(got, r.mac(l, name, signedPrefix+l.ID+"."+payload)) {
		return nil, false
	}
	return decode(payload)
}

func (r *Ring) mac(l *lock, name, signed string) []byte {
	h := hmac.New(sha256.New, l.Secret)
	h.Write([]byte("pagi " + r.purpose + " s1\n" + name + "\n" + signed))
	return h.Sum(nil)
}

// find returns the key of a token, nil if there is none, and what follows its id.
func (r *Ring) find(prefix, token string) (l *lock, rest string) {
	token, ok := strings.CutPrefix(token, prefix)
	if !ok {
		return nil, ""
	}
	id, rest, ok := strings.Cut(token, ".")
	for i := range r.locks {
		if ok && r.locks[i].ID == id {
			return &r.locks[i], rest
		}
	}
	return nil, ""
}

// IsBase64URL reports whether s has only characters of the base64url alphabet (RFC 4648 section 5).
func IsBase64URL(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// decode decodes the one base64url text of some bytes. Package base64 would skip line ends.
func decode(s string) ([]byte, bool) {
	if !IsBase64URL(s) {
		return nil, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return b, err == nil
}
