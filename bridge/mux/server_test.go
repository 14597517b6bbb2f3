package mux_test

import (
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/mux"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest/socket"
)

// The same as in memory, over the sockets of our own server.
func TestBehindTheServer(t *testing.T) {
	b := start(t, pagi.AppFunc(sample), mux.Options{}, offers{})
	c := pagitest.Start(t, b, socket.New(t))
	if r := c.Get("/state"); r.Text() != "open in worker 0" {
		t.Errorf("the lifespan's state: %+v", r)
	}
	big := strings.Repeat("0123456789abcdef", 1<<16)
	if r := c.Post("/echo", pagitest.Body(big)); r.Text() != big {
		t.Errorf("%d bytes come back of %d, %v", len(r.Body), len(big), r.Err)
	}
	if r := c.Get("/error"); r.Status != 500 {
		t.Errorf("an exception: %d", r.Status)
	}
	ws := c.WebSocket("/", pagitest.Subprotocols("v1"))
	for _, text := range []string{"hi", strings.Repeat("é", 100<<10)} {
		if err := ws.SendText(text); err != nil {
			t.Fatal(err)
		}
		if got, err := ws.ReceiveText(); got != text || err != nil {
			t.Errorf("%d bytes come back of %d, %v", len(got), len(text), err)
		}
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
	stream := c.Events("/events")
	if ev, ok := stream.Next(); !ok || ev.Data != "one\ntwo" || ev.ID != "7" {
		t.Errorf("%+v %v", ev, ok)
	}
	if r := stream.Finish(); r.Err != nil {
		t.Error(r.Err)
	}
	testkit.Eventually(t, "all streams but the lifespan to end", func() bool { return b.Load() == 1 })
}
