package server

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

func TestServeTellsWhereItServes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	read, write := io.Pipe()
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeHTTP {
			return pagi.Unsupported(scope)
		}
		if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
			return err
		}
		return send(ctx, pagi.HTTPResponseBody{Body: []byte("hello")})
	})
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, write, app, []string{"127.0.0.1:0"}) }()
	line, err := bufio.NewReader(read).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url, ok := strings.CutPrefix(line, "Serving at ")
	if !ok {
		t.Fatalf("it wrote %q", line)
	}
	if res, body := testkit.Get(t, http.DefaultClient, strings.TrimSpace(url)); res.StatusCode != 200 || body != "hello" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	cancel()
	if err := testkit.Await(t, ended); err != nil {
		t.Error(err)
	}
}

func TestServeFailsWhereItCannotListen(t *testing.T) {
	if err := serve(t.Context(), io.Discard, pagi.AppFunc(nil), []string{"nowhere"}); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Error(err)
	}
}

func TestURL(t *testing.T) {
	for want, addr := range map[string]net.Addr{
		"https://127.0.0.1:443/":  &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443},
		"https://[::1]:8443/":     &net.TCPAddr{IP: net.IPv6loopback, Port: 8443},
		"https://localhost:5000/": &net.TCPAddr{IP: net.IPv6unspecified, Port: 5000},
		"unix:/run/shop.sock":     &net.UnixAddr{Name: "/run/shop.sock", Net: "unix"},
	} {
		if got := URL("https", addr); got != want {
			t.Errorf("%v: %q, want %q", addr, got, want)
		}
	}
}
