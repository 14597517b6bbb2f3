package socket

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// wire is a request on a connection of its own.
type wire struct {
	conn    net.Conn
	r       *bufio.Reader
	method  string
	chunked bool // the request body is

	res   *http.Response // nil: the head of the final response has not come
	left  int64          // bytes of the body that are still to come; negative: not known
	ended bool           // the end of the body was returned
	over  bool           // all was returned
}

func newWire(conn net.Conn, method string) *wire {
	return &wire{conn: conn, r: bufio.NewReader(conn), method: method}
}

// Write implements pagitest.Wire.
func (w *wire) Write(piece []byte) error {
	if len(piece) == 0 {
		return nil
	}
	if w.chunked {
		piece = fmt.Appendf(nil, "%x\r\n%s\r\n", len(piece), piece)
	}
	_, err := w.conn.Write(piece)
	return err
}

// End implements pagitest.Wire.
func (w *wire) End(trailers pagi.Headers) error {
	if !w.chunked {
		return nil
	}
	_, err := w.conn.Write(appendFields([]byte("0\r\n"), trailers))
	return err
}

// Close implements pagitest.Wire.
func (w *wire) Close() error { return w.conn.Close() }

// Next implements pagitest.Wire.
func (w *wire) Next() (pagi.Event, error) {
	switch {
	case w.res == nil:
		return w.nextHead()
	case !w.ended:
		return w.nextPiece()
	case !w.over:
		w.over = true
		if len(w.res.Trailer) > 0 {
			return pagi.HTTPResponseTrailers{Headers: fields(w.res.Trailer)}, nil
		}
	}
	return nil, io.EOF
}

// nextHead returns an interim response or the beginning of the final one.
func (w *wire) nextHead() (pagi.Event, error) {
	h, err := readHead(w.r)
	for err == nil && h.status == http.StatusContinue {
		h, err = readHead(w.r)
	}
	switch {
	case errors.Is(err, io.EOF):
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	case h.status < 200:
		return pagi.HTTPResponseInformational{Status: h.status, Headers: h.headers}, nil
	}
	text := bufio.NewReader(io.MultiReader(strings.NewReader(h.text), w.r))
	if w.res, err = http.ReadResponse(text, &http.Request{Method: w.method}); err != nil {
		return nil, err
	}
	w.left = w.res.ContentLength
	if w.method == http.MethodHead {
		w.left = 0
	}
	h.headers.Del("transfer-encoding") // no header of the application's
	return pagi.HTTPResponseStart{Status: h.status, Headers: h.headers}, nil
}

// nextPiece returns the bytes of the body that have come, or its end.
func (w *wire) nextPiece() (pagi.Event, error) {
	piece := make([]byte, 32<<10)
	for {
		n, err := 0, error(nil)
		if w.left != 0 {
			n, err = w.res.Body.Read(piece)
		}
		w.left -= int64(n)
		if w.left == 0 || err == io.EOF {
			w.ended = true
			return pagi.HTTPResponseBody{Body: piece[:n]}, nil
		}
		if n > 0 {
			return pagi.HTTPResponseBody{Body: piece[:n], More: true}, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// fields returns trailers, whose order http.Response does not keep, by their names.
func fields(trailers http.Header) pagi.Headers {
	var list pagi.Headers
	for _, name := range slices.Sorted(maps.Keys(trailers)) {
		for _, value := range trailers[name] {
			list.Add(name, value)
		}
	}
	return list
}
