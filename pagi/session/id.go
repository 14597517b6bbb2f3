package session

import (
	"crypto/rand"
	"encoding/base64"

	"github.com/pagi-go/pagi-bridge/internal/seal"
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
	return len(id) == idChars && seal.IsBase64URL(id)
}
