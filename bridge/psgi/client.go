package psgi

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// client is told an answer in the events of its scope's protocol. An application has
// no notion of an sse scope: it answers that one with an ordinary response, too,
// whatever its Content-Type.
type client struct {
	scope *pagi.Scope
	send  pagi.Send
}

func (c client) isSSE() bool { return c.scope.Type == pagi.TypeSSE }

// inform sends an interim response, for which the sse protocol has no event.
func (c client) inform(ctx context.Context, head *wire.Head) error {
	if c.isSSE() {
		return nil
	}
	return c.send(ctx, pagi.HTTPResponseInformational{Status: head.Status, Headers: head.Headers})
}

func (c client) start(ctx context.Context, head *wire.Head) error {
	if c.isSSE() {
		return c.send(ctx, pagi.SSEHTTPResponseStart{Status: head.Status, Headers: head.Headers})
	}
	return c.send(ctx, pagi.HTTPResponseStart{Status: head.Status, Headers: head.Headers})
}

func (c client) body(ctx context.Context, b []byte, more bool) error {
	if c.isSSE() {
		return c.send(ctx, pagi.SSEHTTPResponseBody{Body: b, More: more})
	}
	return c.send(ctx, pagi.HTTPResponseBody{Body: b, More: more})
}

// fileChunk is the size of the pieces a file is sent in where it cannot be sent whole.
const fileChunk = 64 << 10

// file sends a part of a file as the rest of the body.
func (c client) file(ctx context.Context, f *os.File, offset, length int64) error {
	if !c.isSSE() {
		return c.send(ctx, pagi.HTTPResponseBody{FH: f, Offset: offset, Length: length})
	}
	buf := make([]byte, min(length, fileChunk))
	for length > 0 {
		piece := buf[:min(length, fileChunk)]
		if n, err := f.ReadAt(piece, offset); n < len(piece) {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("psgi: the file of the answer: %w", err)
		}
		offset += int64(len(piece))
		length -= int64(len(piece))
		if err := c.body(ctx, piece, length > 0); err != nil {
			return err
		}
	}
	return nil
}
