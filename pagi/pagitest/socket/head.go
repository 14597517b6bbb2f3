package socket

import (
	"bufio"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// maxHead is the most bytes of a response's head that are read.
const maxHead = 4 << 20

// appendRequest appends the head of a request with the Method, Target and Headers of scope.
func appendRequest(b []byte, scope *pagi.Scope) []byte {
	b = fmt.Appendf(b, "%s %s HTTP/1.1\r\n", scope.Method, scope.Target)
	return appendFields(b, scope.Headers)
}

// appendFields appends header or trailer lines and the empty line.
func appendFields(b []byte, headers pagi.Headers) []byte {
	for _, h := range headers {
		b = fmt.Appendf(b, "%s: %s\r\n", h.Name, h.Value)
	}
	return append(b, "\r\n"...)
}

// head is the head of a response.
type head struct {
	status  int
	headers pagi.Headers // in the order of the lines, names in lower case
	text    string       // as it was read
}

// readHead reads the head of a response. Unlike http.ReadResponse it keeps the order of the lines.
func readHead(r *bufio.Reader) (h head, err error) {
	var text strings.Builder
	for first := true; ; first = false {
		line, err := r.ReadString('\n')
		text.WriteString(line)
		if err != nil {
			return h, err
		}
		if text.Len() > maxHead {
			return h, errors.New("the head of the response is too long")
		}
		line = strings.TrimRight(line, "\r\n")
		switch name, value, ok := strings.Cut(line, ":"); {
		case first:
			_, rest, _ := strings.Cut(line, " ")
			code, _, _ := strings.Cut(rest, " ")
			if h.status, err = strconv.Atoi(code); err != nil || !strings.HasPrefix(line, "HTTP/1.") {
				return h, fmt.Errorf("the response begins with %.100q", line)
			}
		case line == "":
			h.text = text.String()
			return h, nil
		case !ok:
			return h, fmt.Errorf("the response has the header line %.100q", line)
		default:
			h.headers.Add(name, strings.Trim(value, " \t"))
		}
	}
}
