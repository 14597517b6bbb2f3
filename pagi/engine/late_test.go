package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
)

// Tests of parties that are late: they find their own request's bytes or an error, and
// never anything of another request.

const lateBody = 32 << 10

// post sends a body of one letter repeated, and returns the response's body.
func (x *fixture) post(path, letter string) string {
	x.t.Helper()
	res, err := x.client().Post(x.url+path, "text/plain", strings.NewReader(strings.Repeat(letter, lateBody)))
	if err != nil {
		x.t.Error(err)
		return ""
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		x.t.Error(err)
	}
	return string(body)
}

// An application keeps a piece of the request's body, against the rules, and looks at it
// after it has returned and others have been served.
func TestPieceThatIsKept(t *testing.T) {
	onAll(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
		var kept []byte
		x := serve(engine.Handler{}, func(c *call) error {
			for more := true; more; {
				ev, err := c.receive(c.ctx)
				e, is := ev.(pagi.HTTPRequest)
				if err != nil || !is {
					return fmt.Errorf("received %v: %w", ev, err)
				}
				if more = e.More; kept == nil && len(e.Body) > 0 {
					kept = e.Body
				}
			}
			return c.reply("x")
		})
		x.post("/", "A")
		for range 8 {
			x.post("/", "B")
		}
		if bytes.Contains(kept, []byte("B")) || len(kept) == 0 {
			t.Errorf("%d bytes were kept, with those of another request", len(kept))
		}
	})
}

// lateHandler runs late in a goroutine for the first request, which goes on when the
// handler has returned; the others are answered with their own bodies.
type lateHandler struct {
	once sync.Once
	goOn chan struct{}
	late func(w http.ResponseWriter, r *http.Request)
}

func (h *lateHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	first := false
	h.once.Do(func() { first = true })
	if !first {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
		return
	}
	_, _ = io.ReadFull(r.Body, make([]byte, 100))
	go func() {
		<-h.goOn
		h.late(w, r)
	}()
	_, _ = io.WriteString(w, "first")
}

// serveLate serves a lateHandler below nethttp.App and lets its goroutine go on, beside
// other requests when amidst is set.
func serveLate(t *testing.T, amidst bool, late func(w http.ResponseWriter, r *http.Request)) {
	t.Helper()
	done := make(chan struct{})
	h := &lateHandler{goOn: make(chan struct{}), late: func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		late(w, r)
	}}
	options := engine.Handler{App: nethttp.App(h)}
	srv := httptest.NewServer(&nethttp.Adapter{Engine: &options})
	defer srv.Close()
	x := &fixture{t: t, srv: srv, url: srv.URL}
	if got := x.post("/", "A"); got != "first" {
		t.Errorf("the first one gets %q", got)
	}
	if amidst {
		close(h.goOn)
	}
	for range 20 {
		if got := x.post("/", "B"); got != strings.Repeat("B", lateBody) {
			t.Errorf("another client gets %d bytes: %.20q", len(got), got)
		}
	}
	if !amidst {
		close(h.goOn)
	}
	testkit.Await(t, done)
}

// A goroutine of a handler's reads the body after the handler has returned.
func TestBodyReadAfterTheHandler(t *testing.T) {
	for name, read := range map[string]func(io.Reader) ([]byte, error){
		"Read":    func(r io.Reader) ([]byte, error) { p := make([]byte, 1000); n, err := r.Read(p); return p[:n], err },
		"WriteTo": func(r io.Reader) ([]byte, error) { var b bytes.Buffer; _, err := io.Copy(&b, r); return b.Bytes(), err },
	} {
		for _, amidst := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " amidst others: ", amidst), func(t *testing.T) {
				serveLate(t, amidst, func(_ http.ResponseWriter, r *http.Request) {
					got, err := read(r.Body)
					if !errors.Is(err, http.ErrBodyReadAfterClose) || len(got) > 0 {
						t.Errorf("it reads %d bytes: %.20q, %v", len(got), got, err)
					}
				})
			})
		}
	}
}

// It writes after the handler has returned.
func TestWriteAfterTheHandler(t *testing.T) {
	for _, amidst := range []bool{false, true} {
		t.Run(fmt.Sprint("amidst others: ", amidst), func(t *testing.T) {
			serveLate(t, amidst, func(w http.ResponseWriter, _ *http.Request) {
				for range 50 {
					w.Header().Set("X-Late", "yes")
					w.WriteHeader(500)
					if n, err := w.Write([]byte("late")); err == nil || n > 0 {
						t.Errorf("it writes %d bytes, %v", n, err)
					}
					if n, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader("late")); err == nil || n > 0 {
						t.Errorf("it copies %d bytes, %v", n, err)
					}
					if err := http.NewResponseController(w).Flush(); err == nil {
						t.Error("it flushes")
					}
				}
			})
		})
	}
}

// It writes while the handler returns: the race detector and the client find nothing.
func TestWriteWhileTheHandlerReturns(t *testing.T) {
	var writers sync.WaitGroup
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		word := r.URL.Path
		writers.Go(func() {
			for range 100 {
				if _, err := io.WriteString(w, word); err != nil {
					return
				}
			}
		})
		_, _ = io.WriteString(w, word)
	})
	srv := httptest.NewServer(nethttp.Handler(nethttp.App(h)))
	defer srv.Close()
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			for n := range 50 {
				word := fmt.Sprintf("/%d-%d", i, n)
				res, err := srv.Client().Get(srv.URL + word)
				if err != nil {
					t.Error(err)
					return
				}
				body, _ := io.ReadAll(res.Body)
				res.Body.Close()
				if strings.ReplaceAll(string(body), word, "") != "" {
					t.Errorf("%s gets %q", word, body)
				}
			}
		})
	}
	clients.Wait()
	writers.Wait()
}

