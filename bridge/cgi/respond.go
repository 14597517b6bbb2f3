//go:build unix

package cgi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"

	"github.com/pagi-go/pagi-bridge/internal/proc"
	reasons "github.com/pagi-go/pagi-bridge/internal/refusal"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/internal/slow"
	"github.com/pagi-go/pagi-bridge/internal/spool"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
)

// Serve answers http and lifespan scopes; it declines others.
func (a *app) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type == pagi.TypeLifespan {
		return lifespan.Serve(ctx, receive, send, a.startup, a.shutdown)
	}
	if scope.Type != pagi.TypeHTTP {
		return pagi.Unsupported(scope)
	}
	return a.under(scope.Path).serve(ctx, scope, receive, send)
}

// serve answers with the options of a.
func (a *app) serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	s, err := a.resolve(scope)
	if err != nil {
		var no *refusal
		if errors.As(err, &no) {
			return a.refuse(ctx, scope, send, no)
		}
		return err
	}
	if s.static != "" {
		file := scope.Clone()
		file.Path = s.static
		return a.Files.Serve(ctx, file, receive, send)
	}
	if receive, err = reply.LimitBody(ctx, scope, receive, a.MaxBodySize, a.logger()); err != nil {
		return err
	}
	body, err := a.beginBody(ctx, scope, receive)
	if err != nil {
		return err
	}
	location, err := a.runScript(ctx, scope, s, body, send)
	if no := (*refusal)(nil); errors.As(err, &no) {
		return a.refuse(ctx, scope, send, no)
	}
	if err != nil || location == "" {
		return err
	}
	return a.redirect(ctx, scope, location, receive, send)
}

// startup makes Perl scripts be compiled from now on.
func (a *app) startup(context.Context) error {
	err := a.perl.Start()
	for _, d := range a.mount.directories {
		err = errors.Join(err, d.perl.Start())
	}
	return err
}

// shutdown waits for scripts that still run, those of requests that were cut and those that
// work on after their answer, and ends what is kept for later ones.
func (a *app) shutdown(ctx context.Context) error {
	err := a.mount.later.wait(ctx)
	a.perl.Stop()
	a.root.forget()
	for _, d := range a.mount.directories {
		d.perl.Stop()
		d.root.forget()
	}
	return err
}

// runScript runs s once and sends its response, or returns the location of a
// local redirect. It does not wait for a script that works on after its response.
func (a *app) runScript(ctx context.Context, scope *pagi.Scope, s script, body *requestBody, send pagi.Send) (location string, err error) {
	counters := &a.mount.counters
	counters.requests.Add(1)
	work := beginWork(scope)
	running := slow.Of(scope)
	running.Queued()
	if err := a.acquire(ctx, s.file, a.QueueTimeout); err != nil {
		work.admitted(err)
		counters.notAdmitted(err)
		body.close()
		return "", err
	}
	scope = work.admitted(nil).below(scope)
	r, err := a.start(ctx, scope, s, body)
	if err != nil {
		work.end(err)
		counters.notStarted(err)
		a.release(s.file)
		body.close()
		return "", err
	}
	work.started(r)
	running.Assigned(r.job.Pid())
	ended := a.mount.later.add(r)
	buf := a.buffers.Get().(*[]byte)
	out := &response{run: r, scope: scope, send: send}
	defer func() { err = errors.Join(err, out.store.Close()) }()
	location, err = out.relay(ctx, *buf)
	if err != nil {
		r.end(err)
	}
	if out.complete && !r.job.IsFinished() {
		r.letGo()
		ctx := context.WithoutCancel(ctx)
		go func() { // a.mount.later owns it
			defer ended()
			work.end(a.report(ctx, r, r.conclude(buf), true)) // it is in the log
		}()
		return location, out.deliver(ctx)
	}
	end := r.conclude(buf)
	ended()
	err = a.report(ctx, r, end, out.complete)
	work.end(err)
	if err != nil {
		counters.failed(err, out.died)
		return "", err
	}
	return location, out.deliver(ctx)
}

// ending is how a run ended: how its script did, and why it was made to.
type ending struct {
	exit  proc.Exit
	cause error
}

// conclude finishes the run and gives its buffer and its place back.
func (r *run) conclude(buf *[]byte) ending {
	defer r.app.release(r.script.file)
	defer r.app.buffers.Put(buf)
	exit, cause := r.finish(*buf)
	return ending{exit, cause}
}

