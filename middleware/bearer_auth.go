package middleware

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

const (
	// minToken is the shortest token of the option tokens, in characters.
	minToken = 16
	// maxToken is the longest token that is looked at.
	maxToken = 16 << 10
)

// BearerAuth asks for a bearer token (RFC 6750) and answers 401 without a right one. The application
// finds the user in Scope.Auth and the claims of a JWT under scopekey.AuthClaims. A script behind a
// bridge finds the user in REMOTE_USER.
//
// A token is one of Tokens, or a JWT (RFC 7519) that one of Secrets, Keys, JWKSFile and JWKSURL
// verifies, or Validator knows it. The algorithm none is never accepted, and a public key never
// serves as the secret of an HMAC.
type BearerAuth struct {
	// Realm names what is protected; "" means Bearer.
	Realm string `yaml:"realm"`
	// Paths are protected, with all below them; none means all paths.
	Paths []string `yaml:"paths"`
	// Tokens has tokens by the name of their user. A token is at least 16 characters long. It has
	// neither claims nor scopes.
	Tokens map[string]string `yaml:"tokens"`
	// Secrets are the secrets of JWTs signed by HMAC, as long as the hash at least: 32 bytes for HS256.
	Secrets []string `yaml:"secrets"`
	// Keys are the names of PEM files with public keys or certificates.
	Keys []string `yaml:"keys" path:"yes"`
	// JWKSFile is the name of a file with a JWK set (RFC 7517).
	JWKSFile string `yaml:"jwks_file" path:"yes"`
	// JWKSURL is where a JWK set is fetched from: at the first request, every hour, and for an unknown
	// key id. Without any keys the answer is 503.
	JWKSURL string `yaml:"jwks_url"`
	// Algorithms are those that a JWT may have. None means the one that follows from the keys: HS256
	// for secrets, ES256, ES384, ES512 or EdDSA by the kind of the PEM file. It does not follow from RSA
	// keys and JWK sets.
	Algorithms []string `yaml:"algorithms"`
	// Issuer is the claim iss that a JWT must have; "" means any.
	Issuer string `yaml:"issuer"`
	// Audience has values of which the claim aud must have one; none means any.
	Audience []string `yaml:"audience"`
	// Leeway is how much the clocks may differ when exp and nbf are checked.
	Leeway time.Duration `yaml:"leeway"`
	// AllowNoExpiry accepts a JWT without the claim exp.
	AllowNoExpiry bool `yaml:"allow_no_expiry"`
	// Claims has the value, or the values, of which a claim must have one, by its name. A name with
	// dots leads into objects. A claim that is a list needs one of the values in it. With an empty list
	// any value will do.
	Claims map[string]any `yaml:"claims"`
	// Scopes are the scopes that the token must have, all of them, in its claim scope or scp. A token
	// without them is answered with 403.
	Scopes []string `yaml:"scopes"`
	// UsernameClaim is the claim with the name of the user. "" means sub, which may be missing; a token
	// without another one is refused.
	UsernameClaim string `yaml:"username_claim"`
	// QueryParameter is the name of a query parameter that may hold the token in sse and websocket
	// scopes, because browsers cannot set a header there; "" means none. Logs show it.
	QueryParameter string `yaml:"query_parameter"`
	// Cookie is the name of a cookie that may hold the token in sse and websocket scopes; "" means none.
	// It does not count if a page of another origin has made the request.
	Cookie string `yaml:"cookie"`
	// Validator returns the claims of a token that is right, maybe an empty map, and nil for one that is
	// not. It stands in place of secrets and keys. Its error is returned to the server, which answers
	// with 500 or the status of a *pagi.StatusError.
	Validator func(ctx context.Context, scope *pagi.Scope, token string) (claims map[string]any, err error) `yaml:"-"`
	// Logger gets failures to fetch keys, and at level debug why a token was refused; nil means
	// slog.Default.
	Logger *slog.Logger `yaml:"-"`
}

