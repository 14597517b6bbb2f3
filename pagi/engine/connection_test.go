package engine_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// disconnect and complete end a request as a server does.
func disconnect(k *engine.ConnectionControl, reason string) (first bool) {
	callbacks, first := k.Disconnect(reason)
	callbacks.Run()
	return first
}

func complete(k *engine.ConnectionControl) {
	callbacks, _ := k.Complete()
	callbacks.Run()
}

func TestConnectionDisconnects(t *testing.T) {
	control := &engine.ConnectionControl{}
	c := control.Connection()
	future := c.Disconnected()
	var order []string
	for _, name := range []string{"first", "second"} {
		c.OnDisconnect(func(reason string) {
			if c.IsConnected() || c.DisconnectReason() != reason {
				t.Error("a callback ran before the state was set")
			}
			select {
			case <-future:
			default:
				t.Error("a callback ran before the future was resolved")
			}
			order = append(order, name+" "+reason)
		})
	}
	c.OnComplete(func() { t.Error("on_complete ran after a disconnect") })
	if !c.IsConnected() || c.DisconnectReason() != "" {
		t.Error("ended before it began")
	}
	if !disconnect(control, pagi.ReasonClientClosed) {
		t.Error("the first Disconnect did nothing")
	}
	if disconnect(control, pagi.ReasonWriteError) {
		t.Error("a second Disconnect did something")
	}
	complete(control)
	if !slices.Equal(order, []string{"first client_closed", "second client_closed"}) {
		t.Errorf("callbacks: %q", order)
	}
	if c.IsConnected() || c.DisconnectReason() != "client_closed" || c.ResponseComplete() {
		t.Error("wrong state after the disconnect")
	}
	late := ""
	c.OnDisconnect(func(reason string) { late = reason })
	c.OnComplete(func() { t.Error("a late on_complete ran") })
	if late != "client_closed" {
		t.Errorf("a late callback got %q", late)
	}
	select {
	case <-c.Disconnected():
	default:
		t.Error("a future asked for late is not resolved")
	}
}

func TestDisconnectedIsResolvedWhenAskedForFirstAfterTheEnd(t *testing.T) {
	control := &engine.ConnectionControl{}
	c := control.Connection()
	disconnect(control, "x-test")
	select {
	case <-c.Disconnected():
	default:
		t.Error("not resolved")
	}
}

func TestConnectionCompletes(t *testing.T) {
	control := &engine.ConnectionControl{}
	c := control.Connection()
	future := c.Disconnected()
	completed := 0
	c.OnComplete(func() { completed++ })
	c.OnDisconnect(func(string) { t.Error("on_disconnect ran after completion") })
	control.Start()
	if !c.ResponseStarted() || c.ResponseComplete() {
		t.Error("wrong state after the start")
	}
	complete(control)
	complete(control)
	if disconnect(control, pagi.ReasonClientClosed) {
		t.Error("Disconnect did something after completion")
	}
	c.OnComplete(func() { completed += 10 })
	c.OnDisconnect(func(string) { t.Error("a late on_disconnect ran") })
	if completed != 11 {
		t.Errorf("callbacks ran to a count of %d, want once each", completed)
	}
	if c.IsConnected() || c.DisconnectReason() != "" || !c.ResponseComplete() {
		t.Error("wrong state after completion")
	}
	select {
	case <-future:
		t.Error("the disconnect future was resolved by completion")
	case <-c.Disconnected():
		t.Error("the disconnect future was resolved by completion")
	default:
	}
}

func TestAPanickingCallbackDoesNotStopTheNext(t *testing.T) {
	control := &engine.ConnectionControl{}
	c := control.Connection()
	ran := false
	c.OnDisconnect(func(string) { panic("in a test") })
	c.OnDisconnect(func(string) { ran = true })
	disconnect(control, pagi.ReasonServerError)
	if !ran {
		t.Error("the second callback did not run")
	}
	c.OnDisconnect(func(string) { panic("in a test, late") })
}

func TestConnectionEndsOnceUnderConcurrency(t *testing.T) {
	for range 200 {
		control := &engine.ConnectionControl{}
		c := control.Connection()
		var mu sync.Mutex
		ends := 0
		count := func() { mu.Lock(); ends++; mu.Unlock() }
		c.OnComplete(count)
		c.OnDisconnect(func(string) { count() })
		var wg sync.WaitGroup
		wg.Go(func() { complete(control) })
		wg.Go(func() { disconnect(control, pagi.ReasonClientClosed) })
		wg.Go(func() { c.OnComplete(func() {}); c.OnDisconnect(func(string) {}); c.Disconnected(); c.IsConnected() })
		wg.Wait()
		if ends != 1 {
			t.Fatalf("%d callbacks ran, want 1", ends)
		}
	}
}
