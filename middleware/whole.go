package middleware

import (
	"context"
	"sync"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// wholeBody holds a response's start back until its body is known. A body that turns out larger
// than limit, one that the application flushes, a file, and one with trailers are released as they
// came.
type wholeBody struct {
	limit  int                                              // how many bytes of pieces are held back
	wants  func(pagi.HTTPResponseStart) bool                // whether a start is held back
	finish func(start *pagi.HTTPResponseStart, body []byte) // changes the start of a whole body
	send   pagi.Send

	mu    sync.Mutex
	start *pagi.HTTPResponseStart // held back; nil: it has left, or has not come yet
	held  []byte
}

func (w *wholeBody) event(ctx context.Context, ev pagi.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e, is := ev.(pagi.HTTPResponseStart); is && w.start == nil && !e.Trailers && w.wants(e) {
		// The application may use its headers again once Send has returned.
		held := e
		held.Headers = e.Headers.Clone()
		w.start = &held
		return nil
	}
	if w.start == nil {
		return w.send(ctx, ev)
	}
	e, is := ev.(pagi.HTTPResponseBody)
	switch {
	case !is || e.File != "" || e.FH != nil || e.More && len(w.held)+len(e.Body) > w.limit:
		if err := w.release(ctx); err != nil {
			return err
		}
		return w.send(ctx, ev)
	case e.More:
		w.held = append(w.held, e.Body...)
		return nil
	}
	if len(w.held) > 0 {
		e.Body, w.held = append(w.held, e.Body...), nil
	}
	w.finish(w.start, e.Body)
	if err := w.release(ctx); err != nil {
		return err
	}
	return w.send(ctx, e)
}

// release sends the start and the pieces that are held back.
func (w *wholeBody) release(ctx context.Context) error {
	if w.start == nil {
		return nil
	}
	start, held := *w.start, w.held
	w.start, w.held = nil, nil
	if err := w.send(ctx, start); err != nil || len(held) == 0 {
		return err
	}
	return w.send(ctx, pagi.HTTPResponseBody{Body: held, More: true})
}

// unfinished is release for an application that has returned without ending its body.
func (w *wholeBody) unfinished(ctx context.Context) error {
	if !w.mu.TryLock() {
		return nil // another goroutine of the application is still sending
	}
	defer w.mu.Unlock()
	return w.release(ctx)
}
