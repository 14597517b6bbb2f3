package pagitest

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// send is the application's Send in memory.
func (e *local) send(ctx context.Context, ev pagi.Event) error {
	select {
	case <-e.gone:
		return nil
	default:
	}
	completed, leaving, size, err := e.record(ev)
	if err != nil {
		return err
	}
	if e.backlog != nil {
		e.backlog.put(ev, size)
		err = e.backlog.settle(ctx, completed, e.gone)
	}
	if completed && err == nil {
		e.complete()
		e.doneOnce.Do(func() { close(e.done) })
	}
	if e.backlog == nil {
		select {
		case e.sent <- delivery{ev, leaving}:
		case <-e.gone:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		select {
		case <-e.gone: // which has ended ctx, too
			return nil
		default:
			return err
		}
	}
	switch _, declined := ev.(pagi.SSEHTTPResponseBody); {
	case completed && declined:
		e.cancel(&pagi.DisconnectError{Reason: pagi.ReasonClientClosed}) // the connection has ended with it
	case leaving:
		e.disconnect(e.leave.reason)
	}
	return nil
}

// record checks ev and adds it to the response. completed says that the event was the last one,
// leaving that the client leaves after it. size is how many bytes of the body it has brought.
func (e *local) record(ev pagi.Event) (completed, leaving bool, size int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	defer func() {
		if err != nil && e.res.Err == nil {
			e.res.Err = err
		}
	}()
	if err := e.seq.check(ev); err != nil {
		return false, false, 0, err
	}
	before := len(e.res.Body)
	switch v := ev.(type) {
	case pagi.HTTPResponseInformational:
		e.res.Informational = append(e.res.Informational, v)
	case pagi.HTTPResponseStart:
		e.res.Status, e.res.Headers = v.Status, v.Headers.Clone()
		e.control.Start()
	case pagi.HTTPResponseBody:
		if err := e.recordBody(v); err != nil {
			return false, false, 0, err
		}
	case pagi.HTTPResponseTrailers:
		e.res.Trailers = v.Headers.Clone()
	default:
		if err := e.recordSSE(ev); err != nil {
			return false, false, 0, err
		}
	}
	e.res.Events = append(e.res.Events, ev)
	size = max(0, len(e.res.Body)-before)
	leaving, excess := e.leave.isNow(size)
	if excess > 0 {
		e.res.dropLast(excess)
	}
	completed = e.seq.complete() && excess == 0
	return completed, leaving && !completed, size, nil
}

func (e *local) recordBody(v pagi.HTTPResponseBody) error {
	chunk, err := bytesOf(v)
	if err != nil {
		return err
	}
	if err := e.seq.body(int64(len(chunk)), !v.More || v.File != "" || v.FH != nil); err != nil {
		return err
	}
	if e.Scope.Method != "HEAD" && len(chunk) > 0 {
		e.res.Body = append(e.res.Body, chunk...)
		e.res.Chunks = append(e.res.Chunks, chunk)
	}
	return nil
}

// bytesOf returns a copy of the bytes of a body event.
func bytesOf(v pagi.HTTPResponseBody) ([]byte, error) {
	r := v.FH
	switch {
	case v.File != "":
		f, err := os.Open(v.File)
		if err != nil {
			return nil, fmt.Errorf("http.response.body: %w", err)
		}
		defer f.Close()
		r = f
	case v.FH == nil:
		return append([]byte(nil), v.Body...), nil
	}
	if v.Offset > 0 {
		seeker, ok := r.(io.Seeker)
		if !ok {
			return nil, &pagi.EventError{Type: v.EventType(), Field: "offset", Problem: "needs an fh that can seek"}
		}
		if _, err := seeker.Seek(v.Offset, io.SeekStart); err != nil {
			return nil, fmt.Errorf("http.response.body: %w", err)
		}
	}
	if v.Length != pagi.ToEnd {
		r = io.LimitReader(r, v.Length)
	}
	chunk, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("http.response.body: %w", err)
	}
	return chunk, nil
}
