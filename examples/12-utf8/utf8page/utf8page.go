// Package utf8page is a page that shows what arrives of text in a path, in a query and in a form.
package utf8page

import (
	_ "embed"
	"fmt"
	"html/template"
	"strings"
	"unicode/utf8"

	"github.com/pagi-go/pagi-bridge/examples/internal/look"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/response"
)

//go:embed page.html
var source string

var page = template.Must(template.New("page").Parse(source))

// New returns the application.
func New() pagi.App {
	r := &endpoint.Router{NotFound: endpoint.HTTP{Get: fromQuery, Post: fromForm}} // at all other paths
	r.Get("/style.css", look.Style)
	r.Any("/echo/{text...}", fromPath)
	return r
}

func fromPath(c *endpoint.Context) (*response.Response, error) {
	return show("the path", c.Param("text")) // decoded
}

func fromQuery(c *endpoint.Context) (*response.Response, error) {
	return show("the query", c.Query().Get("text"))
}

func fromForm(c *endpoint.Context) (*response.Response, error) {
	form, err := c.Form()
	if err != nil {
		return nil, err
	}
	return show("the form", form.Get("text"))
}

func show(source, text string) (*response.Response, error) {
	var codepoints []string
	for _, r := range text {
		codepoints = append(codepoints, fmt.Sprintf("U+%04X", r))
	}
	return response.Render(page, map[string]any{
		"Source":     source,
		"Text":       text,
		"Characters": utf8.RuneCountInString(text),
		"Bytes":      len(text),
		"Codepoints": template.HTML(strings.Join(codepoints, " ")), // html/template would write "+" as a reference
		"Samples":    []string{"λ", "🔥", "中文", "♥", "café"},
	}), nil
}
