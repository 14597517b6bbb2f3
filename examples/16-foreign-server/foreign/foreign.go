// Package foreign mounts a PAGI application in a mux of net/http, beside a handler of net/http.
package foreign

import (
	"fmt"
	"net/http"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
	"github.com/pagi-go/pagi-bridge/pagi/response"
)

// New returns a handler for any server of net/http. Its application waits for pause before it answers.
func New(pause time.Duration) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", nethttp.Handler(app(pause)))
	mux.HandleFunc("/plain", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "This is a handler of net/http.") })
	return mux
}

func app(pause time.Duration) pagi.App {
	return endpoint.Func(func(c *endpoint.Context) (*response.Response, error) {
		select {
		case <-time.After(pause):
			return response.Text("This is a PAGI application in the server of net/http.\n"), nil
		case <-c.Context().Done():
			return nil, c.Context().Err()
		}
	})
}
