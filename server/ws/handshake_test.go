package ws_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/server/ws"
)

func TestScopeOfWebSocket(t *testing.T) {
	everywhere(t, func(t *testing.T, carrier string) {
		scopes := make(chan *pagi.Scope, 1)
		p := serve(t, carrier, &ws.Server{}, func(s *session) error {
			scopes <- s.scope
			return s.send(s.ctx, pagi.WebSocketAccept{Subprotocol: "b", Headers: pagi.NewHeaders("x-mine", "1")})
		}).dial("Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Protocol: c", "Cookie: x=1")
		got := testkit.Await(t, scopes)
		want := pagi.Scope{
			Type: pagi.TypeWebSocket, PAGI: pagi.Versions{Version: "0.3"}, HTTPVersion: "1.1", Scheme: "ws", Path: "/chat", RawPath: "/chat",
			QueryString: "room=1", Subprotocols: []string{"a", "b", "c"},
		}
		status := http.StatusSwitchingProtocols
		if carrier == "h2" {
			want.HTTPVersion, want.Scheme, status = "2", "wss", http.StatusOK
		}
		have := pagi.Scope{
			Type: got.Type, PAGI: got.PAGI, HTTPVersion: got.HTTPVersion, Method: got.Method, Scheme: got.Scheme, Path: got.Path, RawPath: got.RawPath,
			QueryString: got.QueryString, RootPath: got.RootPath, Subprotocols: got.Subprotocols, Connection: got.Connection,
		}
		if diff := cmp.Diff(want, have, cmp.AllowUnexported(pagi.Scope{})); diff != "" {
			t.Error(diff)
		}
		h := got.Headers
		if h.Get("host") != "example.org" || h.Get("cookie") != "x=1" || h.Get("sec-websocket-version") != "13" || h.Has(":protocol") {
			t.Errorf("headers %v", h)
		}
		if carrier != "h2" && (h.Get("upgrade") != "websocket" || h.Get("sec-websocket-key") != sampleKey) {
			t.Errorf("headers %v", h)
		}
		if !got.HasExtension(pagi.ExtDenialResponse) || (got.TLS() != nil) != (carrier == "h2") || got.Client.IsZero() || got.Server.IsZero() {
			t.Errorf("extensions %v, client %v, server %v", got.Extensions, got.Client, got.Server)
		}
		if got.Transport == nil || got.Transport.HighWaterMark() != engine.DefaultHighWaterMark {
			t.Errorf("transport %v", got.Transport)
		}
		if p.status != status || p.headers.Get("Sec-WebSocket-Protocol") != "b" || p.headers.Get("X-Mine") != "1" {
			t.Errorf("%d %v", p.status, p.headers)
		}
		if accept := p.headers.Get("Sec-WebSocket-Accept"); accept != map[bool]string{false: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}[carrier == "h2"] {
			t.Errorf("Sec-WebSocket-Accept %q", accept) // the example of RFC 6455 section 1.3
		}
	})
}

