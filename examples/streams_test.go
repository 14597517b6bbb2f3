package examples

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pagi-go/pagi-bridge/examples/02-streaming-response/chunks"
	"github.com/pagi-go/pagi-bridge/examples/05-sse-broadcaster/ticks"
	"github.com/pagi-go/pagi-bridge/examples/07-extension-fullflush/lines"
	"github.com/pagi-go/pagi-bridge/examples/13-flow-control/feed"
	"github.com/pagi-go/pagi-bridge/examples/14-periodic-events/periodic"
	"github.com/pagi-go/pagi-bridge/examples/17-event-middleware/ticking"
	"github.com/pagi-go/pagi-bridge/examples/18-bidirectional-websocket/duplex"
	"github.com/pagi-go/pagi-bridge/examples/sse-close/progress"
	"github.com/pagi-go/pagi-bridge/examples/sse-dashboard/dashboard"
	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// linted makes each violation of the specification a failure.
func linted(app pagi.App) pagi.App { return middleware.Lint{Strict: true}.Wrap(app) }

// bubble runs a test with a clock of its own, so that the applications wait as long as they do by hand.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	pagitest.InMemory(t, "a clock of its own")
	synctest.Test(t, test)
}

func TestChunksComeOneByOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		began := time.Now()
		res := pagitest.New(linted(chunks.New(time.Second))).Get("/")
		res.Expect(t, 200, "Chunk 3")
		if took := time.Since(began); took != 2*time.Second || res.Trailers.Get("x-stream-complete") != "1" {
			t.Errorf("%s, trailers %v", took, res.Trailers)
		}
	})
}

func TestChunksEndWithTheClient(t *testing.T) {
	bubble(t, func(t *testing.T) {
		began := time.Now()
		exchange := pagitest.New(linted(chunks.New(time.Hour))).Begin("GET", "/")
		exchange.Next() // the head
		if body, ok := exchange.Next(); !ok || string(body.(pagi.HTTPResponseBody).Body) != "Chunk 1\n" {
			t.Fatalf("%+v", body)
		}
		exchange.Disconnect(pagi.ReasonClientClosed)
		if res := exchange.Finish(); res.Err != nil || res.Connection.ResponseComplete() || time.Since(began) > time.Second {
			t.Errorf("%v after %s", res.Err, time.Since(began))
		}
	})
}

func TestTicksEndWithTheClient(t *testing.T) {
	bubble(t, func(t *testing.T) {
		began := time.Now()
		stream := pagitest.New(linted(ticks.New(time.Second))).Events("/")
		if event, ok := stream.Next(); !ok || event.Data != "1" {
			t.Errorf("%+v", event)
		}
		stream.Disconnect(pagi.ReasonClientClosed)
		if res := stream.Finish(); res.Err != nil || time.Since(began) != time.Second {
			t.Errorf("%v after %s", res.Err, time.Since(began))
		}
	})
}

// The flushes are between the lines, and only where the server has the extension.
func TestFlushes(t *testing.T) {
	pagitest.InMemory(t, "the events")
	client := pagitest.New(linted(lines.New()))
	types := func() string {
		var all []string
		for _, event := range client.Get("/").Expect(t, 200, "Line 1\nLine 2\nLine 3\n").Events {
			all = append(all, strings.TrimPrefix(event.EventType(), "http."))
		}
		return strings.Join(all, " ")
	}
	if got := types(); got != "response.start response.body fullflush response.body fullflush response.body" {
		t.Error(got)
	}
	client.Extensions = map[string]any{}
	if got := types(); got != "response.start response.body response.body response.body" {
		t.Error(got)
	}
}

// A slow client gets fewer readings, but the ones it gets are fresh.
func TestASlowClientMissesReadings(t *testing.T) {
	bubble(t, func(t *testing.T) {
		began := time.Now()
		stream := pagitest.New(linted(feed.New(20*time.Millisecond))).Events("/", pagitest.SlowReader(20_000, 1000))
		time.Sleep(5 * time.Second) // of the bubble's clock: 250 readings
		stale := 0
		for { // what was buffered meanwhile, and then a fresh one
			event, ok := stream.Next()
			if !ok || event.Event != "reading" {
				t.Fatalf("%+v", event)
			}
			at, err := time.ParseInLocation(time.ANSIC, strings.TrimSpace(strings.TrimRight(event.Data, ".")), time.Local)
			if err != nil {
				t.Fatal(err)
			}
			if at.Sub(began) >= 5*time.Second {
				break
			}
			stale++
		}
		if stale > 10 {
			t.Errorf("%d stale readings of 2 KB came, though no more than 10 KB should wait", stale)
		}
		stream.Disconnect(pagi.ReasonClientClosed)
		if res := stream.Finish(); res.Err != nil {
			t.Error(res.Err)
		}
	})
}