// report logs how a run ended whose response was complete, and returns the error
// of one whose response was not.
func (a *app) report(ctx context.Context, r *run, e ending, complete bool) error {
	how, limit := e.exit.String(), r.limitHit(e.exit)
	switch {
	case e.cause != nil && complete:
		r.logger().LogAttrs(ctx, slog.LevelWarn, "script ended after its response was complete",
			slog.Any("cause", e.cause), slog.String("how", how))
	case e.cause != nil && limit != nil && isOfItsAnswer(e.cause):
		return scriptError(r.script.file, r.job.Pid(), limit, how)
	case e.cause != nil:
		return scriptError(r.script.file, r.job.Pid(), e.cause, how)
	case limit != nil:
		r.logger().LogAttrs(ctx, slog.LevelWarn, "script failed after its response was complete",
			slog.Any("cause", limit), slog.String("how", how))
	case e.exit.Status != 0:
		r.logger().LogAttrs(ctx, slog.LevelInfo, "script failed after its response was complete", slog.String("how", how))
	}
	return nil
}

// response passes one script's answer on.
type response struct {
	run      *run
	scope    *pagi.Scope
	send     pagi.Send
	left     int64 // bytes the script's Content-Length still allows; -1: no limit
	excess   int64 // bytes it wrote beyond
	complete bool  // the last event was sent, or all is in store
	died     bool  // the script has ended by itself, not well, before it had sent a head

	head  head       // of what is in store
	store spool.Body // a response that is sent when it is complete
	kept  bool       // there is one
}

// relay reads the script's answer and sends it piece by piece. An error is the
// reason to end the script, unless that has happened already.
func (o *response) relay(ctx context.Context, buf []byte) (location string, err error) {
	r := o.run
	h, rest, err := o.readHead(ctx, buf)
	if err != nil {
		exit, ended := r.settle() // a script that is about to end by itself shows its own exit status
		o.died = ended && exit.Status != 0
		return "", err
	}
	if h.status >= http.StatusInternalServerError {
		r.app.mount.counters.errors.Add(status.Application)
	}
	if h.location != "" {
		err := r.discard(buf)
		r.settle()
		return h.location, err
	}
	return "", o.relayDocument(ctx, h, rest, buf)
}

// readHead reads and parses the head of the answer.
func (o *response) readHead(ctx context.Context, buf []byte) (head, []byte, error) {
	if o.run.script.nph {
		return o.readNPH(ctx, buf)
	}
	block, rest, err := readHead(o.run, buf, o.run.app.HeaderLimit)
	if err != nil {
		return head{}, nil, badGateway(err)
	}
	h, err := parseHead(block)
	if err != nil {
		return head{}, nil, badGateway(err)
	}
	o.tellBroken(ctx, h)
	return h, rest, nil
}

// mostBroken is how many broken header lines of one response are told.
const mostBroken = 5

// tellBroken names the header lines that were left out.
func (o *response) tellBroken(ctx context.Context, h head) {
	for _, err := range h.broken[:min(mostBroken, len(h.broken))] {
		o.run.logger().LogAttrs(ctx, slog.LevelWarn, "a header line of a script is left out", slog.Any("error", err))
	}
}

func (o *response) relayDocument(ctx context.Context, h head, rest, buf []byte) error {
	if limit := o.run.app.OutputSize; limit > 0 && h.length > limit {
		return &limitError{"it announced too much", "output_size", limit, http.StatusBadGateway}
	}
	o.left = h.length
	source := io.Reader(o.run)
	bodiless := o.scope.Method == http.MethodHead || h.status == http.StatusNoContent || h.status == http.StatusNotModified
	if h.chunked && !bodiless {
		var err error
		if source, rest, err = o.dechunk(rest, buf); err != nil {
			return err
		}
	}
	if o.keeps() {
		return o.keep(ctx, h, source, rest, buf, bodiless)
	}
	if !h.chunked && !o.run.script.nph {
		var ended bool
		var err error
		if rest, ended, err = o.run.linger(rest); err != nil {
			return err
		}
		if ended && o.run.job.EndsWithin(endTime) {
			return o.sendWhole(ctx, h, o.clip(rest), bodiless)
		}
	}
	if err := o.emit(ctx, pagi.HTTPResponseStart{Status: h.status, Headers: h.headers}); err != nil {
		return err
	}
	if o.run.script.nph {
		if err := o.emit(ctx, pagi.HTTPResponseBody{More: true}); err != nil { // its head goes out at once
			return err
		}
	}
	for {
		if len(rest) > 0 && !bodiless {
			if rest = o.clip(rest); len(rest) > 0 {
				if err := o.emit(ctx, pagi.HTTPResponseBody{Body: rest, More: true}); err != nil {
					return err
				}
			}
		}
		n, err := source.Read(buf)
		rest = buf[:n]
		if err == nil || n > 0 {
			continue // an error comes again
		}
		if errors.Is(err, io.EOF) {
			break
		}
		return fmt.Errorf("read its output: %w", err)
	}
	if err := o.checkEnd(ctx, bodiless); err != nil {
		return err
	}
	o.run.markAnswered() // first: the client may go as soon as it has the event
	if err := o.emit(ctx, pagi.HTTPResponseBody{}); err != nil {
		return err
	}
	o.complete = true
	return nil
}

