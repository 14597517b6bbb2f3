package session

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// A signed token is
//
//	"s1." key id "." base64url(JSON) "." base64url(HMAC-SHA256)
//
// The HMAC (RFC 2104) is that of "pagi session s1\n" cookie name "\n" and the token up to its last
// point, without that point. Its key is the secret.
const (
	signedPrefix = "s1."
	signLabel    = "pagi session s1\n"
)

func splitSigned(token string) (keyID, rest string, ok bool) {
	token, ok = strings.CutPrefix(token, signedPrefix)
	if !ok {
		return "", "", false
	}
	return strings.Cut(token, ".")
}

func sign(l lock, name string, plain []byte) string {
	signed := signedPrefix + l.ID + "." + base64.RawURLEncoding.EncodeToString(plain)
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac(l, name, signed))
}

func verify(l lock, name, rest string) ([]byte, error) {
	payload, signature, ok := strings.Cut(rest, ".")
	if !ok {
		return nil, ErrNotFound
	}
	got, err := decode64(signature)
	if err != nil || !hmac.Equal(got, mac(l, name, signedPrefix+l.ID+"."+payload)) {
		return nil, ErrNotFound
	}
	return decode64(payload)
}

func mac(l lock, name, signed string) []byte {
	h := hmac.New(sha256.New, l.Secret)
	h.Write([]byte(signLabel + name + "\n" + signed))
	return h.Sum(nil)
}
