package middleware

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/session"
)

// checkSecrets reports secrets that are too short, or there twice. It does not show them.
func checkSecrets(option string, secrets []string) error {
	var errs []error
	for i, secret := range secrets {
		switch {
		case len(secret) < session.MinSecret:
			errs = append(errs, pagi.BadOption(option, "number %d has %d bytes; it needs %d", i+1, len(secret), session.MinSecret))
		case slices.Index(secrets, secret) < i:
			errs = append(errs, pagi.BadOption(option, "number %d is there twice", i+1))
		}
	}
	return errors.Join(errs...)
}

// keyID names a secret in a cookie without giving it away: a hash of 32 random bytes cannot be
// turned back. Then a secret needs no name in a site file. purpose is what the secret is used for.
func keyID(purpose, secret string) string {
	sum := sha256.Sum256([]byte("pagi " + purpose + " key\n" + secret))
	return base64.RawURLEncoding.EncodeToString(sum[:6])
}
