package apps

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// declines reports whether an application has declined an sse scope, which another application of
// the Cascade may serve.
func declines(scope *pagi.Scope, err error) bool {
	return scope.Type == pagi.TypeSSE && errors.Is(err, pagi.ErrUnsupported)
}

// ordinary makes an http scope of an sse scope. A file, and an application of a Cascade that
// declines the sse scope, answer with an ordinary response through it. The applications after it in
// the Cascade keep the sse scope. Where the answer is a file, ordinary reads it, because an sse
// scope has no event for a file.
func ordinary(scope *pagi.Scope, receive pagi.Receive, send pagi.Send) (*pagi.Scope, pagi.Receive, pagi.Send) {
	scope = scope.Clone()
	scope.Type = pagi.TypeHTTP
	return scope, func(ctx context.Context) (pagi.Event, error) {
			ev, err := receive(ctx)
			switch e := ev.(type) {
			case pagi.SSERequest:
				return pagi.HTTPRequest(e), err
			case pagi.SSEDisconnect:
				return pagi.HTTPDisconnect{}, err
			}
			return ev, err
		}, func(ctx context.Context, ev pagi.Event) error {
			switch e := ev.(type) {
			case pagi.HTTPResponseStart:
				return send(ctx, pagi.SSEHTTPResponseStart{Status: e.Status, Headers: e.Headers})
			case pagi.HTTPResponseBody:
				if e.File != "" || e.FH != nil {
					return sendRead(ctx, e, send)
				}
				return send(ctx, pagi.SSEHTTPResponseBody{Body: e.Body, More: e.More})
			case pagi.HTTPResponseInformational, pagi.HTTPResponseTrailers:
				return nil
			}
			return send(ctx, ev)
		}
}

// sendRead reads the file that an event names and sends it in pieces. The last piece completes the
// body, as the event itself would.
func sendRead(ctx context.Context, e pagi.HTTPResponseBody, send pagi.Send) error {
	source := e.FH
	if source == nil {
		f, err := os.Open(e.File)
		if err != nil {
			return fmt.Errorf("http.response.body: 'file': %w", err)
		}
		defer f.Close() // opened for reading: nothing to lose
		source = f
	}
	if e.Offset > 0 {
		seeker, ok := source.(io.Seeker)
		if !ok {
			return &pagi.EventError{Type: e.EventType(), Field: "offset", Problem: "needs an fh that can seek"}
		}
		if _, err := seeker.Seek(e.Offset, io.SeekStart); err != nil {
			return err
		}
	}
	if e.Length != pagi.ToEnd {
		source = io.LimitReader(source, e.Length)
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(source, buf)
		ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !ended {
			return err
		}
		if err := send(ctx, pagi.SSEHTTPResponseBody{Body: buf[:n], More: !ended}); err != nil || ended {
			return err
		}
	}
}
