package psgi

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/pagi-go/pagi-bridge/bridge/internal/answerfile"
	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

// serve answers a request.
func (a *app) serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if a.pool == nil {
		return errors.New("psgi: the workers were not started; the application must be served with a lifespan")
	}
	r := jobs.Get().(*job)
	defer func() {
		if err := r.done(); err != nil {
			a.opt.Logger.Warn("psgi: clean up after a request", "mount", a.opt.Name, "error", err)
		}
	}()
	receive, err := reply.LimitBody(ctx, scope, receive, a.opt.MaxBodySize, a.opt.Logger)
	if err != nil {
		return err
	}
	if err := r.readBody(ctx, receive, a.pool); err != nil {
		if errors.Is(err, request.ErrDisconnected) {
			return nil // no client is left to answer, and the server has logged it
		}
		return err
	}
	if t := scope.Trace(); t != nil {
		return a.askTraced(ctx, t, r, scope, send)
	}
	r.encode(scope, &a.names)
	answer, err := a.pool.Do(&r.pool)
	if err != nil {
		return a.refusal(err)
	}
	defer answer.Close()
	return a.relay(ctx, answer, scope, send)
}

// relay sends a worker's answer to the client.
func (a *app) relay(ctx context.Context, answer *pool.Answer, scope *pagi.Scope, send pagi.Send) error {
	if a.banner != nil {
		send = a.banner.on(scope, send)
	}
	return a.forward(ctx, answer, client{scope, send})
}

// forward sends a worker's answer to the client while it arrives.
func (a *app) forward(ctx context.Context, answer *pool.Answer, to client) error {
	var coding *dechunker // set if the application framed the body itself
	length := announced{left: -1}
	started := false
	for {
		piece, err := answer.Next(ctx)
		if err != nil {
			var gone *pagi.DisconnectError
			if errors.As(err, &gone) || errors.Is(err, context.Canceled) {
				return nil // Answer.Close tells the worker
			}
			if started {
				return fmt.Errorf("psgi: the answer was cut: %w", err)
			}
			return a.failure(ctx, err, to)
		}
		switch {
		case piece.Informational:
			if err = to.inform(ctx, piece.Head); err != nil {
				return err
			}
			continue
		case piece.Head != nil:
			started = true
			chunked, err := isChunked(&piece.Head.Headers)
			if err != nil {
				return err
			}
			if chunked {
				coding = &dechunker{}
				if err := coding.take(&piece); err != nil {
					return err
				}
			}
			tidy(&piece.Head.Headers)
			length = announcedBy(piece.Head, to.scope)
			if err = to.start(ctx, piece.Head); err != nil {
				return err
			}
		case !started:
			return &pagi.StatusError{Status: 502, Message: "Bad Gateway", Err: errors.New("psgi: the worker sent a body without a head")}
		}
		if piece.File != nil {
			if n := length.take(piece.File.Length); n < piece.File.Length {
				piece.File.Length = n
				noteExcess(a.opt.Logger, a.opt.Name, to.scope)
			}
			return sendFile(ctx, &piece, to)
		}
		if coding != nil && piece.Head == nil {
			if err := coding.take(&piece); err != nil {
				return err
			}
		}
		n := length.take(int64(len(piece.Body)))
		if n < int64(len(piece.Body)) { // Answer.Close tells the worker
			piece.Body, piece.Last = piece.Body[:n], true
			noteExcess(a.opt.Logger, a.opt.Name, to.scope)
		}
		if piece.Last || len(piece.Body) > 0 {
			err = to.body(ctx, piece.Body, !piece.Last)
			if err != nil || !to.hasTaken(ctx, piece.Last) {
				answer.KeepBody()
			}
			if err != nil || piece.Last {
				return err
			}
		}
	}
}

// sendFile sends the file with which the application answered.
func sendFile(ctx context.Context, piece *pool.Piece, to client) (err error) {
	ref, f := piece.File, piece.Open
	defer func() {
		if f != nil {
			_ = f.Close() // only read from
		}
	}()
	switch {
	case ref.Length == 0:
		return to.body(ctx, nil, false)
	case f == nil:
		f, err = answerfile.Open(*ref)
	default:
		_, err = answerfile.Check(f)
	}
	if err != nil {
		return fmt.Errorf("psgi: %w", err)
	}
	return to.file(ctx, f, ref.Offset, ref.Length)
}

// refusal returns the error for a request that no worker could take.
func (a *app) refusal(err error) error {
	switch {
	case errors.Is(err, wire.ErrNUL): // %00 in the path
		return &pagi.StatusError{Status: 400, Message: "Bad Request", Err: err}
	case errors.Is(err, wire.ErrTooLarge):
		return &pagi.StatusError{Status: 431, Message: "Request Header Fields Too Large", Err: err}
	}
	seconds := int(a.pool.RetryAfter().Seconds() + 0.5)
	return &pagi.StatusError{
		Status:  503,
		Message: "Service Unavailable",
		Headers: pagi.NewHeaders("retry-after", strconv.Itoa(max(seconds, 1))),
		Err:     fmt.Errorf("psgi: %w", err),
	}
}

// failure returns the error for a request that has failed in its worker. In development it answers
// some of them with a page itself.
func (a *app) failure(ctx context.Context, err error, to client) error {
	var abort *pool.AbortError
	switch {
	case errors.As(err, &abort):
		if a.development {
			a.opt.Logger.Error("psgi: "+abort.Error(), "mount", a.opt.Name)
			return errorPage(ctx, abort, to)
		}
		return &pagi.StatusError{Status: abortStatus(abort.Kind), Message: statusText(abortStatus(abort.Kind)), Err: fmt.Errorf("psgi: %w", err)}
	case errors.Is(err, pool.ErrTimeout):
		return &pagi.StatusError{Status: 504, Message: "Gateway Timeout", Err: fmt.Errorf("psgi: %w", err)}
	case errors.Is(err, pool.ErrQueueTimeout), errors.Is(err, pool.ErrNoWorkers), errors.Is(err, pool.ErrClosed),
		errors.Is(err, wire.ErrNUL), errors.Is(err, wire.ErrTooLarge):
		return a.refusal(err)
	}
	return &pagi.StatusError{Status: 502, Message: "Bad Gateway", Err: fmt.Errorf("psgi: %w", err)}
}

func abortStatus(kind int) int {
	if kind == wire.AbortDied {
		return 500
	}
	return 502
}

func statusText(status int) string {
	if status == 500 {
		return "Internal Server Error"
	}
	return "Bad Gateway"
}