func TestPeriodicEvents(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client := pagitest.Start(t, linted(periodic.New(2*time.Second, 5*time.Second)))
		client.Get("/").Expect(t, 200, `"count":0`, `"beats":0`)
		client.Get("/next").Expect(t, 200, `{"tick":1}`)
		client.Get("/next").Expect(t, 200, `{"tick":2}`)
		exchange := client.Begin("GET", "/stream")
		exchange.Next() // the head
		for _, line := range []string{"{\"tick\":3}\n", "{\"tick\":4}\n"} {
			if body, _ := exchange.Next(); string(body.(pagi.HTTPResponseBody).Body) != line {
				t.Errorf("%+v, want %q", body, line)
			}
			if flush, _ := exchange.Next(); flush != (pagi.HTTPFullFlush{}) {
				t.Errorf("%+v", flush)
			}
		}
		exchange.Disconnect(pagi.ReasonClientClosed)
		if res := exchange.Finish(); res.Err != nil {
			t.Error(res.Err)
		}
		client.Get("/any/path").Expect(t, 200, `"count":4`, `"beats":1`)
	}) // which also fails if the goroutine has not ended by then
}

func TestTicksBetweenTheEventsOfTheProtocol(t *testing.T) {
	bubble(t, func(t *testing.T) {
		exchange := pagitest.New(linted(ticking.New(2*time.Second))).Begin("POST", "/", pagitest.Stream())
		exchange.Next() // the head
		next := func(want string) {
			t.Helper()
			if body, ok := exchange.Next(); !ok || string(body.(pagi.HTTPResponseBody).Body) != want {
				t.Errorf("%+v, want %q", body, want)
			}
		}
		next("{\"tick\":1}\n")
		if err := exchange.Write("a piece of the request"); err != nil { // the receive that the tick has overtaken gets it
			t.Error(err)
		}
		next("{\"tick\":2}\n")
		if err := exchange.CloseBody(); err != nil {
			t.Error(err)
		}
		next("{\"tick\":3}\n")
		exchange.Disconnect(pagi.ReasonClientClosed)
		if res := exchange.Finish(); res.Err != nil {
			t.Error(res.Err)
		}
	})
}

// The same over a socket, whose client leaves in the middle.
func TestTicksOverASocket(t *testing.T) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, serve(t, ticking.New(soon))+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	begin := make([]byte, len("{\"tick\":1}\n"))
	if _, err := res.Body.Read(begin); err != nil || string(begin) != "{\"tick\":1}\n" {
		t.Errorf("%q, %v", begin, err)
	}
}

func TestBothDirections(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ws := pagitest.New(linted(duplex.New(time.Second))).WebSocket("/")
		hears := func(want string) {
			t.Helper()
			if text, err := ws.ReceiveText(); text != want || err != nil {
				t.Errorf("%q, %v, want %q", text, err, want)
			}
		}
		hears("server tick #1")
		hears("server tick #2")
		if err := ws.SendText("hi"); err != nil {
			t.Error(err)
		}
		hears("you said: HI")
		hears("server tick #3")
		if err := ws.Close(1000, ""); err != nil {
			t.Error(err)
		}
		if err := ws.Finish(); err != nil {
			t.Error(err)
		}
	})
}

// The reason of a close is for the server's side; the client finds the end of the stream.
func TestCloseOfAStream(t *testing.T) {
	pagitest.InMemory(t, "the events")
	res := pagitest.New(linted(progress.New(soon))).Events("/jobs").Finish()
	last := res.Events[len(res.Events)-1]
	if last != (pagi.SSEClose{Reason: "job_complete"}) || strings.Contains(res.Text(), "job_complete") || res.Err != nil {
		t.Errorf("%+v, %v", last, res.Err)
	}
}

// Numbers are sent while there is a subscriber, and to all at once.
func TestDashboard(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client := pagitest.Start(t, linted(dashboard.New(2*time.Second)))
		next := func(stream *pagitest.EventStream) pagitest.ServerEvent {
			t.Helper()
			event, ok := stream.Next()
			if !ok {
				t.Fatal("the stream has ended")
			}
			return event
		}
		buffered := pagitest.SlowReader(0, 0) // as a socket does, so that events are not dropped
		one := client.Events("/events", buffered)
		if event := next(one); event.Event != "connected" || next(one).ID != "1" {
			t.Errorf("%+v", event)
		}
		two := client.Events("/events", buffered)
		next(two)
		if a, b := next(one), next(two); a != b || a.ID != "2" {
			t.Errorf("%+v and %+v", a, b)
		}
		for _, stream := range []*pagitest.EventStream{one, two} {
			stream.Disconnect(pagi.ReasonClientClosed)
			if res := stream.Finish(); res.Err != nil {
				t.Error(res.Err)
			}
		}
		time.Sleep(time.Hour) // without subscribers there are no events
		three := client.Events("/events", buffered)
		next(three)
		if event := next(three); event.ID != "3" {
			t.Errorf("%+v", event)
		}
		three.Disconnect(pagi.ReasonClientClosed)
		if res := three.Finish(); res.Err != nil {
			t.Error(res.Err)
		}
	})
}
