package status

import "time"

// Space describes a cache and the locks that the applications of a namespace share.
type Space struct {
	Namespace string `json:"namespace"`
	// Entries is the number of values in the cache, Bytes what they take, of Size.
	Entries int   `json:"entries"`
	Bytes   int64 `json:"bytes"`
	Size    int64 `json:"size"`
	// Hits and Misses count the keys that were asked for, Evicted the values that had to make room.
	Hits    int64 `json:"hits"`
	Misses  int64 `json:"misses"`
	Evicted int64 `json:"evicted"`
	// Locks is the number of locks that are held, Waiting of calls that wait for one.
	Locks   int `json:"locks"`
	Waiting int `json:"waiting"`
}

// Service describes a program that runs beside the site.
type Service struct {
	Service string `json:"service"`
	// State is waiting (for another process of the gateway to end its services), running, paused (it has ended and is
	// started again later), stopping, or ended (it is not started again).
	State string    `json:"state"`
	PID   int       `json:"pid,omitempty"`
	Since time.Time `json:"since,omitzero"` // when it was started
	// Restarts is how often it was started again after an end of its own.
	Restarts int `json:"restarts"`
	// LastExit is how it ended last, NextStart when it is started again.
	LastExit  string    `json:"last_exit,omitempty"`
	NextStart time.Time `json:"next_start,omitzero"`
}

// Job describes a job of the site's cron.
type Job struct {
	Job      string `json:"job"`
	Schedule string `json:"schedule"`
	// Next is when it is due.
	Next time.Time `json:"next,omitzero"`
	// PID and Since are those of the run at this moment.
	PID   int       `json:"pid,omitempty"`
	Since time.Time `json:"since,omitzero"`
	// Runs count the runs that have ended, Failures those among them without exit status 0, Skipped the times at which the
	// last run was not over.
	Runs     int `json:"runs"`
	Failures int `json:"failures"`
	Skipped  int `json:"skipped"`
	// LastRun is when the last run that has ended began, LastSeconds how long it took, LastExit how it ended.
	LastRun     time.Time `json:"last_run,omitzero"`
	LastSeconds Seconds   `json:"last_seconds,omitempty"`
	LastExit    string    `json:"last_exit,omitempty"`
}
