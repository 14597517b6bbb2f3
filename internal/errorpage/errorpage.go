// Package errorpage shows a developer, in the browser, why a request failed: the message, the
// lines of source it came from, the stack, and the request.
package errorpage

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

//go:embed errorpage.html
var source string

var page = template.Must(template.New("errorpage").Parse(source))

// ContentType is the Content-Type of the page.
const ContentType = "text/html; charset=utf-8"

// Failure is a failed request, which the page explains.
type Failure struct {
	Status  int
	Message string
	Stack   string      // of the failure; "": not known
	Scope   *pagi.Scope // of the request; nil: not known
}

// Render makes the page.
func Render(f Failure) ([]byte, error) {
	text := http.StatusText(f.Status)
	if text == "" {
		text = "status " + strconv.Itoa(f.Status)
	}
	var out bytes.Buffer
	err := page.Execute(&out, map[string]any{
		"Status": f.Status, "Text": text, "Message": f.Message, "Stack": strings.TrimRight(f.Stack, "\n"),
		"Sources": excerpts(f.Message, f.Stack), "Request": requestOf(f.Scope),
	})
	return out.Bytes(), err
}

// request is the part of a request that the page shows.
type request struct {
	Line    string // as in HTTP/1
	Facts   [][2]string
	Headers pagi.Headers
}

func requestOf(s *pagi.Scope) *request {
	if s == nil {
		return nil
	}
	r := &request{Line: strings.TrimSpace(s.Method + " " + s.RequestURI()), Headers: s.Headers}
	for _, fact := range [][2]string{
		{"scheme", s.Scheme}, {"version", s.HTTPVersion}, {"mounted at", s.RootPath}, {"path there", s.Path}, {"client", s.Client.Host},
	} {
		if fact[1] != "" {
			r.Facts = append(r.Facts, fact)
		}
	}
	return r
}
