// Package conformance holds no code: its tests run other people's suites against the
// server. docs/conformance.md has what came of it.
package conformance
