package status

import "time"

// Mount describes a mount of a site.
type Mount struct {
	Mount  string `json:"mount"` // its host and path
	Source string `json:"source"`
	Kind   string `json:"kind"`
	// Draining is when the mount was drained: it refuses new requests since then.
	Draining time.Time `json:"draining,omitzero"`
	// Responses are nil for a part of another mount, and where requests are not counted.
	Responses *Responses `json:"responses,omitempty"`
	// Backend is nil where the mount has no processes.
	*Backend
}

// Backend describes the processes of a mount and the requests that they have or wait for. Workers
// and what belongs to them are those of a pool (kind psgi), Scripts and Compiled those of CGI,
// Upstreams those of a proxy.
type Backend struct {
	// Workers are in the order in which they were started.
	Workers []Worker `json:"workers,omitempty"`
	// Zygotes are there with preload: one, and more while it is replaced.
	Zygotes []Zygote `json:"zygotes,omitempty"`
	// Generation counts the reloads of the application, from 1.
	Generation int `json:"generation,omitempty"`
	// Launched is the number of workers started so far.
	Launched int `json:"launched,omitempty"`
	// Circuit says whether requests are let through to the workers: closed (they are), open,
	// half-open.
	Circuit string `json:"circuit,omitempty"`
	// Problem is why the last start of a worker has failed, "" once one has worked.
	Problem string `json:"problem,omitempty"`
	// NextStart is when the next attempt is due, where there is a Problem.
	NextStart time.Time `json:"next_start,omitzero"`

	// Scripts are the runs of scripts at this moment, the oldest first.
	Scripts []Script `json:"scripts,omitempty"`
	// Compiled are the scripts that a process has compiled, and those that were left to exec.
	Compiled []Compiled `json:"compiled,omitempty"`
	// Runs are the runs of scripts since the mount was started; nil where there are no scripts.
	Runs *Runs `json:"runs,omitempty"`

	// Upstreams are the servers behind a proxy, in the order of the option.
	Upstreams []Upstream `json:"upstreams,omitempty"`

	// Running is the number of requests that a worker, a script or an upstream has.
	Running int `json:"running"`
	// Queued is the number of requests that wait for a worker or for a place to run a
	// script, Oldest how long the first of them has waited (pools only).
	Queued int     `json:"queued,omitempty"`
	Oldest Seconds `json:"oldest_seconds,omitempty"`
	// AtOnce is how many workers are given requests at one time while these only compute; 0: all (pools only).
	AtOnce int `json:"at_once,omitempty"`
	// Totals count since the mount was started.
	Totals Totals `json:"totals"`
	// LastHang is the last process that was ended because it took too long.
	LastHang *Hang `json:"last_hang,omitempty"`
}

// Request describes a request that is running.
type Request struct {
	Method string `json:"method"`
	// Path is decoded and begins with the path of the mount. It may have any character in it.
	Path string `json:"path"`
	// ID is what the middleware request_id has given it, "" without one.
	ID    string    `json:"id,omitempty"`
	Since time.Time `json:"since"` // when the process has got it
	// ClientLeft is set where nobody waits for the answer any more.
	ClientLeft bool `json:"client_left,omitempty"`
}

// Worker describes a worker process.
type Worker struct {
	ID    int    `json:"id"`
	PID   int    `json:"pid"`
	State string `json:"state"` // ready, busy, or another one of worker.State
	// Generation counts the reloads before the worker was started, from 1.
	Generation int `json:"generation"`
	// Served is the number of requests it has answered, Inflight of those it has now.
	Served   int       `json:"served"`
	Inflight int       `json:"inflight"`
	Since    time.Time `json:"since"` // when its process was started
	// Resident is the memory of its process that is in use, in bytes; 0 where the system does
	// not tell.
	Resident int64 `json:"resident"`
	// Request is what it is running, nil for nothing. Of a batch it is the first.
	Request *Request `json:"request,omitempty"`
}

// Zygote describes a process that has loaded an application and forks the workers.
type Zygote struct {
	ID  int `json:"id"`
	PID int `json:"pid"`
	// State is starting, ready, retired (it stays for the workers it has forked) or leaving.
	State string `json:"state"`
	// Children is the number of its workers whose end it has not reported.
	Children int       `json:"children"`
	Since    time.Time `json:"since"` // when its process was started
}

// Script describes a run of a script.
type Script struct {
	Script string `json:"script"` // its file
	PID    int    `json:"pid"`
	// Mode is how it is run: exec, fork or persistent.
	Mode  string    `json:"mode"`
	Since time.Time `json:"since"` // when it was started
	// Request is what it answers, nil once the answer is complete and the script works on.
	Request *Request `json:"request,omitempty"`
}

// Runs count the runs of scripts by mode.
type Runs struct {
	Exec       int64 `json:"exec"`
	Fork       int64 `json:"fork"`
	Persistent int64 `json:"persistent"`
}

// Compiled describes a script that was asked for and its process that has compiled it.
type Compiled struct {
	Script string `json:"script"` // its file
	// State is untried, compiling, compiled, or exec (a process is started for each request).
	State string `json:"state"`
	// Reason is why it is run by exec.
	Reason string `json:"reason,omitempty"`
	PID    int    `json:"pid,omitempty"` // of the process that has compiled it
	// Persistent says that its processes answer one request after another.
	Persistent bool `json:"persistent,omitempty"`
	// Processes is the number of its persistent processes, Idle how many of them wait for a
	// request.
	Processes int `json:"processes,omitempty"`
	Idle      int `json:"idle,omitempty"`
	// Requests is how often it was asked for, Used when last.
	Requests int       `json:"requests"`
	Used     time.Time `json:"used"`
}

// Upstream describes a server behind a proxy.
type Upstream struct {
	Address string `json:"address"`
	// State is up, resting (it has failed, and gets a request now and then) or down (its health check
	// fails).
	State string `json:"state"`
	// Sent is the number of requests that were sent to it, Failed of those without an answer, Inflight
	// of those that it has now.
	Sent     int64 `json:"sent"`
	Failed   int64 `json:"failed"`
	Inflight int   `json:"inflight"`
}
