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
	*wholeBodies
	method string // of the request
	out    outgoing

	mu     sync.Mutex
	start  pagi.HTTPResponseStart
	waits  bool // start is held back; otherwise it has left, or has not come yet
	pieces []byte
}

// wholeBodies are what the responses of all requests have in common.
type wholeBodies struct {
	limit int                               // how many bytes of pieces are held back
	wants func(pagi.HTTPResponseStart) bool // whether a start is held back
	// finish changes the start of a whole body, in answer to a request with a method.
	finish func(start *pagi.HTTPResponseStart, method string, body []byte)
}

// serve calls the rest of a passage.
func (b *wholeBodies) serve(ctx context.Context, p passage, next pagi.App) error {
	w := &wholeBody{wholeBodies: b, method: p.scope.Method, out: p.outgoing}
	if err := next.Serve(ctx, p.scope, p.receive, w.event); err != nil {
		return err
	}
	return w.unfinished(ctx)
}

func (w *wholeBody) event(ctx context.Context, ev pagi.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e, is := ev.(pagi.HTTPResponseStart); is && !w.waits && !e.Trailers && w.wants(e) {
		// The application may use its headers again once Send has returned.
		e.Headers = withRoom(e.Headers, 1+w.out.adds)
		w.start, w.waits = e, true
		return nil
	}
	if !w.waits {
		return w.out.event(ctx, ev)
	}
	e, is := ev.(pagi.HTTPResponseBody)
	switch {
	case !is || e.File != "" || e.FH != nil || e.More && len(w.pieces)+len(e.Body) > w.limit:
		if err := w.release(ctx); err != nil {
			return err
		}
		return w.out.event(ctx, ev)
	case e.More:
		w.pieces = append(w.pieces, e.Body...)
		return nil
	}
	if len(w.pieces) > 0 {
		e.Body, w.pieces = append(w.pieces, e.Body...), nil
		ev = e
	}
	w.finish(&w.start, w.method, e.Body)
	if err := w.release(ctx); err != nil {
		return err
	}
	return w.out.event(ctx, ev)
}

// release sends the start and the pieces that are held back.
func (w *wholeBody) release(ctx context.Context) error {
	if !w.waits {
		return nil
	}
	start, pieces := w.start, w.pieces
	w.start, w.waits, w.pieces = pagi.HTTPResponseStart{}, false, nil
	if err := w.out.begin(ctx, start); err != nil || len(pieces) == 0 {
		return err
	}
	return w.out.event(ctx, pagi.HTTPResponseBody{Body: pieces, More: true})
}

// unfinished is release for an application that has returned without ending its body.
func (w *wholeBody) unfinished(ctx context.Context) error {
	if !w.mu.TryLock() {
		return nil // another goroutine of the application is still sending
	}
	defer w.mu.Unlock()
	return w.release(ctx)
}
