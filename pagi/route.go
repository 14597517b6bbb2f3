package pagi

// Route describes a route of a router. Scope values have the one that has matched, under the key
// "pagi.router"; see package scopekey.
type Route struct {
	// Kind is TypeHTTP, TypeWebSocket, TypeSSE, or RouteMount for an application with all paths below a
	// prefix.
	Kind string
	// Method is the HTTP method; "" stands for any.
	Method string
	// Pattern is the pattern of the path: "/users/{id}". Below another router it has the prefix of the
	// mount in front.
	Pattern string
	// Name is the name for URLs; "" if there is none.
	Name string
}

// RouteMount is the Kind of a Route that is a mount.
const RouteMount = "mount"
