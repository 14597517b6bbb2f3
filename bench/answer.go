package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"time"
)

// head has the parts of an answer's head that the load generator needs.
type head struct {
	status  int
	length  int64 // -1: to the end of the connection
	chunked bool
	closes  bool
}

// readHead reads a status line and headers.
func readHead(in *bufio.Reader) (h head, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return h, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return h, fmt.Errorf("a status line %q", line)
	}
	if h.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return h, fmt.Errorf("a status line %q", line)
	}
	h.length = -1
	if h.status == 204 || h.status == 304 {
		h.length = 0
	}
	for {
		if line, err = in.ReadSlice('\n'); err != nil {
			return h, unexpected(err)
		}
		name, value, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		if len(name) == 0 {
			h.closes = h.closes || h.length < 0 && !h.chunked
			return h, nil
		}
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if h.length, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return h, err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			h.chunked = true
		case bytes.EqualFold(name, []byte("Connection")):
			h.closes = bytes.EqualFold(value, []byte("close"))
		}
	}
}

// skipBody reads the body and throws it away. With slowly it reads at the pace of a slow client.
func (h *head) skipBody(in *bufio.Reader, slowly bool) error {
	if !h.chunked {
		if h.length < 0 {
			_, err := io.Copy(io.Discard, in)
			return err
		}
		return skip(in, h.length, slowly)
	}
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return unexpected(err)
		}
		size, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 64)
		if err != nil {
			return fmt.Errorf("a chunk size: %w", err)
		}
		if err := skip(in, size+2, slowly); err != nil { // with its CRLF; there are no trailers
			return err
		}
		if size == 0 {
			return nil
		}
	}
}

func skip(in *bufio.Reader, n int64, slowly bool) error {
	for n > 0 {
		piece := n
		if slowly {
			piece = min(n, 64<<10)
		}
		got, err := in.Discard(int(piece))
		n -= int64(got)
		if err != nil {
			return unexpected(err)
		}
		if slowly && n > 0 {
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
