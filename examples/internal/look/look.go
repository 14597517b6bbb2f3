// Package look is the style sheet that the pages of the examples share.
package look

import (
	_ "embed"

	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/response"
)

//go:embed style.css
var sheet []byte

// Style answers with the style sheet. A page links it as "style.css".
func Style(*endpoint.Context) (*response.Response, error) {
	return response.Bytes("text/css; charset=utf-8", sheet), nil
}

// Page returns a function that answers with a page.
func Page(html string) endpoint.Func {
	return func(*endpoint.Context) (*response.Response, error) { return response.HTML(html), nil }
}
