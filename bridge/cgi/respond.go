//go:build unix

package cgi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"syscall"

	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/internal/spool"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Serve answers http, sse and lifespan scopes; it declines others.
func (a *app) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type == pagi.TypeLifespan {
		return pagi.ServeLifespan(ctx, receive, send, a.startup, a.shutdown)
	}
	if scope.Type != pagi.TypeHTTP && scope.Type != pagi.TypeSSE {
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
			return no.answer(ctx, scope, send)
		}
		return err
	}
	if s.static != "" {
		file := scope.Clone()
		file.Path = s.static
		return a.Files.Serve(ctx, file, receive, send)
	}
	body, err := a.beginBody(ctx, scope, receive)
	if err != nil {
		return err
	}
	location, err := a.runScript(ctx, scope, s, body, send)
	if no := (*refusal)(nil); errors.As(err, &no) {
		return no.answer(ctx, scope, send)
	}
	if err != nil || location == "" {
		return err
	}
	return a.redirect(ctx, scope, location, receive, send)
}

// startup makes Perl scripts be compiled from now on.
func (a *app) startup(context.Context) error {
	err := a.fast.start()
	for _, d := range a.directories {
		err = errors.Join(err, d.fast.start())
	}
	return err
}

// shutdown waits for scripts that work on, and ends what is kept for later ones.
func (a *app) shutdown(ctx context.Context) error {
	err := a.later.wait(ctx)
	a.fast.stop()
	for _, d := range a.directories {
		d.fast.stop()
	}
	return err
}

// runScript runs s once and sends its response, or returns the location of a
// local redirect. It does not wait for a script that works on after its response.
func (a *app) runScript(ctx context.Context, scope *pagi.Scope, s script, body *requestBody, send pagi.Send) (location string, err error) {
	if err := a.acquire(ctx, s); err != nil {
		body.close()
		return "", err
	}
	r, err := a.start(ctx, scope, s, body)
	if err != nil {
		a.release(s)
		body.close()
		return "", err
	}
	buf := a.buffers.Get().(*[]byte)
	out := &response{run: r, scope: scope, send: send}
	defer func() { err = errors.Join(err, out.store.Close()) }()
	location, err = out.relay(ctx, *buf)
	if err != nil {
		r.end(err)
	}
	if out.complete && !r.hasEnded() {
		r.letGo()
		ctx := context.WithoutCancel(ctx)
		a.later.take(r, func() { _ = a.report(ctx, r, r.conclude(buf), true) }) // it is in the log
	} else if err := a.report(ctx, r, r.conclude(buf), out.complete); err != nil {
		return "", err
	}
	return location, out.deliver(ctx)
}

// ending is how a run ended: the script's status, and why it was made to end.
type ending struct {
	status syscall.WaitStatus
	cause  error
}

// conclude finishes the run and gives its buffer and its place back.
func (r *run) conclude(buf *[]byte) ending {
	defer r.app.release(r.script)
	defer r.app.buffers.Put(buf)
	status, cause := r.finish(*buf)
	return ending{status, cause}
}

// report logs how a run ended whose response was complete, and returns the error
// of one whose response was not.
func (a *app) report(ctx context.Context, r *run, e ending, complete bool) error {
	how, limit := describe(e.status), r.limitHit(e.status)
	switch {
	case e.cause != nil && complete:
		r.log.LogAttrs(ctx, slog.LevelWarn, "script ended after its response was complete",
			slog.Any("cause", e.cause), slog.String("how", how))
	case e.cause != nil && limit != nil && isOfItsAnswer(e.cause):
		return scriptError(r.script.file, r.proc.pid, limit, how)
	case e.cause != nil:
		return scriptError(r.script.file, r.proc.pid, e.cause, how)
	case limit != nil:
		r.log.LogAttrs(ctx, slog.LevelWarn, "script failed after its response was complete",
			slog.Any("cause", limit), slog.String("how", how))
	case e.status != 0:
		r.log.LogAttrs(ctx, slog.LevelInfo, "script failed after its response was complete", slog.String("how", how))
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
		r.settle() // a script that is about to end by itself shows its own exit status
		return "", err
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
	return h, rest, nil
}

func (o *response) relayDocument(ctx context.Context, h head, rest, buf []byte) error {
	if limit := o.run.app.OutputSize; limit > 0 && h.length > limit {
		return &limitError{"it announced too much", "output_size", limit, http.StatusBadGateway}
	}
	o.left = h.length
	source := io.Reader(o.run)
	if h.chunked {
		source, rest = dechunk(rest, source), nil
	}
	bodiless := o.scope.Method == http.MethodHead || h.status == http.StatusNoContent || h.status == http.StatusNotModified
	if o.keeps() {
		return o.keep(ctx, h, rest, buf, bodiless)
	}
	if !h.chunked && !o.run.script.nph {
		var ended bool
		if rest, ended = o.run.linger(rest); ended && o.run.proc.exitsWithin(endTime) {
			return o.sendWhole(ctx, h, o.clip(rest), bodiless)
		}
	}
	if err := o.emit(ctx, o.startEvent(h)); err != nil {
		return err
	}
	if o.run.script.nph {
		if err := o.emit(ctx, o.bodyEvent(nil, true)); err != nil { // its head goes out at once
			return err
		}
	}
	for {
		if len(rest) > 0 && !bodiless {
			if rest = o.clip(rest); len(rest) > 0 {
				if err := o.emit(ctx, o.bodyEvent(rest, true)); err != nil {
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
	if err := o.emit(ctx, o.bodyEvent(nil, false)); err != nil {
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
	if err := o.emit(ctx, o.startEvent(h)); err != nil {
		return err
	}
	if wrong != nil && len(body) == 0 {
		return wrong
	}
	if err := o.emit(ctx, o.bodyEvent(body, wrong != nil)); err != nil {
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
	if status, ended := o.run.settle(); ended && status.Signaled() {
		return errDied
	}
	if !bodiless && o.left > 0 {
		return &shortError{o.left}
	}
	if o.excess > 0 {
		o.run.log.LogAttrs(ctx, slog.LevelWarn, "script wrote more than its Content-Length", slog.Int64("excess_bytes", o.excess))
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

// startEvent begins a response. A script has no notion of an sse scope: it answers
// that one with an ordinary response too, whatever its Content-Type.
func (o *response) startEvent(h head) pagi.Event {
	if o.scope.Type == pagi.TypeSSE {
		return pagi.SSEHTTPResponseStart{Status: h.status, Headers: h.headers}
	}
	return pagi.HTTPResponseStart{Status: h.status, Headers: h.headers}
}

func (o *response) bodyEvent(b []byte, more bool) pagi.Event {
	if o.scope.Type == pagi.TypeSSE {
		return pagi.SSEHTTPResponseBody{Body: b, More: more}
	}
	return pagi.HTTPResponseBody{Body: b, More: more}
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

// answer sends a refusal.
func (r *refusal) answer(ctx context.Context, scope *pagi.Scope, send pagi.Send) error {
	if r.location != "" {
		return reply.Status(ctx, scope, send, r.status, "location", r.location)
	}
	return reply.Status(ctx, scope, send, r.status)
}
