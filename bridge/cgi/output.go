//go:build unix

package cgi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/bridge/internal/coding"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// bufferSize is what is read from a script at a time: a pipe's capacity.
const bufferSize = 64 << 10

// maxFields is how many header fields a script may send. Looking a field up among
// them is linear work.
const maxFields = 1000

// head is a script's parsed header block (RFC 3875 section 6.3).
type head struct {
	status   int // as given, or what the rules make of none
	headers  pagi.Headers
	location string   // of a local redirect
	length   int64    // Content-Length, -1 where there is none
	codings  []string // the values of Transfer-Encoding
	chunked  bool     // the body has the chunked coding
	broken   []error  // what was wrong with lines that were left out
}

// readHead reads from r into buf, which is as large as a header block may be,
// until the block is complete. It returns the block without the empty line that
// ends it, and what was read of the body.
func readHead(r io.Reader, buf []byte, limit int) (block, rest []byte, err error) {
	n := 0
	for {
		got, err := r.Read(buf[n:])
		from := max(0, n-3) // the end may have come in two pieces
		n += got
		if end, body, ok := headEnd(buf[:n], from); ok && end <= limit {
			return buf[:end], buf[body:n], nil
		} else if ok || n >= limit {
			return nil, nil, fmt.Errorf("its header block is larger than %d bytes (option header_limit)", limit)
		}
		switch {
		case err == nil:
		case !errors.Is(err, io.EOF):
			return nil, nil, err
		case n == 0:
			return nil, nil, errors.New("it wrote no output")
		default:
			return nil, nil, fmt.Errorf("its output has no end of headers (an empty line); it begins with %s", excerpt(buf[:n]))
		}
	}
}

// headEnd looks for the empty line at or after from. Lines end with LF or CRLF.
func headEnd(b []byte, from int) (end, body int, ok bool) {
	if from == 0 { // an empty first line ends an empty block
		if bytes.HasPrefix(b, []byte("\n")) {
			return 0, 1, true
		}
		if bytes.HasPrefix(b, []byte("\r\n")) {
			return 0, 2, true
		}
	}
	for i := from; ; {
		lf := bytes.IndexByte(b[i:], '\n')
		if lf < 0 {
			return 0, 0, false
		}
		i += lf + 1
		switch rest := b[i:]; {
		case bytes.HasPrefix(rest, []byte("\n")):
			return i, i + 1, true
		case bytes.HasPrefix(rest, []byte("\r\n")):
			return i, i + 2, true
		}
	}
}

// dropped are fields that belong to the connection with the client, which is not
// the script's business (RFC 3875 section 6.3.4, RFC 9110 section 7.6.1).
var dropped = map[string]bool{
	"connection": true, "keep-alive": true, "proxy-connection": true, "te": true,
	"trailer": true, "transfer-encoding": true, "upgrade": true,
}

// parseHead parses a header block and applies the rules for the four kinds of
// response (RFC 3875 section 6.2). A broken line is left out, as Python's pages of an error
// have one, unless what it should say decides over the response.
func parseHead(block []byte) (head, error) {
	h := head{length: -1}
	var status, location string
	fields := 0
	for line := range headerLines(block) {
		if fields++; fields > maxFields {
			return h, fmt.Errorf("it sent more than %d header fields", maxFields)
		}
		name, value, err := field(line)
		if err != nil {
			if isEssential(line) {
				return h, err
			}
			h.broken = append(h.broken, err)
			continue
		}
		switch name {
		case "status":
			if status != "" && status != value {
				return h, fmt.Errorf("it sent two Status fields, %q and %q", status, value)
			}
			status = value
			if h.status, err = parseStatus(value); err != nil {
				return h, err
			}
			continue
		case "location":
			if location != "" && location != value {
				return h, fmt.Errorf("it sent two Location fields, %q and %q", location, value)
			}
			if location != "" || value == "" {
				continue
			}
			location = value
		}
		if err := h.add(name, value); err != nil {
			return h, err
		}
	}
	if err := h.setCoding(); err != nil {
		return h, err
	}
	switch {
	case fields == 0:
		return h, errors.New("it sent no headers, an empty line came first")
	case isLocal(location) && h.status == 0 && len(h.headers) == 1:
		h.location = location
	case h.status != 0:
	case location != "":
		h.status = 302
	case h.headers.Get("content-type") == "" && len(h.broken) > 0:
		return h, fmt.Errorf("it sent no Content-Type, and %w", h.broken[0])
	case h.headers.Get("content-type") == "":
		return h, errors.New("it sent no Content-Type")
	default:
		h.status = 200
	}
	return h, nil
}