// TestHandshakesOnHTTP1 says what a request must have to become a WebSocket.
func TestHandshakesOnHTTP1(t *testing.T) {
	const right = "Host: x\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Key: " + sampleKey + "\nSec-WebSocket-Version: 13\n"
	for name, c := range map[string]struct {
		line, headers string
		status        int
	}{
		"as it must be":                   {headers: right, status: 101},
		"in other letters":                {headers: strings.Replace(right, "websocket", "WebSocket", 1), status: 101},
		"with further tokens":             {headers: strings.Replace(right, "Connection: Upgrade", "Connection: keep-alive, upgrade", 1), status: 101},
		"an old version":                  {headers: strings.Replace(right, ": 13", ": 8", 1), status: 426},
		"no version":                      {headers: strings.Replace(right, "Sec-WebSocket-Version: 13\n", "", 1), status: 426},
		"no key":                          {headers: strings.Replace(right, "Sec-WebSocket-Key: "+sampleKey+"\n", "", 1), status: 400},
		"a short key":                     {headers: strings.Replace(right, sampleKey, "AAAA", 1), status: 400},
		"a key that is not base64":        {headers: strings.Replace(right, sampleKey, "dGhlIHNhbXBsZSBub25jZ!==", 1), status: 400},
		"two keys":                        {headers: right + "Sec-WebSocket-Key: " + sampleKey + "\n", status: 400},
		"a body":                          {headers: right + "Content-Length: 5\n", status: 400},
		"a chunked body":                  {headers: right + "Transfer-Encoding: chunked\n", status: 400},
		"another protocol":                {headers: strings.Replace(right, "websocket", "chess", 1), status: 200},
		"Upgrade not among Connection":    {headers: strings.Replace(right, "Connection: Upgrade", "Connection: close", 1), status: 200},
		"another method":                  {line: "POST / HTTP/1.1", headers: right, status: 200},
		"HTTP/1.0":                        {line: "GET / HTTP/1.0", headers: right, status: 200},
		"CONNECT":                         {line: "CONNECT x:80 HTTP/1.1", headers: right, status: 501},
		"CONNECT with a header :protocol": {line: "CONNECT x:80 HTTP/1.1", headers: "Host: x:80\n:protocol: websocket\n", status: 400},
	} {
		t.Run(name, func(t *testing.T) {
			for _, carrier := range []string{"http1", "net/http"} {
				x := serve(t, carrier, &ws.Server{}, func(s *session) error {
					if s.scope.Type == pagi.TypeHTTP {
						return errors.Join(s.send(s.ctx, pagi.HTTPResponseStart{Status: 200}), s.send(s.ctx, pagi.HTTPResponseBody{}))
					}
					return s.accept()
				})
				line := c.line
				if line == "" {
					line = "GET / HTTP/1.1"
				}
				conn := testkit.Dial(t, x.addr)
				conn.Say(line + "\r\n" + strings.ReplaceAll(c.headers, "\n", "\r\n") + "\r\n")
				res, err := http.ReadResponse(conn.Reader, nil)
				if err != nil {
					t.Fatal(err)
				}
				if res.StatusCode != c.status {
					t.Errorf("%s: got %s, want %d", carrier, res.Status, c.status)
				}
				if c.status == 426 && (res.Header.Get("Sec-WebSocket-Version") != "13" || res.Header.Get("Upgrade") != "websocket") {
					t.Errorf("%s: headers %v", carrier, res.Header)
				}
			}
		})
	}
}

