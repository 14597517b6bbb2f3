//go:build unix

package cgi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http/httputil"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Values of the NPH option.
const (
	NPHAuto = "auto" // by the script's name
	NPHOn   = "on"
	NPHOff  = "off"
)

// maxInterim is how many interim responses an NPH script may send.
const maxInterim = 100

// isNPH reports whether file is a "no parsed headers" script (RFC 3875 section 5).
func (a *app) isNPH(file string) bool {
	return a.NPH == NPHOn || a.NPH == NPHAuto && strings.HasPrefix(filepath.Base(file), "nph-")
}

// readNPH reads the status line and the header of an NPH script. What comes before
// the final response goes out as interim responses, where the client can have them.
func (o *response) readNPH(ctx context.Context, buf []byte) (head, []byte, error) {
	source := io.Reader(o.run)
	for range maxInterim {
		block, rest, err := readHead(source, buf, o.run.app.HeaderLimit)
		if err != nil {
			return head{}, nil, badGateway(err)
		}
		h, err := parseNPH(block)
		if err != nil {
			return head{}, nil, badGateway(err)
		}
		o.tellBroken(ctx, h)
		if h.status >= 200 {
			return h, rest, nil
		}
		if h.status > 100 && o.scope.Type == pagi.TypeHTTP && o.scope.HasExtension(pagi.ExtInformational) {
			if err := o.emit(ctx, pagi.HTTPResponseInformational{Status: h.status, Headers: h.headers}); err != nil {
				return head{}, nil, err
			}
		}
		source = io.MultiReader(bytes.NewReader(bytes.Clone(rest)), o.run)
	}
	return head{}, nil, badGateway(fmt.Errorf("it sent more than %d interim responses", maxInterim))
}

// parseNPH parses a response head as HTTP/1 has it (RFC 9112 section 2.1). No field
// has a meaning of its own but those that say where the body ends. A broken line is left out.
func parseNPH(block []byte) (head, error) {
	h := head{length: -1}
	first, fields, _ := bytes.Cut(block, []byte("\n"))
	var err error
	if h.status, err = parseStatusLine(string(bytes.TrimSuffix(first, []byte("\r")))); err != nil {
		return h, err
	}
	if bytes.Count(fields, []byte("\n")) > maxFields {
		return h, fmt.Errorf("it sent more than %d header fields", maxFields)
	}
	for line := range headerLines(fields) {
		name, value, err := field(line)
		if err != nil {
			if isEssential(line) {
				return h, err
			}
			h.broken = append(h.broken, err)
			continue
		}
		if err := h.add(name, value); err != nil {
			return h, err
		}
	}
	return h, h.setCoding()
}

// parseStatusLine reads "HTTP/1.1 404 Not Found". The version may be any that a request
// can have: scripts print SERVER_PROTOCOL back. 101 has no place here: the connection is
// not the script's.
func parseStatusLine(line string) (int, error) {
	version, rest, _ := strings.Cut(line, " ")
	if slices.Contains([]string{"HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/2", "HTTP/3.0", "HTTP/3"}, version) {
		code, _, _ := strings.Cut(rest, " ")
		if n, ok := threeDigits(code); ok && n >= 100 && n != 101 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%s is no status line such as %q, which an NPH script begins with (option nph)", excerpt([]byte(line)), "HTTP/1.1 200 OK")
}

// dechunk takes the chunked coding off a body that begins with rest, which is copied. It
// returns what the body is read from, and what was read already: of a script whose head is
// not out yet the first piece, so that one that has no chunks is a 502.
func (o *response) dechunk(rest, buf []byte) (io.Reader, []byte, error) {
	body := httputil.NewChunkedReader(io.MultiReader(bytes.NewReader(bytes.Clone(rest)), o.run))
	if o.run.script.nph {
		return body, nil, nil
	}
	n, err := body.Read(buf)
	if err != nil && err != io.EOF {
		return nil, nil, badGateway(fmt.Errorf("it announced a chunked body, but: %w", err))
	}
	return body, buf[:n], nil
}
