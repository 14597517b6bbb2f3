package ws

import (
	"net"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// TestPartsOfFramesAreNotIdle says that every read, and every piece written, counts.
func TestPartsOfFramesAreNotIdle(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	c := (&Server{IdleTimeout: time.Hour}).newConn(here, nil, &pagi.Scope{}, engine.WebSocketHooks{Flow: engine.NewFlowMeter(0, 0)}, nil)
	defer c.Drop()
	active := func(what string) {
		t.Helper()
		if c.active.Swap(0) == 0 {
			t.Errorf("%s does not count", what)
		}
	}
	said := make(chan error, 1)
	go func() {
		for _, part := range []string{"\x82\x82\x00\x00\x00\x00a", "b"} {
			if _, err := there.Write([]byte(part)); err != nil {
				said <- err
				return
			}
		}
		_, err := there.Read(make([]byte, 1))
		said <- err
	}()
	var m message
	if err := c.nextFrame(&m); err != nil {
		t.Fatal(err)
	}
	active("a head")
	for _, want := range []string{"a", "b"} {
		if p, err := c.next(&m); err != nil || string(p) != want {
			t.Fatalf("%q, %v", p, err)
		}
	}
	active("the rest of a frame")
	c.write([]byte("x"), 0)
	active("a piece that is written")
	if err := <-said; err != nil {
		t.Error(err)
	}
}
