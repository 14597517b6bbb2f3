// Package conformance holds no code. Its tests run the suites of other projects against the server.
// docs/conformance.md has the results.
package conformance
