package perlpagi_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/perlpagi"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest/socket"
)

// awaitCalls waits until no call of the application goes on.
func (m *mounted) awaitCalls(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, "all calls have ended", func() bool { return m.Get("/count").Text() == "0" })
}

// A client may leave before and after each event of each type of scope. The call ends, and the worker serves on.
func TestClientsThatLeaveAtEachEvent(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "edges.pl"})
	pid := m.status().Workers[0].PID
	for n := range 4 {
		target := fmt.Sprintf("/step?n=%d", n)
		for _, options := range [][]pagitest.Option{{pagitest.AcceptEvents()}, nil} {
			x := m.Begin("GET", target, options...)
			for range n {
				if _, ok := x.Next(); !ok {
					t.Errorf("%s: no event", target)
				}
			}
			x.Disconnect(pagi.ReasonClientClosed)
			_ = x.Finish() // that the answer is not complete
		}
	}
	for n := 2; n < 5; n++ {
		ws := m.WebSocket(fmt.Sprintf("/step?n=%d", n))
		for range n - 2 {
			if _, err := ws.Receive(); err != nil {
				t.Error(err)
			}
		}
		ws.Disconnect(pagi.ReasonClientClosed)
		_ = ws.Finish() // that the client has left
	}
	for n := range 2 { // before the handshake is answered
		waiting := make(chan struct{})
		go func() {
			defer close(waiting)
			c := pagitest.New(m.app)
			c.Timeout = 50 * time.Millisecond
			ws := c.WebSocket(fmt.Sprintf("/step?n=%d", n))
			_ = ws.Finish() // the client's time is over
		}()
		<-waiting
	}
	m.awaitCalls(t)
	if now := m.status().Workers[0].PID; now != pid || pid == 0 {
		t.Errorf("the worker is another one, %d instead of %d", now, pid)
	}
}

// Exceptions in callbacks are warnings. They change neither the response nor the worker.
func TestDeadCallbacks(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "edges.pl"})
	if r := m.Get("/callbacks"); r.Err != nil || len(r.Body) != 20*16000+3 {
		t.Errorf("%d bytes, %v", len(r.Body), r.Err)
	}
	x := m.Begin("GET", "/callbacks?wait", pagitest.SlowReader(65536, 16384))
	for n := 0; n < 20*16000+3; {
		ev, ok := x.Next()
		if !ok {
			t.Fatalf("the response ends after %d bytes", n)
		}
		if body, is := ev.(pagi.HTTPResponseBody); is {
			n += len(body.Body)
		}
	}
	x.Disconnect(pagi.ReasonClientClosed)
	_ = x.Finish() // that the answer is not complete
	for _, name := range []string{"on_complete", "on_disconnect", "disconnect_future", "on_high_water", "on_drain"} {
		m.log.WaitFor(t, "dead in "+name)
	}
	m.awaitCalls(t)
}

// 1,000 calls that wait for Futures of their own are all told that their clients have left.
func TestAThousandThatWaitAreCancelled(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "edges.pl"})
	const all = 1000
	open := make([]*pagitest.Exchange, all)
	for i := range open {
		open[i] = m.Begin("GET", "/waiting")
	}
	testkit.Eventually(t, "all wait", func() bool { return m.Get("/cancelled").Text() == fmt.Sprintf("0 of %d", all) })
	var leaving sync.WaitGroup
	for _, x := range open {
		leaving.Go(func() {
			x.Disconnect(pagi.ReasonClientClosed)
			_ = x.Finish() // that there is no answer
		})
	}
	leaving.Wait()
	testkit.Eventually(t, "all are cancelled", func() bool { return m.Get("/cancelled").Text() == fmt.Sprintf("%d of %[1]d", all) })
	m.awaitCalls(t)
}

// The fields of an event stream are text: characters are encoded. Numbers are text as well.
func TestEventStreamsHaveAllCharacters(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "edges.pl"})
	s := m.Events("/wide")
	var events []string
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		events = append(events, e.Event+" "+e.ID+" "+e.Data)
	}
	if r := s.Finish(); r.Err != nil {
		t.Error(r.Err)
	}
	if got, want := strings.Join(events, "|"), "☺ Ā € é|message 2 1.5"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A client that sends to a WebSocket application that does not receive has to wait. The memory of the worker stays as it is, and
// the worker serves others.
func TestAWebSocketThatIsNotReceived(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "flow.pl"})
	resident := func() int64 {
		s := m.status()
		worker.Resident(&s)
		return s.Workers[0].Resident
	}
	deaf := pagitest.New(m.app)
	deaf.Via = socket.New(t)
	ws := deaf.WebSocket("/deaf")
	before := resident()
	var sent atomic.Int64
	var client sync.WaitGroup
	client.Go(func() {
		message := make([]byte, 256<<10)
		for range 4096 { // 1 GiB
			if ws.SendBytes(message) != nil {
				return // the connection has been cut
			}
			sent.Add(int64(len(message)))
		}
	})
	last, since := int64(0), time.Now()
	testkit.Eventually(t, "the client waits", func() bool {
		if now := sent.Load(); now != last {
			last, since = now, time.Now()
		}
		return last > 0 && time.Since(since) > 300*time.Millisecond
	})
	if most := int64(16 << 20); last > most {
		t.Errorf("the application has received nothing, and %d bytes were taken from the client", last)
	}
	if grown := resident() - before; grown > 8<<20 {
		t.Errorf("the worker has grown by %d bytes", grown)
	}
	if r := m.Get("/hear"); r.Status != 200 {
		t.Errorf("%+v", r)
	}
	client.Wait() // the application has returned, which closes the connection
	ws.Disconnect(pagi.ReasonClientClosed)
	_ = ws.Finish() // that the client has left
}
