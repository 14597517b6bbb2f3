package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
)

// A sealed token is
//
//	"e1." key id "." base64url(nonce of 12 bytes, AES-256-GCM ciphertext, tag of 16 bytes)
//
// The key is HKDF-SHA256 (RFC 5869) of the secret, without a salt and with sealInfo. The additional
// data is "e1." key id "." cookie name.
const (
	sealedPrefix = "e1."
	sealInfo     = "pagi session e1"
)

func splitSealed(token string) (keyID, rest string, ok bool) {
	token, ok = strings.CutPrefix(token, sealedPrefix)
	if !ok {
		return "", "", false
	}
	return strings.Cut(token, ".")
}

func seal(l lock, name string, plain []byte) string {
	head := sealedPrefix + l.ID + "."
	return head + base64.RawURLEncoding.EncodeToString(l.aead.Seal(nil, nil, plain, []byte(head+name)))
}

func unseal(l lock, name, sealed string) ([]byte, error) {
	raw, err := decode64(sealed)
	if err != nil {
		return nil, err
	}
	plain, err := l.aead.Open(nil, nil, raw, []byte(sealedPrefix+l.ID+"."+name))
	if err != nil {
		return nil, ErrNotFound
	}
	return plain, nil
}

func newGCM(key Key) (cipher.AEAD, error) {
	derived, err := hkdf.Key(sha256.New, key.Secret, nil, sealInfo, 32)
	if err != nil {
		return nil, fmt.Errorf("derive key %s: %w", key.ID, err)
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