func init() { parts.Middleware[BearerAuth]("bearer_auth") }

// Check reports options that cannot work together or alone, and files that cannot be read. It does not
// fetch JWKSURL.
func (m BearerAuth) Check() error {
	_, err := m.verifier()
	return err
}

// bearer is what a BearerAuth makes of its options.
type bearer struct {
	BearerAuth
	names    []string // of Tokens, sorted
	tokens   [][sha256.Size]byte
	parser   *jwt.Parser
	keys     keyring // nil: no JWTs
	required requiredClaims
}

func (m BearerAuth) verifier() (*bearer, error) {
	b := &bearer{BearerAuth: m}
	var errs []error
	add := func(err error) { errs = append(errs, err) }
	add(checkValue("realm", m.Realm))
	add(checkPaths("paths", m.Paths))
	for _, name := range slices.Sorted(maps.Keys(m.Tokens)) {
		token := m.Tokens[name]
		if name == "" || hasControl(name) {
			add(pagi.BadOption("tokens", "%q is no name of a user", name))
		}
		if len(token) < minToken || len(token) > maxToken || !isToken(token) {
			add(pagi.BadOption("tokens", "the token of %q must have %d letters, digits or characters of -._~+/ at least", name, minToken))
		}
		b.names, b.tokens = append(b.names, name), append(b.tokens, sha256.Sum256([]byte(token)))
	}
	if len(m.Tokens) > 0 && len(m.Scopes)+len(m.Claims) > 0 {
		add(pagi.BadOption("tokens", "these tokens have neither scopes nor claims; give them without scopes and claims"))
	}
	for _, scope := range m.Scopes {
		if scope == "" || strings.ContainsFunc(scope, func(r rune) bool { return r <= ' ' || r == '"' || r == '\\' || r >= 0x7f }) {
			add(pagi.BadOption("scopes", "%q is no scope", scope))
		}
	}
	if m.Leeway < 0 {
		add(pagi.BadOption("leeway", "must not be negative, is %v", m.Leeway))
	}
	if m.Cookie != "" {
		add(checkName("cookie", m.Cookie))
	}
	required, err := parseClaims("claims", m.Claims)
	add(err)
	b.required = required
	algorithms, err := b.setKeys()
	add(err)
	options := []jwt.ParserOption{jwt.WithValidMethods(algorithms), jwt.WithLeeway(m.Leeway), jwt.WithStrictDecoding()}
	if m.Issuer != "" {
		options = append(options, jwt.WithIssuer(m.Issuer))
	}
	if len(m.Audience) > 0 {
		options = append(options, jwt.WithAudience(m.Audience...))
	}
	if !m.AllowNoExpiry {
		options = append(options, jwt.WithExpirationRequired())
	}
	b.parser = jwt.NewParser(options...)
	return b, errors.Join(errs...)
}

