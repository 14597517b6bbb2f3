package pagi

// AuthKey is the key of the scope value in which a middleware stores an Auth once it has
// authenticated the client: scope.With(pagi.AuthKey, pagi.Auth{...}). Perl's middleware uses the
// same name.
const AuthKey = "pagi.auth"

// Auth is the identity of an authenticated client.
type Auth struct {
	// Type is the scheme in lower case: "basic", "bearer".
	Type string
	// Username is the user's name; "" if there is none.
	Username string
}

// Auth returns what a middleware stored under AuthKey; ok is false if no middleware has
// authenticated the client.
func (s *Scope) Auth() (auth Auth, ok bool) {
	auth, ok = s.Value(AuthKey).(Auth)
	return auth, ok
}
