package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

//go:embed testdata/browser.html
var browserPage []byte

// browserSite is the server for the checks of the page.
type browserSite struct {
	gone    chan struct{} // told by /go
	aborted chan string
	report  chan []byte
}

func (b *browserSite) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	switch scope.Type {
	case pagi.TypeSSE:
		return b.serveEvents(ctx, scope, receive, send)
	case pagi.TypeWebSocket:
		return b.serveSocket(ctx, receive, send)
	case pagi.TypeHTTP:
	default:
		return pagi.Unsupported(scope)
	}
	body, err := io.ReadAll(request.BodyReader(ctx, receive))
	if err != nil {
		return err
	}
	piece := func(text string, more bool) error {
		return send(ctx, pagi.HTTPResponseBody{Body: []byte(text), More: more})
	}
	if scope.Path == "/stream" || scope.Path == "/endless" {
		if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
			return err
		}
	}
	switch scope.Path {
	case "/":
		return errors.Join(
			send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "text/html")}),
			send(ctx, pagi.HTTPResponseBody{Body: browserPage}))
	case "/stream":
		if err := piece("first", true); err != nil {
			return err
		}
		<-b.gone
		return piece("second", false)
	case "/endless":
		err := piece("x", true)
		<-ctx.Done()
		b.aborted <- scope.Connection.DisconnectReason()
		return err
	case "/go":
		close(b.gone)
	case "/aborted":
		return reply(ctx, send, <-b.aborted)
	case "/upload":
		sum := sha256.Sum256(body)
		return reply(ctx, send, hex.EncodeToString(sum[:]))
	case "/report":
		b.report <- body
	}
	return reply(ctx, send, "")
}

// serveEvents ends the stream after each event, so that the browser comes again.
func (b *browserSite) serveEvents(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	events := []pagi.Event{pagi.SSEStart{}}
	last := scope.Headers.Get("last-event-id")
	if last != "" {
		events = append(events, pagi.SSESend{Data: "after " + last})
	}
	switch {
	case scope.Path == "/ask":
		body, err := io.ReadAll(request.BodyReader(ctx, receive))
		if err != nil {
			return err
		}
		events = append(events, pagi.SSESend{Data: string(body) + "?"})
	case last == "":
		events = append(events, pagi.SSESend{Event: "count", ID: "1", Data: "one\ntwo", Retry: 10 * time.Millisecond})
	case last == "1":
		events = append(events, pagi.SSESend{Event: "count", ID: "2", Data: "three"})
	default:
		select {
		case <-b.gone: // the second time: a browser stops at this
			events = []pagi.Event{pagi.SSEHTTPResponseStart{Status: 204}, pagi.SSEHTTPResponseBody{}}
		default:
			close(b.gone)
		}
	}
	for _, ev := range events {
		if err := send(ctx, ev); err != nil {
			return err
		}
	}
	return nil
}

// serveSocket echoes until "bye".
func (b *browserSite) serveSocket(ctx context.Context, receive pagi.Receive, send pagi.Send) error {
	for {
		ev, err := receive(ctx)
		if err != nil {
			return err
		}
		switch e := ev.(type) {
		case pagi.WebSocketConnect:
			err = send(ctx, pagi.WebSocketAccept{Subprotocol: "echo"})
		case pagi.WebSocketReceive:
			if e.Text == "bye" {
				return send(ctx, pagi.WebSocketClose{Code: 4000, Reason: "enough"})
			}
			err = send(ctx, pagi.WebSocketSend(e))
		case pagi.WebSocketDisconnect:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// A real browser, Chromium, runs the checks of a page over TLS and HTTP/2.
func TestBrowser(t *testing.T) {
	chromium := testkit.Tool(t, "chromium", "chromium")
	checks := []string{"eventSource", "eventsByPost", "streaming", "upload", "abort", "http2", "webSocket"}
	pair := testkit.Certificate(t)
	for _, name := range checks {
		t.Run(name, func(t *testing.T) {
			app := &browserSite{gone: make(chan struct{}), aborted: make(chan string, 1), report: make(chan []byte, 1)}
			x := launch(t, &Server{App: app, TLSCert: pair.CertFile, TLSKey: pair.KeyFile, Timeouts: Timeouts{ShutdownTimeout: time.Second}})
			var said bytes.Buffer
			browser := exec.CommandContext(t.Context(), chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
				"--no-first-run", "--disable-background-networking", "--disable-component-update", "--ignore-certificate-errors",
				"--user-data-dir="+t.TempDir(), fmt.Sprintf("https://%s/?checks=%s", x.addr, name))
			browser.Stderr = &said
			if err := browser.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = browser.Process.Kill() // it has reported or never will
				_ = browser.Wait()
			}()
			select {
			case text := <-app.report:
				outcome := map[string]string{}
				if err := json.Unmarshal(text, &outcome); err != nil || len(outcome) == 0 {
					t.Fatalf("report %q, %v", text, err)
				}
				for name, wrong := range outcome {
					if wrong != "" {
						t.Errorf("%s: %s", name, wrong)
					}
				}
			case <-time.After(2 * testkit.Patience):
				lines := strings.Split(said.String(), "\n")
				t.Fatalf("the browser does not report; it says\n%s", strings.Join(lines[max(0, len(lines)-20):], "\n"))
			}
		})
	}
}
