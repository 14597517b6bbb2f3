package middleware

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestLimitedClient(t *testing.T) {
	size := maxAnswer
	closed := make(chan bool, 10)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("x", size)) }))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- true
		}
	}
	server.Start()
	defer server.Close()
	c := limitedClient()
	get := func() (int, error) {
		res, err := c.Get(server.URL)
		if err != nil {
			return 0, err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		return len(body), err
	}
	if n, err := get(); n != maxAnswer || err != nil {
		t.Errorf("the largest answer: %d, %v", n, err)
	}
	c.CloseIdleConnections()
	select {
	case <-closed:
	case <-time.After(5 * time.Second):
		t.Error("a connection stays open")
	}
	size++
	if _, err := get(); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a larger one: %v", err)
	}
}

// A program may have put a transport of another type in the place of the default one.
func TestLimitedClientNeedsNoDefaultTransport(t *testing.T) {
	before := http.DefaultTransport
	defer func() { http.DefaultTransport = before }()
	http.DefaultTransport = struct{ http.RoundTripper }{before}
	if limitedClient() == nil {
		t.Error("there is no client")
	}
}
