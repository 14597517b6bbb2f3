package main

import (
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest/socket"
)

func TestMain(m *testing.M) { socket.Main(m) }

// linted makes each violation of the specification a failure.
func linted(app pagi.App) pagi.App { return middleware.Lint{Strict: true}.Wrap(app) }

func TestPages(t *testing.T) {
	client := pagitest.Start(t, linted(site()))
	client.Get("/").Expect(t, 200, "<h1>A form, an upload, a stream, a chat</h1>")
	client.Post("/contact", pagitest.Form("name", "Ann", "message", "hi")).Expect(t, 200, "Thank you, Ann. This was message 1 of yours.")
	client.Post("/contact", pagitest.Form("name", "Ann", "message", "ho")).Expect(t, 200, "This was message 2 of yours.")
	client.Post("/upload", pagitest.Multipart(pagitest.Part{Name: "file", Filename: "a.log", Content: strings.Repeat("line\n", 50_000)})).
		Expect(t, 200, `{"file":"a.log","lines":50000}`)
	for status, res := range map[int]*pagitest.Response{ // the handlers return an error that has the status
		404: client.Get("/nothing"),
		415: client.Post("/upload", pagitest.Form("a", "1")),
		422: client.Post("/contact", pagitest.Form("name", "Ann")),
	} {
		if res.Status != status || res.Err == nil {
			t.Errorf("got %d, want %d, %v", res.Status, status, res.Err)
		}
	}
}

func TestClock(t *testing.T) {
	stream := pagitest.Start(t, linted(site())).Events("/clock")
	if ev, ok := stream.Next(); !ok || ev.Event != "time" || len(ev.Data) != len("15:04:05") {
		t.Errorf("%+v, %v", ev, ok)
	}
	stream.Disconnect(pagi.ReasonClientClosed)
	if res := stream.Finish(); res.Err != nil {
		t.Error(res.Err)
	}
}

func TestChat(t *testing.T) {
	client := pagitest.Start(t, linted(site()))
	client.Extensions = map[string]any{pagi.ExtDenialResponse: struct{}{}}
	if ws := client.WebSocket("/chat"); ws.Accepted || ws.Response.Status != 400 {
		t.Errorf("without a name: %+v", ws)
	}
	ann := client.WebSocket("/chat?name=Ann")
	hears := func(ws *pagitest.WebSocket, want string) {
		t.Helper()
		if text, err := ws.ReceiveText(); text != want || err != nil {
			t.Errorf("%q, want %q, %v", text, want, err)
		}
	}
	hears(ann, "Ann is here")
	bob := client.WebSocket("/chat?name=Bob")
	hears(ann, "Bob is here")
	hears(bob, "Bob is here")
	if err := bob.SendText("hello"); err != nil {
		t.Error(err)
	}
	hears(ann, "Bob: hello")
	hears(bob, "Bob: hello")
	if err := bob.Close(1000, ""); err != nil {
		t.Error(err)
	}
	hears(ann, "Bob has left")
	for _, ws := range []*pagitest.WebSocket{ann, bob} {
		if err := ws.Finish(); err != nil {
			t.Error(err)
		}
	}
}
