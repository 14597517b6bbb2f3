package response

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Problem is what an API tells about a request that failed (RFC 9457). Empty fields are left out.
type Problem struct {
	// Type is a URI that names the kind of problem; "" means that the status says all.
	Type string
	// Title is a short summary of the kind; "" means the status's own name.
	Title string
	// Status is the status of the answer; 0 means 500.
	Status int
	// Detail explains this occurrence to people.
	Detail string
	// Instance is a URI that names this occurrence.
	Instance string
	// Extensions are further members, which programs may read. They cannot replace the five above.
	Extensions map[string]any
}

// Response returns the answer, of type application/problem+json.
func (p Problem) Response() *Response {
	if p.Status == 0 {
		p.Status = http.StatusInternalServerError
	}
	if p.Title == "" && p.Type == "" {
		p.Title = http.StatusText(p.Status)
	}
	all := maps.Clone(p.Extensions)
	if all == nil {
		all = make(map[string]any, 4)
	}
	all["status"] = p.Status
	for name, value := range map[string]string{"type": p.Type, "title": p.Title, "detail": p.Detail, "instance": p.Instance} {
		if delete(all, name); value != "" {
			all[name] = value
		}
	}
	body, err := json.Marshal(all)
	r := with("application/problem+json", text(body)).Status(p.Status)
	if err != nil {
		r.fail(fmt.Errorf("response: %w", err))
	}
	return r
}

// FromError returns the Problem that answers an error: the status, message and headers of the
// *pagi.StatusError in it, or a plain 500. The text of other errors is for the log and stays out.
func FromError(err error) *Response {
	var status *pagi.StatusError
	if !errors.As(err, &status) {
		return Problem{}.Response()
	}
	p := Problem{Status: status.Status, Detail: status.Message}
	if p.Detail == http.StatusText(p.Status) {
		p.Detail = ""
	}
	r := p.Response()
	for _, h := range status.Headers {
		if !pagi.EqualFold(h.Name, "content-type") && !pagi.EqualFold(h.Name, "content-length") { // of another body
			r.AddHeader(h.Name, h.Value)
		}
	}
	return r
}
