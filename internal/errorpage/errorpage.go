// Package errorpage shows a developer, in the browser, why a request failed.
package errorpage

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"strconv"
	"strings"
)

//go:embed errorpage.html
var source string

var page = template.Must(template.New("errorpage").Parse(source))

// ContentType is that of the page.
const ContentType = "text/html; charset=utf-8"

// Render makes the page for a status, with the message of the failure and, where it is
// not empty, its stack.
func Render(status int, message, stack string) ([]byte, error) {
	text := http.StatusText(status)
	if text == "" {
		text = "status " + strconv.Itoa(status)
	}
	var out bytes.Buffer
	err := page.Execute(&out, map[string]any{
		"Status": status, "Text": text, "Message": message, "Stack": strings.TrimRight(stack, "\n"),
	})
	return out.Bytes(), err
}
