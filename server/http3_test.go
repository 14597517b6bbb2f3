package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

// h3 returns a client that speaks HTTP/3.
func h3(t *testing.T, pair *testkit.Pair) *http.Client {
	tr := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: pair.Pool}}
	t.Cleanup(func() { _ = tr.Close() }) // the server may be gone already
	return &http.Client{Transport: tr, Timeout: testkit.Patience}
}

func TestHTTP3(t *testing.T) {
	reasons := make(chan string, 1)
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		switch {
		case scope.Type == pagi.TypeSSE:
			return errors.Join(send(ctx, pagi.SSEStart{}), send(ctx, pagi.SSESend{Data: "event"}))
		case scope.Type != pagi.TypeHTTP:
			return pagi.Unsupported(scope)
		case scope.Path == "/wait":
			err := errors.Join(send(ctx, pagi.HTTPResponseStart{Status: 200}), send(ctx, pagi.HTTPResponseBody{Body: []byte("x"), More: true}))
			<-ctx.Done()
			reasons <- scope.Connection.DisconnectReason()
			return err
		}
		body, err := io.ReadAll(request.BodyReader(ctx, receive))
		if err != nil {
			return nil
		}
		return errors.Join(
			send(ctx, pagi.HTTPResponseStart{Status: 200, Trailers: true}),
			send(ctx, pagi.HTTPResponseBody{Body: fmt.Append(nil, scope.HTTPVersion, " ", scope.Method, " ", scope.Path, " ", len(body), " ", scope.TLS().Version)}),
			send(ctx, pagi.HTTPResponseTrailers{Headers: pagi.NewHeaders("x-t", "1")}))
	})
	pair := testkit.Certificate(t)
	x := launch(t, &Server{App: app, HTTP3: true, TLSCert: pair.CertFile, TLSKey: pair.KeyFile, Limits: Limits{Limits: engine.Limits{MaxBodySize: 1 << 20}}})
	client := h3(t, pair)
	res, body := testkit.Do(t, client, testkit.NewRequest(t, "POST", "https://"+x.addr+"/a", strings.NewReader(strings.Repeat("b", 500_000))))
	if res.ProtoMajor != 3 || body != fmt.Sprint("3 POST /a 500000 ", tls.VersionTLS13) || res.Trailer.Get("X-T") != "1" || res.Header.Get("Alt-Svc") != "" {
		t.Errorf("%v %q", res, body)
	}
	if now, _ := x.server.Status(); now.Protocols.HTTP3 != 1 || now.Protocols.HTTP2 != 0 {
		t.Errorf("open are %+v", now.Protocols)
	}
	if res, _ := testkit.Do(t, client, testkit.NewRequest(t, "POST", "https://"+x.addr+"/a", strings.NewReader(strings.Repeat("b", 2<<20)))); res.StatusCode != 413 {
		t.Errorf("a body too large: %v", res)
	}
	req := testkit.NewRequest(t, "GET", "https://"+x.addr+"/events", nil)
	req.Header.Set("Accept", "text/event-stream")
	if res, body := testkit.Do(t, client, req); body != "data: event\n\n" {
		t.Errorf("%v %q", res, body)
	}
	for _, h2 := range []bool{true, false} {
		if res, _ := testkit.Get(t, https(t, pair.Pool, h2), "https://"+x.addr+"/"); res.Header.Get("Alt-Svc") != `h3="`+x.addr[strings.LastIndexByte(x.addr, ':'):]+`"; ma=86400` {
			t.Errorf("%s: %v", res.Proto, res.Header)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	res, err := client.Do(testkit.NewRequest(t, "GET", "https://"+x.addr+"/wait", nil).WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	_ = res.Body.Close()
	if r := testkit.Await(t, reasons); r != pagi.ReasonClientClosed && r != pagi.ReasonWriteError {
		t.Errorf("reason %q", r)
	}
	begin := time.Now()
	if err := x.stop(); err != nil || time.Since(begin) > 5*time.Second {
		t.Errorf("stopped after %v: %v", time.Since(begin), err)
	}
}

func TestHTTP3Refuses(t *testing.T) {
	if err := (&Server{App: echo, HTTP3: true, Listen: []string{"127.0.0.1:0"}}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "HTTP3") {
		t.Errorf("without TLS: %v", err)
	}
	pair := testkit.Certificate(t)
	x := launch(t, &Server{App: echo, HTTP3: true, TLSCert: pair.CertFile, TLSKey: pair.KeyFile, Limits: Limits{MaxConnections: 1}})
	c := x.dial()
	// Each request has a connection of its own, which is closed afterwards.
	ask := func() error {
		client := h3(t, pair)
		res, err := client.Get("https://" + x.addr + "/")
		if err == nil {
			err = res.Body.Close()
		}
		return errors.Join(err, client.Transport.(*http3.Transport).Close())
	}
	testkit.Eventually(t, "the refusal", func() bool { return ask() != nil })
	x.log.WaitFor(t, "too many connections")
	_ = c.Close()
	testkit.Eventually(t, "an answer", func() bool { return ask() == nil })
}

// A running request of one protocol does not keep the other protocols from ending.
func TestHTTP3StopsBesideHTTP2(t *testing.T) {
	pair := testkit.Certificate(t)
	begun, release := make(chan struct{}), make(chan struct{})
	x := launch(t, &Server{HTTP3: true, TLSCert: pair.CertFile, TLSKey: pair.KeyFile, App: httpOnly(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		if scope.HTTPVersion == "2" {
			close(begun)
			<-release
		}
		return reply(ctx, send, scope.HTTPVersion)
	})})
	answered, client := make(chan error, 1), https(t, pair.Pool, true)
	go func() {
		res, err := client.Get("https://" + x.addr + "/")
		if err == nil {
			err = res.Body.Close()
		}
		answered <- err
	}()
	testkit.Await(t, begun)
	x.cancel()
	testkit.Eventually(t, "no HTTP/3 any more", func() bool {
		client := h3(t, pair)
		client.Timeout = 200 * time.Millisecond
		res, err := client.Get("https://" + x.addr + "/")
		if err == nil {
			_ = res.Body.Close()
		}
		return errors.Join(err, client.Transport.(*http3.Transport).Close()) != nil
	})
	close(release)
	if err := testkit.Await(t, answered); err != nil {
		t.Error(err)
	}
}
