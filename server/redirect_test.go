package server

import (
	"strings"
	"testing"
)

func TestReloadChangesTheLimitsOfRedirects(t *testing.T) {
	first := &Server{App: echo, Listen: []string{"127.0.0.1:0,redirect=443"}}
	x := launch(t, first)
	ask := "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 2000) + "\r\n\r\n"
	if res, _ := x.request(ask).Response("GET"); res.StatusCode != 301 {
		t.Errorf("before: %s", res.Status)
	}
	if err := first.Reload(t.Context(), &Server{App: echo, Logger: first.Logger, MaxHeaderSize: 1000}); err != nil {
		t.Fatal(err)
	}
	if res, _ := x.request(ask).Response("GET"); res.StatusCode != 431 {
		t.Errorf("after: %s", res.Status)
	}
}
