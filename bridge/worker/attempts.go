package worker

import "time"

const (
	// tellAgain is how long the same reason for a failed start is not logged again.
	tellAgain = 5 * time.Minute
	// maxBackoff is the longest time between two attempts to start a worker.
	maxBackoff = 30 * time.Second
)

// attempts are the failed starts in a row of workers, or of zygotes.
//
//	none --fail--> failing: no attempt before nextTry --fail--> failing, for twice as long
//	failing --forget--> none
type attempts struct {
	failures int       // failed starts in a row
	nextTry  time.Time // the next attempt to start; valid if failures > 0
	failedAt time.Time // when the last start failed
	reason   string    // why the last start failed
	told     string    // the last reason that was logged
	toldAt   time.Time
}

// isFailing reports whether the last start failed.
func (a *attempts) isFailing() bool { return a.failures > 0 }

// mayTry reports whether the time for another attempt has come.
func (a *attempts) mayTry(now time.Time) bool { return a.failures == 0 || now.After(a.nextTry) }

// fail counts a start that began at since and has failed now. Starts that began side by side count as one attempt.
func (a *attempts) fail(since, now time.Time, reason string) {
	a.reason = reason
	if a.failures == 0 || since.After(a.failedAt) {
		a.failures++
		a.nextTry = now.Add(backoff(a.failures))
	}
	a.failedAt = now
}

// proves reports whether a start at since tells that starts work again. An older one says nothing about the next start.
func (a *attempts) proves(since time.Time) bool { return since.After(a.failedAt) }

// forget ends the row.
func (a *attempts) forget() { a.failures = 0 }

// tells reports whether a reason is to be logged now. The same one is told again only after tellAgain.
func (a *attempts) tells(reason string, now time.Time) bool {
	if reason == a.told && now.Sub(a.toldAt) <= tellAgain {
		return false
	}
	a.told, a.toldAt = reason, now
	return true
}

// backoff returns how long to wait after a number of failed starts in a row.
func backoff(failures int) time.Duration {
	return min(time.Second<<min(failures-1, 5), maxBackoff)
}
