package response

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"unicode/utf8"
)

const utf8Text = "; charset=utf-8"

// charsetOf returns the parameter of a text type for a body: utf-8 if it is that. A body in another
// encoding gets none, because nobody says which one it is.
func charsetOf[T string | []byte](body T) string {
	if utf8.ValidString(string(body)) {
		return utf8Text
	}
	return ""
}

// Text returns a response of text/plain.
func Text(body string) *Response { return with("text/plain"+charsetOf(body), text(body)) }

// HTML returns a response of text/html. The caller has escaped what comes from others; see Render.
func HTML(body string) *Response { return with("text/html"+charsetOf(body), text(body)) }

// Bytes returns a response of any type. The response keeps body, which must not be changed until it
// is sent.
func Bytes(contentType string, body []byte) *Response {
	r := with("", text(body))
	return r.Header("content-type", contentType)
}

// Empty returns a response of 204 without a body.
func Empty() *Response { return New(http.StatusNoContent) }

// Template is a template of html/template, which escapes what comes from others.
type Template interface {
	Execute(w io.Writer, data any) error
}

// Render returns a response of text/html whose body a template makes of data. An error of the template
// is the response's Err, and nothing of the page is sent.
func Render(t Template, data any) *Response {
	var page strings.Builder
	if err := t.Execute(&page, data); err != nil {
		return New(http.StatusInternalServerError).fail(fmt.Errorf("response: %w", err))
	}
	return HTML(page.String())
}

// JSON returns a response of application/json. A value that cannot be encoded is the response's Err.
func JSON(v any) *Response {
	body, err := json.Marshal(v)
	r := with("application/json", text(body))
	if err != nil {
		r.fail(fmt.Errorf("response: %w", err))
	}
	return r
}

// JSONList returns a response of application/json whose body is an array of items. Items are
// encoded and sent as they come, so that a long list needs little memory, and wait while the client
// is behind. An item that cannot be encoded cuts the response off, so that the client can tell.
func JSONList[T any](items iter.Seq[T]) *Response {
	return Stream("application/json", func(w *Writer) error {
		enc := json.NewEncoder(w)
		open := "["
		for item := range items {
			if _, err := w.WriteString(open); err != nil {
				return err
			}
			if err := enc.Encode(item); err != nil {
				return err
			}
			open = ","
		}
		if open == "[" {
			if _, err := w.WriteString(open); err != nil {
				return err
			}
		}
		_, err := w.WriteString("]\n")
		return err
	})
}
