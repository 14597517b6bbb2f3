// Package testkit holds what the tests of several packages need: waiting for
// things, a log to look into, raw connections, certificates, files and running
// programs. It imports nothing but the standard library, so that the tests of every
// package may use it.
package testkit

import (
	"testing"
	"time"
)

// Patience is how long a test waits for an event that must happen.
const Patience = 20 * time.Second

// Eventually waits until condition holds and fails the test when it does not in
// time. what completes the sentence "waited in vain for".
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	if !poll(condition) {
		t.Fatalf("waited in vain for %s", what)
	}
}

// poll reports whether condition came to hold in time.
func poll(condition func() bool) bool {
	for deadline := time.Now().Add(Patience); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// Await returns what comes from ch and fails the test when nothing does in time.
func Await[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	return within(t, ch, Patience)
}

// AtOnce is Await for an event that must not wait for a time limit. It waits five seconds, or ten
// with the race detector. That is more than a busy machine needs, and less than the limits that
// would cause the event otherwise (30 s by default).
func AtOnce[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	limit := 5 * time.Second
	if raceEnabled {
		limit = 10 * time.Second
	}
	return within(t, ch, limit)
}

func within[T any](t testing.TB, ch <-chan T, limit time.Duration) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(limit):
		t.Fatal("it did not happen in time")
		panic("unreachable")
	}
}