// add takes a field over.
func (h *head) add(name, value string) error {
	switch name {
	case "content-type":
		h.headers.Set(name, value) // the last one counts
		return nil
	case "content-length":
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil || h.length >= 0 && h.length != int64(n) {
			return fmt.Errorf("it sent a bad Content-Length, %q", value)
		}
		if h.length >= 0 {
			return nil
		}
		h.length = int64(n)
	case "transfer-encoding":
		h.codings = append(h.codings, value)
	}
	if !dropped[name] {
		h.headers.Add(name, value)
	}
	return nil
}

// setCoding finds out whether the body is framed already.
func (h *head) setCoding() (err error) {
	h.chunked, err = coding.Chunked(h.codings, h.length >= 0)
	return err
}

// headerLines returns the lines of a header block. A line that begins with a blank continues
// the one before it (obs-fold, RFC 9112 section 5.2): both are returned as one, with a blank
// in between.
func headerLines(block []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		var line []byte // what may be continued
		for next := range bytes.Lines(block) {
			if line != nil && (next[0] == ' ' || next[0] == '\t') {
				line = slices.Concat(bytes.TrimRight(line, " \t\r\n"), []byte(" "), bytes.TrimLeft(next, " \t"))
				continue
			}
			if line != nil && !yield(line) {
				return
			}
			line = next
		}
		if line != nil {
			yield(line)
		}
	}
}

// isEssential reports whether a broken header line decides over the response, so that it
// cannot be left out.
func isEssential(line []byte) bool {
	name, _, _ := bytes.Cut(line, []byte(":"))
	switch strings.ToLower(string(bytes.TrimSpace(name))) {
	case "status", "location", "content-length", "transfer-encoding":
		return true
	}
	return bytes.HasPrefix(line, []byte("HTTP/"))
}

// isLocal reports whether a Location is a path on this site and not another
// site's address ("//host/path" is one).
func isLocal(location string) bool {
	if !strings.HasPrefix(location, "/") || strings.HasPrefix(location, "//") {
		return false
	}
	_, err := url.ParseRequestURI(location)
	return err == nil
}

// field splits a header line; the name is made lower case.
func field(line []byte) (name, value string, err error) {
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	before, after, ok := bytes.Cut(line, []byte(":"))
	switch {
	case !ok && bytes.HasPrefix(line, []byte("HTTP/")):
		return "", "", fmt.Errorf("%s is a status line, which only an NPH script sends (option nph)", excerpt(line))
	case !ok:
		return "", "", fmt.Errorf("%s is not a header line", excerpt(line))
	}
	one := pagi.NewHeaders(string(before), string(bytes.Trim(after, " \t")))
	if err := one.Validate("header line " + excerpt(line)); err != nil {
		return "", "", err
	}
	return one[0].Name, one[0].Value, nil
}

// parseStatus reads "404" or "404 Not Found" (RFC 3875 section 6.3.3). The
// reason is not kept: HTTP/2 has no place for it.
func parseStatus(s string) (int, error) {
	code, _, _ := strings.Cut(s, " ")
	n, ok := threeDigits(code)
	if !ok || n < 200 {
		return 0, fmt.Errorf("it sent a bad Status, %q: it must be three digits from 200 to 999 and a reason", s)
	}
	return n, nil
}

func threeDigits(code string) (n int, ok bool) {
	for i := range len(code) {
		if code[i] < '0' || code[i] > '9' {
			return 0, false
		}
		n = n*10 + int(code[i]-'0')
	}
	return n, len(code) == 3
}

// excerpt quotes the beginning of what a script wrote, for the log.
func excerpt(b []byte) string {
	const most = 80
	if len(b) > most {
		return strconv.Quote(string(b[:most])) + "..."
	}
	return strconv.Quote(string(b))
}