func TestHandshakeOnHTTP2WithAnotherVersion(t *testing.T) {
	x := serve(t, "h2", &ws.Server{}, func(s *session) error { return s.accept() })
	p := x.dial("Sec-WebSocket-Version: 8") // now it is 13 and 8
	if p.status != 101 && p.status != 200 {
		t.Errorf("status %d", p.status)
	}
	r, err := http.NewRequestWithContext(t.Context(), "CONNECT", "https://"+x.addr+"/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(":protocol", "websocket")
	res, err := x.client.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 400 || res.Header.Get("Sec-WebSocket-Version") != "13" {
		t.Errorf("%s %v", res.Status, res.Header)
	}
	r.Header.Set(":protocol", "connect-udp")
	if res, err = x.client.RoundTrip(r); err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 501 {
		t.Errorf("another protocol: %s", res.Status)
	}
}

// TestRefusals: what a client gets that is not accepted, and what the application may do then.
func TestRefusals(t *testing.T) {
	start := pagi.WebSocketHTTPResponseStart{Status: 401, Headers: pagi.NewHeaders("www-authenticate", "Bearer")}
	for name, c := range map[string]struct {
		app    func(s *session) error
		status int
		body   string
		reason string // of the record
		log    string
	}{
		"Close": {func(s *session) error {
			err := s.send(s.ctx, pagi.WebSocketClose{Code: 4000})
			if ev := s.next(); ev != (pagi.WebSocketDisconnect{Code: 1006}) {
				err = errors.Join(err, errors.New("no disconnect"))
			}
			return err
		}, 403, "Forbidden\n", "", ""},
		"a response": {func(s *session) error {
			return errors.Join(s.send(s.ctx, start), s.send(s.ctx, pagi.WebSocketHTTPResponseBody{Body: []byte("lo"), More: true}),
				s.send(s.ctx, pagi.WebSocketHTTPResponseBody{Body: []byte("gin")}))
		}, 401, "login", "", ""},
		"an error": {func(*session) error { return errors.New("boom") }, 500, "Internal Server Error\n", pagi.ReasonServerError, "boom"},
		"an error with a status": {func(*session) error {
			return &pagi.StatusError{Status: 503, Message: "full", Headers: pagi.NewHeaders("retry-after", "1")}
		}, 503, "full\n", pagi.ReasonServerError, "full"},
		"a panic":                     {func(*session) error { panic("boom") }, 500, "Internal Server Error\n", pagi.ReasonServerError, "boom"},
		"nothing":                     {func(*session) error { return nil }, 500, "Internal Server Error\n", pagi.ReasonServerError, "returned without a response"},
		"a response that is none":     {func(s *session) error { return s.send(s.ctx, start) }, 500, "Internal Server Error\n", pagi.ReasonServerError, "without a response"},
		"that it knows no such scope": {func(s *session) error { return pagi.Unsupported(s.scope) }, 403, "Forbidden\n", pagi.ReasonServerError, ""},
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, carrier string) {
				x := serve(t, carrier, &ws.Server{}, func(s *session) error {
					s.next()
					return c.app(s)
				})
				p := x.dial()
				body, err := io.ReadAll(p.r)
				if p.status != c.status || string(body) != c.body || err != nil {
					t.Errorf("%d %q, %v; want %d %q", p.status, body, err, c.status, c.body)
				}
				if r := x.record(); r.Status != c.status || r.Reason != c.reason {
					t.Errorf("record: %d %q", r.Status, r.Reason)
				}
				if c.log != "" {
					x.log.WaitFor(t, "level=ERROR", c.log)
				} else if strings.Contains(x.log.String(), "level=ERROR") {
					t.Error(x.log)
				}
			})
		})
	}
}

// TestSends says which events may be sent when.
func TestSends(t *testing.T) {
	type step struct {
		ev   pagi.Event
		want string // in the error; "": none
	}
	accept := step{pagi.WebSocketAccept{}, ""}
	for name, steps := range map[string][]step{
		"before accept": {
			{pagi.WebSocketSend{Text: "x"}, "websocket.accept must come first"},
			{pagi.WebSocketKeepalive{}, "websocket.accept must come first"},
			{pagi.WebSocketHTTPResponseBody{}, "websocket.http.response.start must come first"},
			{pagi.HTTPResponseStart{Status: 200}, "not an event"},
			{pagi.WebSocketAccept{Subprotocol: "nope"}, "'subprotocol' was not offered"},
			{pagi.WebSocketAccept{Subprotocol: "a b"}, "'subprotocol' must be a token"},
			{pagi.WebSocketAccept{Headers: pagi.NewHeaders("x", "a\r\nb: c")}, "'headers' contains a control character"},
			{pagi.WebSocketAccept{Headers: pagi.Headers{{Name: "Sec-WebSocket-Extensions", Value: "x"}}}, "the server's own"},
			accept,
		},
		"after accept": {
			accept,
			{pagi.WebSocketAccept{}, "accepted already"},
			{pagi.WebSocketSend{Text: "\xff"}, "'text' must be valid UTF-8"},
			{pagi.WebSocketSend{Text: "x", Bytes: []byte("y")}, "'bytes' must not be given"},
			{pagi.WebSocketClose{Code: 1006}, "'code' must be a close code"},
			{pagi.WebSocketClose{Reason: strings.Repeat("x", 124)}, "'reason' must be at most 123"},
			{pagi.WebSocketKeepalive{Interval: -1}, "'interval' must not be negative"},
			{pagi.WebSocketHTTPResponseStart{Status: 200}, ""}, // ignored
			{pagi.WebSocketHTTPResponseBody{}, ""},
			{&pagi.WebSocketSend{Text: "x"}, "is a pointer"},
			{pagi.WebSocketClose{}, ""},
			{pagi.WebSocketSend{Text: "x"}, ""}, // does nothing
			{pagi.WebSocketClose{}, ""},
		},
		"in a denial": {
			{pagi.WebSocketHTTPResponseStart{Status: 99}, "'status' must be"},
			{pagi.WebSocketHTTPResponseStart{Status: 404, Headers: pagi.NewHeaders("content-length", "x")}, "content-length that is no number"},
			{pagi.WebSocketHTTPResponseStart{Status: 404}, ""},
			{pagi.WebSocketHTTPResponseStart{Status: 404}, "answered already"},
			{pagi.WebSocketAccept{}, "only websocket.http.response.body"},
			{pagi.WebSocketClose{}, "only websocket.http.response.body"},
			{pagi.WebSocketHTTPResponseBody{}, ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, carrier string) {
				done := make(chan error, 1)
				p := serve(t, carrier, &ws.Server{}, func(s *session) (err error) {
					s.next()
					for i, step := range steps {
						got := s.send(s.ctx, step.ev)
						if (got == nil) != (step.want == "") || got != nil && !strings.Contains(got.Error(), step.want) {
							t.Errorf("step %d, %T: %v, want %q", i, step.ev, got, step.want)
						}
					}
					done <- nil
					return nil
				}).dial()
				if p.status < 300 {
					p.raw(closing(1000, ""))
				}
				testkit.Await(t, done)
			})
		})
	}
}