// lastPiece is a body whose second piece comes together with the end of the request.
type lastPiece struct {
	pieces int
	cancel context.CancelFunc
	ended  <-chan struct{} // the request's context
	waits  chan struct{}   // closed when the application does not wait for the body
}

func (b *lastPiece) Read(p []byte) (int, error) {
	if b.pieces++; b.pieces == 1 {
		return copy(p, "one"), nil
	}
	<-b.waits
	b.cancel()
	<-b.ended
	time.Sleep(20 * time.Millisecond) // what watches the context has seen it end
	return copy(p, "two"), nil
}

func (b *lastPiece) Close() error { return nil }

// An application has given up waiting for the next piece of a body and waits for the end
// of its request. The piece and the client's leaving come together: the end is told.
func TestEndThatComesWithAPiece(t *testing.T) {
	for _, tt := range []struct {
		name, accept string
		major        int
	}{{"http/1", "*/*", 1}, {"http/2", "*/*", 2}, {"http/3", "*/*", 3}, {"sse", "text/event-stream", 1}, {"sse/2", "text/event-stream", 2}} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			body := &lastPiece{cancel: cancel, ended: ctx.Done(), waits: make(chan struct{})}
			r := httptest.NewRequestWithContext(ctx, "POST", "/", body)
			r.Header.Set("Accept", tt.accept)
			r.ProtoMajor, r.ProtoMinor = tt.major, 0
			told := make(chan string, 1)
			app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
				if scope.Connection != nil {
					scope.Connection.OnDisconnect(func(reason string) { told <- reason })
				} else {
					told <- pagi.ReasonClientClosed // an sse scope has none
				}
				if _, err := receive(ctx); err != nil {
					return err
				}
				short, cancel := context.WithCancel(ctx)
				time.AfterFunc(time.Millisecond, cancel)
				if ev, err := receive(short); err == nil {
					t.Errorf("received %v", ev)
				}
				done := ctx.Done()
				close(body.waits)
				if !await(done) {
					t.Error("the context goes on")
				}
				var gone *pagi.DisconnectError
				if err := context.Cause(ctx); !errors.As(err, &gone) || gone.Reason != pagi.ReasonClientClosed {
					t.Errorf("it has ended with %v", err)
				}
				return nil
			})
			func() {
				defer func() { _ = recover() }() // the connection is cut
				nethttp.Handler(app).ServeHTTP(httptest.NewRecorder(), r)
			}()
			if reason := testkit.Await(t, told); reason != pagi.ReasonClientClosed {
				t.Errorf("told %q", reason)
			}
		})
	}
}

// fullConn is a WebSocket whose client sends more than is read ahead, and then leaves.
type fullConn struct {
	engine.WebSocketConn
	given bool
	left  chan struct{}
}

func (f *fullConn) Receive() (pagi.WebSocketReceive, error) {
	if !f.given {
		f.given = true
		return pagi.WebSocketReceive{Bytes: make([]byte, engine.ReadAhead), Binary: true}, nil
	}
	<-f.left
	return pagi.WebSocketReceive{}, &engine.WebSocketEnd{Code: 1006, Reason: pagi.ReasonClientClosed}
}

func (f *fullConn) Drop()                 {}
func (f *fullConn) SendClose(int, string) {}
func (f *fullConn) Close()                {}
func (f *fullConn) Sent() int64           { return 0 }

type welcome struct {
	refusal
	conn *fullConn
}

func (h welcome) Accept(pagi.WebSocketAccept, engine.WebSocketHooks) (engine.WebSocketConn, error) {
	return h.conn, nil
}

// The client of a WebSocket leaves while the reader waits for an application that takes
// no messages: it is told all the same, and finds the message before the end.
func TestEndThatComesBehindAFullQueue(t *testing.T) {
	f := &fullConn{left: make(chan struct{})}
	ctx, cancel := context.WithCancelCause(t.Context())
	s := &engine.WebSocketSession{Scope: &pagi.Scope{Type: pagi.TypeWebSocket}, Handshake: welcome{refusal{make(chan struct{})}, f}, EndContext: cancel}
	s.App = pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if _, err := receive(ctx); err != nil {
			return err
		}
		if err := send(ctx, pagi.WebSocketAccept{}); err != nil {
			return err
		}
		testkit.Eventually(t, "the reader to wait", s.IsPaused)
		close(f.left)
		s.Lose()
		if !await(ctx.Done()) {
			t.Error("the context goes on")
		}
		for _, want := range []string{"websocket.receive", "websocket.disconnect"} {
			if ev, err := receive(context.Background()); err != nil || ev.EventType() != want {
				t.Errorf("received %v, %v, want %s", ev, err, want)
			}
		}
		return nil
	})
	if out := s.Serve(ctx); out.Err != nil || !out.Accepted {
		t.Errorf("%+v", out)
	}
}
