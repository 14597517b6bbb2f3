package mux_test

import (
	"context"
	"errors"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/mux"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func TestSet(t *testing.T) {
	var set mux.Set
	client := pagitest.New(pagi.AppFunc(set.Serve))
	if r := client.Get("/"); !errors.Is(r.Err, mux.ErrBusy) {
		t.Fatalf("an empty set: %v", r.Err)
	}
	few := offers{worker: wire.Offer{Streams: 3}}
	a, b := start(t, pagi.AppFunc(sample), mux.Options{}, few), start(t, pagi.AppFunc(sample), mux.Options{}, few)
	set.Add(a.Conn)
	set.Add(b.Conn)
	var open []*pagitest.WebSocket
	for i := range 6 {
		ws := client.WebSocket("/")
		if !ws.Accepted {
			t.Fatalf("WebSocket %d is refused", i)
		}
		open = append(open, ws)
		if low, high := i/2, (i+1)/2+1; a.Load() < low || a.Load() > high || b.Load() < low || b.Load() > high {
			t.Errorf("after %d scopes the workers have %d and %d", i+1, a.Load(), b.Load())
		}
	}
	if r := client.Get("/"); !errors.Is(r.Err, mux.ErrBusy) {
		t.Errorf("with as many streams as the workers take: %v", r.Err)
	}
	for _, ws := range open[:5] {
		if err := ws.Finish(); err != nil {
			t.Error(err)
		}
	}
	testkit.Eventually(t, "five streams to end", func() bool { return a.Load()+b.Load() == 1 })
	set.Remove(a.Conn)
	for range 10 {
		if r := client.Get("/"); r.Text() != "hello" {
			t.Fatalf("%+v", r)
		}
	}
	if err := open[5].SendText("still there?"); err != nil {
		t.Error(err)
	}
	if got, err := open[5].ReceiveText(); got != "still there?" {
		t.Errorf("%q %v", got, err)
	}
	if err := open[5].Finish(); err != nil {
		t.Error(err)
	}
	b.Close()
	<-b.ended
	if err := set.Serve(context.Background(), &pagi.Scope{Type: pagi.TypeHTTP}, nil, nil); !errors.Is(err, mux.ErrBusy) {
		t.Errorf("with an ended connection: %v", err)
	}
}
