// Package coding has the one rule for the Transfer-Encoding of what an application behind a
// bridge answers: framing is the server's, so a body that is framed already is unframed, and
// what cannot be is an error.
package coding

import (
	"errors"
	"fmt"
	"strings"
)

// Chunked reports whether a body has the chunked coding, by the values of its
// Transfer-Encoding fields. hasLength says that there is a Content-Length, too. The error
// says what is wrong: another coding, or two ways to find the body's end (RFC 9112 section
// 6.3). The coding identity of old programs is none.
func Chunked(values []string, hasLength bool) (bool, error) {
	var codings []string
	for _, value := range values {
		for item := range strings.SplitSeq(value, ",") {
			if item = strings.ToLower(strings.TrimSpace(item)); item != "" && item != "identity" {
				codings = append(codings, item)
			}
		}
	}
	switch {
	case len(codings) == 0:
		return false, nil
	case len(codings) > 1 || codings[0] != "chunked":
		return false, fmt.Errorf("it sent Transfer-Encoding %q, where only chunked is understood", strings.Join(codings, ", "))
	case hasLength:
		return false, errors.New("it sent both Transfer-Encoding and Content-Length")
	}
	return true, nil
}