func TestReceiveAfterADenial(t *testing.T) {
	done := make(chan error, 1)
	serve(t, "http1", &ws.Server{}, func(s *session) error {
		s.next()
		err := errors.Join(s.send(s.ctx, pagi.WebSocketHTTPResponseStart{Status: 404}), s.send(s.ctx, pagi.WebSocketHTTPResponseBody{}))
		_, receiveErr := s.receive(s.ctx)
		done <- receiveErr
		return err
	}).dial()
	if err := testkit.Await(t, done); err == nil || !strings.Contains(err.Error(), "nothing to receive") {
		t.Error(err)
	}
}

// TestLeavingBeforeTheAnswer: an application that waits notices a client that leaves.
func TestLeavingBeforeTheAnswer(t *testing.T) {
	for _, carrier := range []string{"http1", "net/http"} {
		t.Run(carrier, func(t *testing.T) {
			ends, causes := make(chan pagi.WebSocketDisconnect, 1), make(chan error, 1)
			x := serve(t, carrier, &ws.Server{}, func(s *session) error {
				s.next()
				ends <- s.next().(pagi.WebSocketDisconnect)
				<-s.ctx.Done()
				causes <- context.Cause(s.ctx)
				return s.accept() // to nobody
			})
			c := testkit.Dial(t, x.addr)
			c.Say("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " + sampleKey + "\r\nSec-WebSocket-Version: 13\r\n\r\n")
			c.Close()
			ended(t, ends, 1006, pagi.ReasonClientClosed)
			var cause *pagi.DisconnectError
			if err := testkit.Await(t, causes); !errors.As(err, &cause) || cause.Reason != pagi.ReasonClientClosed {
				t.Error(err)
			}
		})
	}
}

// TestFramesWithTheHandshake: frames that come in the same packet are not lost.
func TestFramesWithTheHandshake(t *testing.T) {
	for _, carrier := range []string{"http1", "net/http"} {
		ends := make(chan pagi.WebSocketDisconnect, 1)
		x := serve(t, carrier, &ws.Server{}, echo(ends))
		c := testkit.Dial(t, x.addr)
		c.Say("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " + sampleKey +
			"\r\nSec-WebSocket-Version: 13\r\n\r\n" + string(frame(text, strings.Repeat("x", 3000))) + string(closing(1000, "")))
		ended(t, ends, 1000, "")
	}
}
