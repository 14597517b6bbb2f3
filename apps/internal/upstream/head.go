package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/pagi"
)

var errLongHead = fmt.Errorf("the head of the response exceeds %d bytes", maxHead)

// firstLine returns the first line of p without its end; complete is false if that has not come.
func firstLine(p []byte) (line []byte, complete bool) {
	line, _, complete = bytes.Cut(p, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'}), complete
}

// endOfHead returns the length of a head, its empty line included; 0 if that has not come. It does
// not look at the bytes before searched again.
func endOfHead(p []byte, searched int) int {
	for at := searched; ; {
		i := bytes.IndexByte(p[at:], '\n')
		if i < 0 {
			return 0
		}
		at += i + 1
		switch rest := p[at:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return at + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return at + 2
		}
	}
}

// parseStatusLine reads "HTTP/1.1 200 OK" (RFC 9112 section 4). minor is the second number of the
// version.
func parseStatusLine(line string) (status, minor int, err error) {
	version, rest, ok := strings.Cut(line, " ")
	code, _, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	if !ok || len(version) != len("HTTP/1.1") || !strings.HasPrefix(version, "HTTP/1.") || version[7] < '0' || version[7] > '9' {
		return 0, 0, fmt.Errorf("malformed HTTP response %q", cut(line))
	}
	number, err := strconv.ParseUint(code, 10, 16)
	if len(code) != 3 || err != nil {
		return 0, 0, fmt.Errorf("malformed HTTP status code %q", cut(code))
	}
	return int(number), int(version[7] - '0'), nil
}

// cut returns the beginning of a text for a message.
func cut(s string) string { return s[:min(len(s), 80)] }

// parseHead reads the head of the response to a request with a method.
func parseHead(head, method string) (*Response, error) {
	line, rest := cutLine(head)
	status, minor, err := parseStatusLine(line)
	if err != nil {
		return nil, err
	}
	r := &Response{Status: status}
	if r.Headers, err = parseFields(rest, r.room[:0]); err != nil {
		return nil, err
	}
	return r, r.frame(method, minor)
}

// cutLine splits off a line.
func cutLine(s string) (line, rest string) {
	line, rest, _ = strings.Cut(s, "\n")
	return strings.TrimSuffix(line, "\r"), rest
}

// parseFields reads header lines up to an empty one, and appends them to headers.
func parseFields(lines string, headers pagi.Headers) (pagi.Headers, error) {
	for first := true; ; first = false {
		var line string
		if line, lines = cutLine(lines); line == "" {
			return headers, nil
		}
		if line[0] == ' ' || line[0] == '\t' { // a folded line (RFC 9112 section 5.2)
			if first {
				return nil, errors.New("malformed HTTP response: a header begins with a blank")
			}
			last := &headers[len(headers)-1]
			last.Value = strings.TrimRight(last.Value+" "+strings.Trim(line, " \t"), " ")
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !headername.IsToken(name) {
			return nil, fmt.Errorf("malformed HTTP header line %q", cut(line))
		}
		headers = append(headers, pagi.Header{Name: headername.Lower(name), Value: strings.Trim(value, " \t")})
	}
}

// frame finds out where the response ends (RFC 9112 section 6.3), and whether its connection may be
// used again.
func (r *Response) frame(method string, minor int) error {
	r.Length, r.keep = -1, minor > 0
	chunked := false
	for i := range r.Headers {
		h := &r.Headers[i]
		switch h.Name {
		case "content-length":
			if err := r.setLength(h.Value); err != nil {
				return err
			}
		case "transfer-encoding":
			if chunked || !pagi.EqualFold(h.Value, "chunked") {
				return fmt.Errorf("the response has an unsupported transfer encoding %q", cut(h.Value))
			}
			chunked = true
		case "connection":
			if (pagi.Headers{*h}).HasToken(h.Name, "close") {
				r.keep = false
			}
		}
	}
	if chunked && (r.Length >= 0 || minor == 0) { // the framing is faulty, perhaps an attack
		r.Length, r.keep = -1, false
	}
	switch {
	case r.Status < 200 || r.Status == http.StatusNoContent:
		r.keep = r.keep && !chunked && r.Length <= 0 && (r.isInterim() || r.Status == http.StatusNoContent)
		r.body = noBody
	case method == http.MethodHead || r.Status == http.StatusNotModified:
		r.body = noBody
	case chunked:
		r.body = chunkedBody
	case r.Length >= 0:
		r.body, r.left = lengthBody, r.Length
	default:
		r.body, r.keep = endlessBody, false
	}
	return nil
}

// setLength takes over a Content-Length. Before the first one Length is -1.
func (r *Response) setLength(value string) error {
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil || r.Length >= 0 && int64(n) != r.Length {
		return fmt.Errorf("the response has a Content-Length that is wrong or differs from another one: %q", cut(value))
	}
	r.Length = int64(n)
	return nil
}

// isInterim reports whether another response follows. 101 is the end of HTTP.
func (r *Response) isInterim() bool {
	return r.Status >= 100 && r.Status <= 199 && r.Status != http.StatusSwitchingProtocols
}
