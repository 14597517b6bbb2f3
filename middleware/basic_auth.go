package middleware

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/tg123/go-htpasswd"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

// BasicAuth asks for a user and a password (RFC 7617) and answers 401 without right ones. The
// application finds the user in Scope.Auth, and a script behind a bridge finds it in REMOTE_USER.
// Users come from Users and HTPasswd, or from Authenticator. Passwords are sent in clear text, so
// serve this over https.
//
// An unknown user takes as much time as a known one. At most half of the processors check passwords
// at a time. A right password is remembered for a minute, as a digest with a random key.
type BasicAuth struct {
	// Realm names what is protected; "" means Restricted. Browsers may show it.
	Realm string `yaml:"realm"`
	// Paths are protected, with all below them; none means all paths.
	Paths []string `yaml:"paths"`
	// Users has the hash of the password by user, as in an htpasswd file. Its users win over those of
	// HTPasswd.
	Users map[string]string `yaml:"users"`
	// HTPasswd is the name of a file of users and hashes as the program htpasswd makes it. A change is
	// noticed within a second. A file that has become wrong is logged, and its former content stays in
	// use.
	HTPasswd string `yaml:"htpasswd" path:"yes"`
	// Authenticator reports whether a user has a password. It stands in place of Users and HTPasswd.
	// Its error is returned to the server, which answers with 500 or the status of a
	// *pagi.StatusError. It must compare in constant time.
	Authenticator func(ctx context.Context, scope *pagi.Scope, user, password string) (bool, error) `yaml:"-"`
	// Logger gets the problems of a changed file; nil means slog.Default.
	Logger *slog.Logger `yaml:"-"`
}

func init() { parts.Middleware[BasicAuth]("basic_auth") }

// Check reports options that cannot work, and each line of the file that cannot be used.
func (m BasicAuth) Check() error {
	_, err := m.authenticator()
	return errors.Join(checkValue("realm", m.Realm), checkPaths("paths", m.Paths), err)
}

// authenticator returns the function that checks credentials.
func (m BasicAuth) authenticator() (func(ctx context.Context, scope *pagi.Scope, user, password string) (bool, error), error) {
	given, err := m.users()
	if err != nil {
		return nil, err
	}
	switch {
	case m.Authenticator != nil && (len(given) > 0 || m.HTPasswd != ""):
		return nil, pagi.BadOption("htpasswd", "an Authenticator takes the place of users and htpasswd")
	case m.Authenticator != nil:
		return m.Authenticator, nil
	case m.HTPasswd != "":
		file, err := openPasswordFile(m.HTPasswd, given, m.Logger)
		if err != nil {
			return nil, pagi.BadOption("htpasswd", "%w", err)
		}
		return func(ctx context.Context, _ *pagi.Scope, user, password string) (bool, error) {
			return file.passwords(ctx).match(ctx, user, password)
		}, nil
	case len(given) > 0:
		users := newPasswords(given)
		return func(ctx context.Context, _ *pagi.Scope, user, password string) (bool, error) {
			return users.match(ctx, user, password)
		}, nil
	}
	return nil, pagi.BadOption("htpasswd", "there are no users: give htpasswd or users")
}

// users reads the hashes of Users.
func (m BasicAuth) users() (map[string]htpasswd.EncodedPasswd, error) {
	users := map[string]htpasswd.EncodedPasswd{}
	var errs []error
	for _, user := range slices.Sorted(maps.Keys(m.Users)) {
		if user == "" || strings.Contains(user, ":") || hasControl(user) {
			errs = append(errs, pagi.BadOption("users", "%q is no name of a user: it is empty, or has a colon or a control character", user))
			continue
		}
		hash, err := parseHash(m.Users[user])
		if err != nil {
			errs = append(errs, pagi.BadOption("users", "the password of %q %w; make a hash with htpasswd -nB %s", user, err, user))
			continue
		}
		users[user] = hash
	}
	return users, errors.Join(errs...)
}

// Wrap puts m around next.
func (m BasicAuth) Wrap(next pagi.App) pagi.App {
	authenticate, err := m.authenticator()
	if err != nil {
		return lifespan.Broken(err)
	}
	demand := challenge("Basic", "realm", or(m.Realm, "Restricted"), "charset", "UTF-8")
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if !protects(m.Paths, scope) {
			return next.Serve(ctx, scope, receive, send)
		}
		user, password, ok := request.New(ctx, scope, receive).BasicAuth()
		if ok = ok && user != "" && !hasControl(user) && !hasControl(password); ok {
			var err error
			if ok, err = authenticate(ctx, scope, user, password); err != nil {
				return err
			}
		}
		if !ok {
			return reply.Status(ctx, scope, send, http.StatusUnauthorized, "www-authenticate", demand)
		}
		return next.Serve(ctx, identified(scope, pagi.Auth{Type: "basic", Username: user}, nil), receive, send)
	})
}
