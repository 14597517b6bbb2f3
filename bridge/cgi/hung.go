//go:build unix

package cgi

import (
	"log/slog"

	"github.com/pagi-go/pagi-bridge/internal/hung"
	"github.com/pagi-go/pagi-bridge/internal/status"
)

// endHung is end for a script that has passed a time limit. Before the signals it finds out and logs where the script is, in
// hung.Patience at most.
func (r *run) endHung(cause error) {
	r.mu.Lock()
	if r.over || r.cause != nil {
		r.mu.Unlock()
		return
	}
	r.cause = cause
	r.job.Signal(0) // sends nothing, and has the process get no other request
	r.mu.Unlock()
	r.examine(cause)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over && !isClosed(r.killed) {
		r.terminate()
	}
}

// examine finds out and logs where the script is.
func (r *run) examine(cause error) {
	p := hung.Process{PID: r.job.Pid(), HasEnded: func() bool { return isClosed(r.job.Done()) }, Hurry: r.killed}
	if r.compiled {
		p.Signal, p.Inbox = r.app.Signal(), &r.inbox
	}
	h := hung.Examine(p)
	if h.Kernel == nil && len(h.Perl) == 0 && p.HasEnded() {
		return // just now, by itself
	}
	h.Reason, h.Script = cause.Error(), r.script.file
	if !r.isAnswered() {
		h.Request = &status.Request{Method: r.request.method, Path: r.request.root + r.request.path, ID: r.request.id, Since: r.request.since}
	}
	r.app.mount.lastHang.Store(&h)
	mount := r.request.root
	if mount == "" {
		mount = "/"
	}
	hung.Log(r.logger().With(slog.String("mount", mount)), &h)
}