// setKeys sets the keyring, and returns the algorithms.
func (b *bearer) setKeys() (algorithms []string, err error) {
	kinds := 0
	for _, given := range []bool{len(b.Secrets) > 0, len(b.Keys) > 0, b.JWKSFile != "", b.JWKSURL != "", b.Validator != nil} {
		if given {
			kinds++
		}
	}
	switch {
	case kinds == 0 && len(b.Tokens) == 0:
		return nil, pagi.BadOption("tokens", "there is nothing to verify a token with: give tokens, secrets, keys, jwks_file or jwks_url")
	case kinds > 1:
		return nil, pagi.BadOption("keys", "only one of secrets, keys, jwks_file, jwks_url and a Validator can verify tokens")
	}
	follows, possible := "", publicAlgorithms
	switch {
	case len(b.Secrets) > 0:
		b.keys, follows, possible = secretKeys(b.Secrets), "HS256", hmacAlgorithms
	case len(b.Keys) > 0:
		if b.keys, follows, err = pemKeys(b.Keys); err != nil {
			return nil, pagi.BadOption("keys", "%w", err)
		}
	case b.JWKSFile != "":
		if b.keys, err = fileKeys(b.JWKSFile); err != nil {
			return nil, pagi.BadOption("jwks_file", "%w", err)
		}
	case b.JWKSURL != "":
		if u, err := url.Parse(b.JWKSURL); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			return nil, pagi.BadOption("jwks_url", "%q is no http or https URL", shownURL(b.JWKSURL))
		}
		b.keys = newRemoteKeys(b.JWKSURL, b.Logger).keys
	default:
		return nil, nil
	}
	algorithms = b.Algorithms
	if len(algorithms) == 0 {
		if follows == "" {
			return nil, pagi.BadOption("algorithms", "must be given, because it does not follow from the keys: RS256, for example")
		}
		algorithms = []string{follows}
	}
	for _, algorithm := range algorithms {
		if !slices.Contains(strings.Fields(possible), algorithm) {
			return nil, pagi.BadOption("algorithms", "%q is none of %s", algorithm, strings.ReplaceAll(possible, " ", ", "))
		}
		method, isHMAC := jwt.GetSigningMethod(algorithm).(*jwt.SigningMethodHMAC)
		for _, secret := range b.Secrets {
			if isHMAC && len(secret) < method.Hash.Size() {
				return nil, pagi.BadOption("secrets", "one of %d bytes is too short for %s, which needs %d (RFC 7518 section 3.2)", len(secret), algorithm, method.Hash.Size())
			}
		}
	}
	return algorithms, nil
}

// isToken reports whether s has the form of a bearer token (RFC 6750 section 2.1).
func isToken(s string) bool {
	body := strings.TrimRight(s, "=")
	return body != "" && strings.Trim(body, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/") == ""
}

// refusal is why a token does not do, in the words of RFC 6750 section 3.1.
type refusal struct {
	status             int
	code, text, detail string // detail is for the log
}

var (
	noToken      = &refusal{status: http.StatusUnauthorized}
	twoTokens    = &refusal{http.StatusBadRequest, "invalid_request", "The request has more than one token", ""}
	expiredToken = &refusal{http.StatusUnauthorized, "invalid_token", "The access token expired", ""}
)

func invalidToken(detail string) *refusal {
	return &refusal{http.StatusUnauthorized, "invalid_token", "The access token is not valid", detail}
}

// Wrap puts m around next.
func (m BearerAuth) Wrap(next pagi.App) pagi.App {
	b, err := m.verifier()
	if err != nil {
		return lifespan.Broken(err)
	}
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if !protects(m.Paths, scope) {
			return next.Serve(ctx, scope, receive, send)
		}
		auth, claims, no, err := b.authenticate(ctx, scope)
		switch {
		case errors.Is(err, errNoKeys):
			return reply.Status(ctx, scope, send, http.StatusServiceUnavailable, "retry-after", "10")
		case err != nil:
			return err
		case no != nil:
			return b.refuse(ctx, scope, send, no)
		}
		return next.Serve(ctx, identified(scope, auth, claims), receive, send)
	})
}

func (b *bearer) refuse(ctx context.Context, scope *pagi.Scope, send pagi.Send, no *refusal) error {
	if no.detail != "" {
		logger(b.Logger).DebugContext(ctx, "bearer_auth: a token was refused", "reason", no.detail)
	}
	scopes := ""
	if no.status == http.StatusForbidden {
		scopes = strings.Join(b.Scopes, " ")
	}
	demand := challenge("Bearer", "realm", or(b.Realm, "Bearer"), "error", no.code, "error_description", no.text, "scope", scopes)
	return reply.Status(ctx, scope, send, no.status, "www-authenticate", demand)
}

