//go:build unix

package cgi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"os"
	"strconv"
	"syscall"

	"github.com/pagi-go/pagi-bridge/internal/spool"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

// requestBody is a request's body: what was taken in before the script starts, and
// what still comes. close must be called.
type requestBody struct {
	receive pagi.Receive
	file    *os.File // what was taken in, where that is too large for memory
	first   []byte   // else that; then the piece that came last
	more    bool
	length  int64 // for CONTENT_LENGTH, -1: not known, or no body
}

// Values of the Chunked option.
const (
	ChunkedSpool  = "spool"
	ChunkedStream = "stream"
	ChunkedRefuse = "refuse"
)

// errLengthRequired is the answer to a body whose length is not known.
var errLengthRequired = &pagi.StatusError{
	Status: http.StatusLengthRequired, Message: "A request body needs a Content-Length here.",
	Err: errors.New("cgi: a request body has no Content-Length (option chunked)"),
}

// beginBody takes the body in until it is complete or as much has come as BodyBuffer
// says, so that a slow client holds no place and no process. A body that is complete
// has a known length; of others it is what Content-Length says. One without that is
// treated as Chunked says.
func (a *app) beginBody(ctx context.Context, scope *pagi.Scope, receive pagi.Receive) (*requestBody, error) {
	b := &requestBody{receive: receive, length: -1}
	announced, has := scope.Headers.Lookup("content-length")
	known := has && !scope.Headers.Has("transfer-encoding")
	limit := a.BodyBuffer
	switch {
	case known:
	case a.Chunked == ChunkedSpool:
		limit = math.MaxInt64
	case a.Chunked == ChunkedRefuse:
		limit = -1 // the first piece shows whether there is a body
	}
	size, err := b.takeIn(ctx, limit)
	if err != nil {
		return nil, fmt.Errorf("cgi: read the request body: %w", err)
	}
	switch {
	case !known && a.Chunked == ChunkedRefuse && (b.more || size > 0):
		b.close()
		return nil, errLengthRequired
	case !b.more && (has || size > 0):
		b.length = size
	case b.more && known:
		if n, err := strconv.ParseUint(announced, 10, 63); err == nil {
			b.length = int64(n)
		}
	}
	return b, nil
}

// takeIn fills file or first. The file has lost its name already.
func (b *requestBody) takeIn(ctx context.Context, limit int64) (size int64, err error) {
	var store spool.Body
	defer func() { err = errors.Join(err, store.Close()) }()
	for b.more = true; b.more; {
		if err := b.next(ctx); err != nil {
			return 0, err
		}
		if _, err := store.Write(b.first); err != nil {
			return 0, err
		}
		if store.Size() >= limit {
			break
		}
	}
	b.first = store.Bytes()
	if store.InFile() {
		b.file, err = store.Open()
	}
	return store.Size(), err
}

func (b *requestBody) close() {
	if b.file != nil {
		_ = b.file.Close() // opened for reading
	}
}

// next puts the next piece into first and more.
func (b *requestBody) next(ctx context.Context) error {
	ev, err := b.receive(ctx)
	if err != nil {
		return err
	}
	piece, is := ev.(pagi.HTTPRequest)
	if !is {
		return request.ErrDisconnected
	}
	b.first, b.more = piece.Body, piece.More
	return nil
}

// eachPiece calls give with all that is in a file, until it returns an error.
func eachPiece(file *os.File, give func([]byte) error) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := file.Read(buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = give(buf[:n])
		}
		if err != nil {
			return err
		}
	}
}

// receive puts a copy of the next piece into body: the script may take its time
// with it when the request is over.
func (r *run) receive(ctx context.Context, body *requestBody) error {
	r.receiving.Lock()
	defer r.receiving.Unlock()
	if r.released {
		return request.ErrDisconnected
	}
	own := body.first[:0]
	if err := body.next(ctx); err != nil {
		return err
	}
	body.first = append(own, body.first...)
	return nil
}

// fill writes what fits into a pipe nobody reads yet and returns the rest, nil
// when that is nothing.
func fill(pipe *os.File, b []byte) ([]byte, error) {
	conn, err := pipe.SyscallConn()
	if err != nil {
		return nil, err
	}
	var werr error
	err = conn.Write(func(fd uintptr) bool {
		for len(b) > 0 && werr == nil {
			var n int
			n, werr = syscall.Write(int(fd), b)
			b = b[max(n, 0):]
			if errors.Is(werr, syscall.EINTR) {
				werr = nil
			}
		}
		return true
	})
	switch {
	case err != nil:
		return nil, err
	case len(b) == 0:
		return nil, nil
	case errors.Is(werr, syscall.EAGAIN):
		return b, nil
	}
	return nil, os.NewSyscallError("write", werr)
}

// feed writes the body to the script: what is in the file, pending, then what comes. A script
// that closed its input, or ended, gets no more; the rest of the body is read and
// thrown away for as long as the script's run lasts, because many clients read no
// answer before they have sent all.
//
// A client that goes away in the middle ends the script, before it could take the
// end of its input for the end of the body.
func (r *run) feed(ctx context.Context, body *requestBody, pending []byte) {
	wanted, fed := true, 0
	give := func(piece []byte) {
		if !wanted || len(piece) == 0 {
			return
		}
		if fed < manyBytes && fed+len(piece) >= manyBytes {
			r.in.Enlarge()
		}
		fed += len(piece)
		if _, err := r.in.Ours().Write(piece); err != nil {
			wanted = false
			if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, os.ErrClosed) {
				r.logger().LogAttrs(ctx, slog.LevelWarn, "write to a script's stdin", slog.Any("error", err))
			}
		}
		r.watch.progress()
	}
	if body.file != nil {
		if err := eachPiece(body.file, func(piece []byte) error { give(piece); return nil }); err != nil {
			r.end(fmt.Errorf("read the request body: %w", err))
			return
		}
	}
	body.first = pending
	for {
		give(body.first)
		if !body.more {
			_ = r.in.Ours().Close() // finish may have been first
			return
		}
		if wanted {
			r.watch.pause()
		}
		err := r.receive(ctx, body)
		if wanted {
			r.watch.resume()
		}
		if err != nil {
			// A response that is complete ends the events of its request too.
			if ctx.Err() == nil && !r.isAnswered() {
				r.end(fmt.Errorf("read the request body: %w", err))
			}
			return
		}
	}
}
