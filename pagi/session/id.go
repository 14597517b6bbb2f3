package session

import (
	"crypto/rand"
	"encoding/base64"
)

const (
	idBytes = 24 // 192 bits
	idChars = idBytes / 3 * 4
)

// newID returns a random id of 32 characters of the base64url alphabet.
func newID() string {
	var b [idBytes]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// ValidID reports whether id has the form of the ids that this package makes: 32 characters of the
// base64url alphabet (RFC 4648 section 5), which stand for 192 random bits. The manager looks up no
// other id in a store.
func ValidID(id string) bool {
	return len(id) == idChars && base64url(id)
}

func base64url(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// decode64 decodes the one base64url text of some bytes. Package base64 would skip line ends.
func decode64(s string) ([]byte, error) {
	if !base64url(s) {
		return nil, ErrNotFound
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, ErrNotFound
	}
	return b, nil
}