// sendWhole sends a response whose script has ended: in one piece, where nothing is
// wrong with it.
func (o *response) sendWhole(ctx context.Context, h head, body []byte, bodiless bool) error {
	if bodiless {
		body = nil
	}
	wrong := o.checkEnd(ctx, bodiless)
	if wrong == nil {
		o.run.markAnswered()
	}
	if err := o.emit(ctx, pagi.HTTPResponseStart{Status: h.status, Headers: h.headers}); err != nil {
		return err
	}
	if wrong != nil && len(body) == 0 {
		return wrong
	}
	if err := o.emit(ctx, pagi.HTTPResponseBody{Body: body, More: wrong != nil}); err != nil {
		return err
	}
	o.complete = wrong == nil
	return wrong
}

var errDied = errors.New("it died while it answered")

// shortError is a response that ended before its Content-Length.
type shortError struct{ missing int64 }

func (e *shortError) Error() string {
	return fmt.Sprintf("its output is %d bytes shorter than its Content-Length", e.missing)
}

// isOfItsAnswer reports whether err says only what was wrong with a script's answer,
// and not why.
func isOfItsAnswer(err error) bool {
	var asked *pagi.StatusError
	var short *shortError
	return errors.Is(err, errDied) || errors.As(err, &short) || errors.As(err, &asked) && asked.Status == http.StatusBadGateway
}

// checkEnd says whether the output may be taken for complete.
func (o *response) checkEnd(ctx context.Context, bodiless bool) error {
	if cause := o.run.endCause(); cause != nil {
		return cause
	}
	if exit, ended := o.run.settle(); ended && exit.Status.Signaled() {
		return errDied
	}
	if !bodiless && o.left > 0 {
		return &shortError{o.left}
	}
	if o.excess > 0 {
		o.run.logger().LogAttrs(ctx, slog.LevelWarn, "script wrote more than its Content-Length", slog.Int64("excess_bytes", o.excess))
	}
	return nil
}

// clip cuts what goes beyond the script's Content-Length.
func (o *response) clip(b []byte) []byte {
	if o.left < 0 {
		return b
	}
	n := min(o.left, int64(len(b)))
	o.left -= n
	o.excess += int64(len(b)) - n
	return b[:n]
}

// emit sends an event; the client's time is not the script's.
func (o *response) emit(ctx context.Context, ev pagi.Event) error {
	o.run.watch.pause()
	defer o.run.watch.resume()
	if err := o.send(ctx, ev); err != nil {
		return fmt.Errorf("send its response: %w", err)
	}
	return nil
}

// discard reads the output to its end.
func (r *run) discard(buf []byte) error {
	for {
		switch _, err := r.Read(buf); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read its output: %w", err)
		}
	}
}

// refuse sends a refusal and tells the log its reason.
func (a *app) refuse(ctx context.Context, scope *pagi.Scope, send pagi.Send, r *refusal) error {
	if r.text != "" {
		file := r.file
		if !filepath.IsAbs(file) {
			file = filepath.Join(a.Root, file)
		}
		a.mount.refused.Tell(ctx, a.logger(), reasons.Reason{
			Status: r.status, Request: scope.RootPath + scope.Path, File: file, Text: r.text, Option: r.option, There: r.there,
		})
	}
	return r.answer(ctx, scope, send)
}

// answer sends a refusal.
func (r *refusal) answer(ctx context.Context, scope *pagi.Scope, send pagi.Send) error {
	switch {
	case r.slash:
		return reply.ToSlash(ctx, scope, send)
	case r.location != "":
		return reply.Status(ctx, scope, send, r.status, "location", r.location)
	}
	return reply.Status(ctx, scope, send, r.status)
}
