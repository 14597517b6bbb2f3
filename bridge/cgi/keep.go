//go:build unix

package cgi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// keeps reports whether the response is sent only when it is complete.
func (o *response) keeps() bool {
	buffer := o.run.app.BufferOutput
	return buffer != nil && *buffer && !o.run.script.nph
}

// keep takes the whole response in. Nothing of it is sent yet, so what is wrong with
// it can still be told by a status.
func (o *response) keep(ctx context.Context, h head, source io.Reader, rest, buf []byte, bodiless bool) error {
	for {
		if _, err := o.store.Write(o.clip(rest)); err != nil {
			return err
		}
		n, err := source.Read(buf)
		if rest = buf[:n]; n > 0 {
			continue // an error comes again
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if h.chunked {
			return badGateway(fmt.Errorf("it announced a chunked body, but: %w", err))
		}
		return fmt.Errorf("read its output: %w", err)
	}
	if err := o.checkEnd(ctx, bodiless); err != nil {
		if short := (*shortError)(nil); errors.Is(err, errDied) || errors.As(err, &short) {
			return badGateway(err)
		}
		return err
	}
	if h.length < 0 && h.status != 204 && h.status != 304 {
		h.headers.Add("content-length", strconv.FormatInt(o.store.Size(), 10))
	}
	o.run.markAnswered()
	o.head, o.kept, o.complete = h, true, true
	return nil
}

// deliver sends what keep has taken in. The script holds no place any more.
func (o *response) deliver(ctx context.Context) error {
	if !o.kept {
		return nil
	}
	if err := o.send(ctx, pagi.HTTPResponseStart{Status: o.head.status, Headers: o.head.headers}); err != nil {
		return err
	}
	if o.scope.Method == "HEAD" || o.head.status == 204 || o.head.status == 304 {
		return o.send(ctx, pagi.HTTPResponseBody{})
	}
	if !o.store.InFile() {
		return o.send(ctx, pagi.HTTPResponseBody{Body: o.store.Bytes()})
	}
	file, err := o.store.Open()
	if err != nil {
		return err
	}
	defer file.Close() // opened for reading
	return o.send(ctx, pagi.HTTPResponseBody{FH: file, Length: pagi.ToEnd})
}
