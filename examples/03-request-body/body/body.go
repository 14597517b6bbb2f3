// Package body is an application that reads the body of a request.
package body

import (
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/response"
)

// New returns the application. A body of more than 1 MiB, the default of request.Limits, is answered with 413.
func New() pagi.App { return endpoint.Func(repeat) }

func repeat(c *endpoint.Context) (*response.Response, error) {
	body, err := c.Bytes()
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		return response.Text("No body provided"), nil
	}
	return response.Bytes("text/plain", append([]byte("You sent: "), body...)), nil
}
