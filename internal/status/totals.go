package status

import "time"

// Totals count since a mount was started. A reload of the site file starts its mounts anew; a
// reload of a mount's application alone does not.
type Totals struct {
	// Requests is the number of requests that have asked for a worker or a script.
	Requests int64 `json:"requests"`
	// Errors are the failed ones of them, by class.
	Errors Errors `json:"errors"`
	// Restarts are the workers that have ended and are replaced, by cause (pools only).
	Restarts Restarts `json:"restarts"`
	// LastRestart is the last one of them, nil for none.
	LastRestart *Restart `json:"last_restart,omitempty"`
	// FailedStarts is the number of workers whose start came to nothing: they have ended before
	// they were ready, or soon after it without having served a request.
	FailedStarts int64 `json:"failed_starts"`
	// Waits is how often a request has been in the queue for a worker, or for a place to run a
	// script, Waited how long in all.
	Waits  int64   `json:"waits"`
	Waited Seconds `json:"waited_seconds"`
	// WaitsByTime are the waits by their length.
	WaitsByTime WaitTimes `json:"waits_by_time,omitzero"`
}

// Errors count the requests that have failed, by class.
type Errors struct {
	// Application is the number of answers with a status of 500 or more that the application
	// or script has given itself, exceptions included.
	Application int64 `json:"application"`
	// Invalid is the number of answers that were no response, or were broken off by the
	// application.
	Invalid int64 `json:"invalid"`
	// Died is the number of requests whose process has ended before the answer was complete.
	Died int64 `json:"died"`
	// TimedOut is the number of requests whose process was ended by a time limit.
	TimedOut int64 `json:"timed_out"`
	// Limit is the number of requests whose script was ended by a limit other than of time.
	Limit int64 `json:"limit"`
	// QueueFull and QueueTimeout are the numbers of requests that were refused because too
	// many waited already, or that have waited too long.
	QueueFull    int64 `json:"queue_full"`
	QueueTimeout int64 `json:"queue_timeout"`
	// Unavailable is the number of requests for which no process could be started, or that
	// came while the mount was being stopped.
	Unavailable int64 `json:"unavailable"`
	// Refused is the number of requests that were turned down for what they contain.
	Refused int64 `json:"refused"`
}

// Sum returns the number of all errors.
func (e Errors) Sum() int64 {
	return e.Application + e.Invalid + e.Died + e.TimedOut + e.Limit + e.QueueFull + e.QueueTimeout + e.Unavailable + e.Refused
}

// Restart tells of a worker that was replaced.
type Restart struct {
	// Cause is the name of a field of Restarts.
	Cause string    `json:"cause"`
	At    time.Time `json:"at"`
}

// Restarts count the workers that were replaced, by cause.
type Restarts struct {
	// Died is the number of those that have ended by themselves or broken the protocol,
	// Exited of those that have told beforehand that they end.
	Died   int64 `json:"died"`
	Exited int64 `json:"exited"`
	// TimedOut is the number of those that were killed for a time limit.
	TimedOut int64 `json:"timed_out"`
	// MaxRequests, MaxAge and MaxRSS are the options of these names.
	MaxRequests int64 `json:"max_requests"`
	MaxAge      int64 `json:"max_age"`
	MaxRSS      int64 `json:"max_rss"`
	// Reload is the number of those that were replaced by a reload of the application.
	Reload int64 `json:"reload"`
}

// Sum returns the number of all restarts.
func (r Restarts) Sum() int64 {
	return r.Died + r.Exited + r.TimedOut + r.MaxRequests + r.MaxAge + r.MaxRSS + r.Reload
}
