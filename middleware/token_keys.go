package middleware

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
)

const (
	// minRSA is the smallest RSA key, in bits (RFC 7518 section 3.3).
	minRSA = 2048
	// algorithm names that PEM files, JWK sets and secrets can have.
	hmacAlgorithms   = "HS256 HS384 HS512"
	publicAlgorithms = "RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA"
)

// keyring finds the keys with which a token may be verified.
type keyring func(ctx context.Context, token *jwt.Token) (any, error)

// matching returns the keys that are made for the token's algorithm. A public key is never the
// secret of an HMAC, whatever the token says.
func matching(token *jwt.Token, keys ...any) (any, error) {
	var set jwt.VerificationKeySet
	for _, key := range keys {
		if fits(token.Method.Alg(), key) {
			set.Keys = append(set.Keys, key)
		}
	}
	if len(set.Keys) == 0 {
		return nil, errors.New("there is no key for the token's algorithm")
	}
	return set, nil
}

func fits(algorithm string, key any) bool {
	switch k := key.(type) {
	case []byte:
		return strings.HasPrefix(algorithm, "HS")
	case *rsa.PublicKey:
		return (strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS")) && k.N.BitLen() >= minRSA
	case *ecdsa.PublicKey:
		return algorithm == ecAlgorithm(k)
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	}
	return false
}

func ecAlgorithm(key *ecdsa.PublicKey) string {
	return map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[key.Curve.Params().BitSize]
}

// secretKeys is a keyring of secrets.
func secretKeys(secrets []string) keyring {
	var keys []any
	for _, secret := range secrets {
		keys = append(keys, []byte(secret))
	}
	return func(_ context.Context, token *jwt.Token) (any, error) { return matching(token, keys...) }
}

// pemKeys reads public keys and certificates from files. algorithm is the one that follows from all
// of the keys, or "".
func pemKeys(files []string) (keys keyring, algorithm string, err error) {
	var all []any
	for i, file := range files {
		key, err := pemKey(file)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, key)
		if follows := followsFrom(key); i == 0 {
			algorithm = follows
		} else if algorithm != follows {
			algorithm = ""
		}
	}
	return func(_ context.Context, token *jwt.Token) (any, error) { return matching(token, all...) }, algorithm, nil
}

// followsFrom returns the only algorithm that a key is for. An RSA key is for several.
func followsFrom(key any) string {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		return ecAlgorithm(k)
	case ed25519.PublicKey:
		return "EdDSA"
	}
	return ""
}

func pemKey(file string) (any, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("is no PEM file")
	}
	var key any
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var certificate *x509.Certificate
		if certificate, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = certificate.PublicKey
		}
	default:
		return nil, fmt.Errorf("holds a %s; it must be a public key or a certificate", block.Type)
	}
	if err != nil {
		return nil, err
	}
	if k, is := key.(*rsa.PublicKey); is && k.N.BitLen() < minRSA {
		return nil, fmt.Errorf("an RSA key of %d bits is too short; it needs %d", k.N.BitLen(), minRSA)
	}
	for algorithm := range strings.FieldsSeq(publicAlgorithms) {
		if fits(algorithm, key) {
			return key, nil
		}
	}
	return nil, fmt.Errorf("a key of the type %T cannot verify tokens", key)
}

// parseJWKS reads a JWK Set (RFC 7517 section 5). Keys that are not for signatures, of kinds that are
// not known, malformed, or secret, are left out.
func parseJWKS(ctx context.Context, text []byte) (keyfunc.Keyfunc, error) {
	var set jwkset.JWKSMarshal
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("read the JWK set: %w", err)
	}
	keys := jwkset.NewMemoryStorage()
	found, problem := 0, errors.New("it is empty")
	for _, marshalled := range set.Keys {
		if marshalled.KTY == jwkset.KtyOct || marshalled.USE != "" && marshalled.USE != jwkset.UseSig {
			problem = fmt.Errorf("key %q is not one with which others verify signatures", marshalled.KID)
			continue
		}
		key, err := jwkset.NewJWKFromMarshal(marshalled, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		if err != nil {
			problem = fmt.Errorf("key %q: %w", marshalled.KID, err)
			continue
		}
		if err := keys.KeyWrite(ctx, key); err != nil {
			return nil, err
		}
		found++
	}
	if found == 0 {
		return nil, fmt.Errorf("the JWK set has no key that can be used: %w", problem)
	}
	return keyfunc.New(keyfunc.Options{Storage: keys})
}

// jwksKeys is a keyring of a JWK set. The header kid of the token names the key; without it all keys
// are tried.
func jwksKeys(ctx context.Context, set keyfunc.Keyfunc, token *jwt.Token) (any, error) {
	found, err := set.KeyfuncCtx(ctx)(token)
	if err != nil {
		return nil, err
	}
	if several, is := found.(jwt.VerificationKeySet); is {
		keys := make([]any, len(several.Keys))
		for i, key := range several.Keys {
			keys[i] = key
		}
		return matching(token, keys...)
	}
	return matching(token, found)
}

// fileKeys is a keyring of a file with a JWK set.
func fileKeys(file string) (keyring, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	set, err := parseJWKS(context.Background(), text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return func(ctx context.Context, token *jwt.Token) (any, error) { return jwksKeys(ctx, set, token) }, nil
}