// authenticate returns who the client is, or why its token does not do.
func (b *bearer) authenticate(ctx context.Context, scope *pagi.Scope) (auth pagi.Auth, claims map[string]any, no *refusal, err error) {
	token, no := b.token(ctx, scope)
	if no != nil {
		return auth, nil, no, nil
	}
	auth.Type = "bearer"
	if name, ok := b.userOf(token); ok {
		auth.Username = name
		return auth, nil, nil, nil
	}
	switch {
	case b.Validator != nil:
		if claims, err = b.Validator(ctx, scope, token); err == nil && claims == nil {
			no = invalidToken("the validator does not know it")
		}
	case b.keys != nil:
		claims, no, err = b.parse(ctx, token)
	default:
		no = invalidToken("it is none of the tokens")
	}
	if err != nil || no != nil {
		return auth, nil, no, err
	}
	if name := b.required.missing(claims); name != "" {
		return auth, nil, invalidToken("the claim " + name + " has none of the required values"), nil
	}
	username, ok := claimText(claim(claims, or(b.UsernameClaim, "sub")))
	if !ok && b.UsernameClaim != "" || hasControl(username) {
		return auth, nil, invalidToken("it has no name of a user"), nil
	}
	auth.Username = username
	granted := scopesOf(claims)
	for _, scope := range b.Scopes {
		if !slices.Contains(granted, scope) {
			return auth, nil, &refusal{http.StatusForbidden, "insufficient_scope", "The access token lacks a scope", "the scope " + scope + " is missing"}, nil
		}
	}
	return auth, claims, nil, nil
}

// userOf returns the user of one of Tokens. It takes the same time for each.
func (b *bearer) userOf(token string) (name string, ok bool) {
	if len(b.tokens) == 0 {
		return "", false
	}
	sum, at := sha256.Sum256([]byte(token)), -1
	for i := range b.tokens {
		at = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sum[:], b.tokens[i][:]), i, at)
	}
	if at < 0 {
		return "", false
	}
	return b.names[at], true
}

// parse verifies a JWT.
func (b *bearer) parse(ctx context.Context, text string) (claims map[string]any, no *refusal, err error) {
	parsed := jwt.MapClaims{}
	token, err := b.parser.ParseWithClaims(text, parsed, func(token *jwt.Token) (any, error) {
		if _, ok := token.Header["crit"]; ok { // RFC 7515 section 4.1.11
			return nil, errors.New("it has critical headers that are not known")
		}
		return b.keys(ctx, token)
	})
	switch {
	case err == nil && token.Valid:
		return parsed, nil, nil
	case errors.Is(err, errNoKeys):
		return nil, nil, err
	case errors.Is(err, jwt.ErrTokenExpired):
		return nil, expiredToken, nil
	}
	return nil, invalidToken(err.Error()), nil
}

// token returns the only token of the request.
func (b *bearer) token(ctx context.Context, scope *pagi.Scope) (token string, no *refusal) {
	var found []string
	bearers, others := 0, 0
	for value := range scope.Headers.Values("authorization") {
		if scheme, _, _ := strings.Cut(value, " "); pagi.EqualFold(scheme, "bearer") {
			bearers++
		} else {
			others++
		}
	}
	if bearers > 1 || bearers == 1 && others > 0 {
		return "", twoTokens
	}
	if bearers == 1 {
		token, ok := request.New(ctx, scope, nil).Bearer()
		if !ok {
			return "", invalidToken("it has characters that no token has")
		}
		found = append(found, token)
	}
	if scope.Type == pagi.TypeSSE || scope.Type == pagi.TypeWebSocket {
		if b.QueryParameter != "" {
			query, _ := url.ParseQuery(scope.QueryString) // what can be parsed counts
			found = append(found, query[b.QueryParameter]...)
		}
		if b.Cookie != "" && len(found) == 0 && !fromElsewhere(scope) {
			if cookie, ok := request.New(ctx, scope, nil).Cookie(b.Cookie); ok && cookie != "" {
				found = append(found, cookie)
			}
		}
	}
	switch {
	case len(found) == 0:
		return "", noToken
	case len(found) > 1:
		return "", twoTokens
	case len(found[0]) > maxToken || !isToken(found[0]):
		return "", invalidToken("it is too long, or has characters that no token has")
	}
	return found[0], nil
}
