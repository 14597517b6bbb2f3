package pagi

// AuthKey is the scope value in which a middleware that has authenticated the
// client says so, an Auth: scope.With(pagi.AuthKey, pagi.Auth{...}). It is the name
// Perl's middleware uses.
const AuthKey = "pagi.auth"

// Auth says who the client is and how that is known.
type Auth struct {
	// Type is the scheme in lower case: "basic", "bearer".
	Type string
	// Username is the user's name; "" where there is none.
	Username string
}

// Auth returns what a middleware stored under AuthKey; ok is false when none has
// authenticated the client.
func (s *Scope) Auth() (auth Auth, ok bool) {
	auth, ok = s.Value(AuthKey).(Auth)
	return auth, ok
}
