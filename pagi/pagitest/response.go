package pagitest

import (
	"encoding/json"
	"fmt"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Response is the application's answer.
type Response struct {
	// Status is the status of the response. If the application failed before it began one, Status
	// is 500, or that of its *pagi.StatusError.
	Status  int
	Headers pagi.Headers
	// Body is the whole body; file and fh events are read into it. It is empty in
	// answer to HEAD.
	Body []byte
	// Chunks are the body's pieces, one per http.response.body event.
	Chunks [][]byte
	// Trailers are the fields after the body.
	Trailers pagi.Headers
	// Informational are the interim responses, in order.
	Informational []pagi.HTTPResponseInformational
	// Events are all accepted events of the application.
	Events []pagi.Event
	// Err says what went wrong: the error or panic of the application, its first event that the
	// specification forbids, or an answer that is missing or not complete.
	Err error
	// Connection is the exchange's connection state.
	Connection pagi.Connection
	// History are the redirects before this response, the first one first. See FollowRedirects.
	History []*Response
}

// dropLast takes n bytes from the end of the body, all of the last piece.
func (r *Response) dropLast(n int) {
	r.Body = r.Body[:len(r.Body)-n]
	last := len(r.Chunks) - 1
	if r.Chunks[last] = r.Chunks[last][:len(r.Chunks[last])-n]; len(r.Chunks[last]) == 0 {
		r.Chunks = r.Chunks[:last]
	}
}

// Header returns the value of the first header called name, or "".
func (r *Response) Header(name string) string { return r.Headers.Get(name) }

// Text returns the body as a string.
func (r *Response) Text() string { return string(r.Body) }

// JSON decodes the body into v. The error shows the beginning of a body that is
// not JSON.
func (r *Response) JSON(v any) error {
	err := json.Unmarshal(r.Body, v)
	if err == nil {
		return nil
	}
	return fmt.Errorf("the body is not the JSON asked for (status %d, content-type %q): %w\n%s", r.Status, r.Header("content-type"), err, r.excerpt())
}

// excerpt returns the beginning of the body.
func (r *Response) excerpt() string {
	const most = 1500
	if len(r.Body) > most {
		return string(r.Body[:most]) + "..."
	}
	return string(r.Body)
}
