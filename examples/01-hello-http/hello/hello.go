// Package hello is the smallest application: a function that returns a response.
package hello

import (
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/response"
)

// New returns the application. It answers every path and method.
func New() pagi.App { return endpoint.Func(greet) }

func greet(*endpoint.Context) (*response.Response, error) {
	return response.Text("Hello from PAGI"), nil
}
