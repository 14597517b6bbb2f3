package sse_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
	"github.com/pagi-go/pagi-bridge/pagi/sse"
)

// app makes an application of a function that gets a Stream.
func app(f func(*sse.Stream) error) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		return f(sse.New(ctx, scope, receive, send))
	})
}

// events returns what a browser would dispatch.
func events(t *testing.T, stream *pagitest.EventStream) (all []pagitest.ServerEvent) {
	t.Helper()
	for {
		ev, ok := stream.Next()
		if !ok {
			return all
		}
		all = append(all, ev)
	}
}

func TestEventsOfEveryKind(t *testing.T) {
	stream := pagitest.New(app(func(s *sse.Stream) error {
		if s.LastEventID() != "41" {
			t.Errorf("last event id %q", s.LastEventID())
		}
		s.Retry(3 * time.Second)
		return errors.Join(
			s.SendData("two\nlines"),
			s.Comment("nothing"),
			s.Send(sse.Event{Name: "tick", Data: "é", ID: "42"}),
			s.SendJSON("json", map[string]int{"n": 7}),
			s.Close("done"),
		)
	})).Events("/", pagitest.Header("last-event-id", "41"))
	want := []pagitest.ServerEvent{
		{Event: "message", Data: "two\nlines", Retry: 3 * time.Second},
		{Event: "tick", Data: "é", ID: "42", Retry: 3 * time.Second},
		{Event: "json", Data: `{"n":7}`, ID: "42", Retry: 3 * time.Second},
	}
	if diff := cmp.Diff(want, events(t, stream)); diff != "" {
		t.Error(diff)
	}
	res := stream.Finish()
	if res.Err != nil || res.Status != 200 || !slices.Equal(stream.Comments, []string{"nothing"}) {
		t.Errorf("%d, %v, %q", res.Status, res.Err, stream.Comments)
	}
}

func TestStartSetsStatusAndHeaders(t *testing.T) {
	stream := pagitest.New(app(func(s *sse.Stream) error {
		if err := s.Start(201, pagi.NewHeaders("x-stream", "1")); err != nil {
			return err
		}
		if err := s.Start(0, nil); !errors.Is(err, sse.ErrStarted) {
			t.Errorf("a second Start: %v", err)
		}
		if err := s.Decline(answer{}); !errors.Is(err, sse.ErrStarted) {
			t.Errorf("Decline after Start: %v", err)
		}
		return s.Close("")
	})).Events("/")
	res := stream.Finish()
	if res.Err != nil || res.Status != 201 || res.Header("x-stream") != "1" {
		t.Errorf("%d, %v, %v", res.Status, res.Headers, res.Err)
	}
}

func TestTheRetryOfAMiddlewareComesWithTheFirstEvent(t *testing.T) {
	stream := pagitest.New(app(func(s *sse.Stream) error { return errors.Join(s.SendData("x"), s.Close("")) })).
		Events("/", pagitest.Edit(func(scope *pagi.Scope) { *scope = *scope.With(scopekey.SSERetry, 5*time.Second) }))
	got := events(t, stream)
	if len(got) != 1 || got[0].Retry != 5*time.Second {
		t.Errorf("%+v", got)
	}
	stream.Finish()
}

// answer is a Responder.
type answer struct{}

func (answer) Send(ctx context.Context, _ *pagi.Scope, send pagi.Send) error {
	if err := send(ctx, pagi.SSEHTTPResponseStart{Status: 403}); err != nil {
		return err
	}
	return send(ctx, pagi.SSEHTTPResponseBody{Body: []byte("no stream for you")})
}

func TestDecline(t *testing.T) {
	closed := 0
	res := pagitest.New(app(func(s *sse.Stream) error {
		s.OnClose(func(string) { closed++; _ = s.SendData("late"); _ = s.Close("late") })
		if err := s.Decline(answer{}); err != nil {
			return err
		}
		var end *sse.CloseError
		if err := s.SendData("x"); !errors.As(err, &end) {
			t.Errorf("Send after Decline: %v", err)
		}
		return nil
	})).Events("/").Finish()
	if res.Err != nil || res.Status != 403 || res.Text() != "no stream for you" || closed != 1 {
		t.Errorf("%d %q, %v, closed %d times", res.Status, res.Text(), res.Err, closed)
	}
}

func TestAfterCloseNothingIsSent(t *testing.T) {
	res := pagitest.New(app(func(s *sse.Stream) error {
		if err := errors.Join(s.SendData("x"), s.Close("first"), s.Close("second")); err != nil {
			return err
		}
		var end *sse.CloseError
		for name, err := range map[string]error{"Send": s.SendData("y"), "Comment": s.Comment("y"), "KeepAlive": s.KeepAlive(time.Second, ""), "Start": s.Start(0, nil), "Decline": s.Decline(answer{}), "Err": s.Err()} {
			if !errors.As(err, &end) || end.Reason != "first" {
				t.Errorf("%s after Close: %v", name, err)
			}
		}
		if s.TrySend(sse.Event{Data: "y"}) || s.IsWritable() {
			t.Error("writable after Close")
		}
		select {
		case <-s.Done():
		default:
			t.Error("not done after Close")
		}
		if s.Context().Err() == nil {
			t.Error("the context has not ended after Close")
		}
		return s.Wait()
	})).Events("/").Finish()
	if res.Err != nil || res.Text() != "data: x\n\n" {
		t.Errorf("%q, %v", res.Text(), res.Err)
	}
}

// However a stream ends, the functions given to OnClose run once, in their order, before the loop
// returns its error.
func TestOnCloseRunsOnce(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		run    func(*sse.Stream) error
		leaves string // the reason for which the client leaves
		reason string
		err    error
	}{
		"the client leaves Wait":  {(*sse.Stream).Wait, pagi.ReasonClientClosed, pagi.ReasonClientClosed, nil},
		"the client leaves Every": {func(s *sse.Stream) error { return s.Every(time.Hour, func() error { return nil }) }, pagi.ReasonClientClosed, pagi.ReasonClientClosed, nil},
		"the client leaves Each":  {func(s *sse.Stream) error { return sse.Each(s, make(chan int), func(int) error { return nil }) }, pagi.ReasonClientClosed, pagi.ReasonClientClosed, nil},
		"the application closes":  {func(s *sse.Stream) error { return errors.Join(s.Close("x"), s.Wait()) }, "", "x", nil},
		"a loop closes":           {func(s *sse.Stream) error { return s.Every(time.Hour, func() error { return s.Close("x") }) }, "", "x", nil},
		"a send in a loop is late": {func(s *sse.Stream) error {
			return s.Every(time.Hour, func() error { return errors.Join(s.Close("x"), s.SendData("y")) })
		}, "", "x", nil},
		"a loop fails": {func(s *sse.Stream) error { return s.Every(time.Hour, func() error { return broken }) }, "", pagi.ReasonServerError, broken},
		"a loop over items fails": {func(s *sse.Stream) error {
			items := make(chan int, 1)
			items <- 1
			return sse.Each(s, items, func(int) error { return broken })
		}, "", pagi.ReasonServerError, broken},
		"a loop panics": {func(s *sse.Stream) (err error) {
			defer func() { err = recover().(error) }()
			return s.Every(time.Hour, func() error { panic(broken) })
		}, "", pagi.ReasonServerError, broken},
	} {
		t.Run(name, func(t *testing.T) {
			var calls, after []string
			var reason string
			var err error
			running := make(chan struct{})
			stream := pagitest.New(app(func(s *sse.Stream) error {
				if err := s.Start(0, nil); err != nil {
					return err
				}
				for _, name := range []string{"first", "second"} {
					s.OnClose(func(r string) { calls, reason = append(calls, name), r })
				}
				close(running)
				err = c.run(s)
				after = slices.Clone(calls)
				s.OnClose(func(string) { calls = append(calls, "late") })
				return s.Close("")
			})).Events("/")
			if c.leaves != "" {
				go func() {
					<-running
					stream.Disconnect(c.leaves)
				}()
			}
			res := stream.Finish()
			if c.err == nil && res.Err != nil {
				t.Error(res.Err)
			}
			if diff := cmp.Diff([]string{"first", "second"}, after); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{"first", "second", "late"}, calls); diff != "" {
				t.Error(diff)
			}
			if reason != c.reason || !errors.Is(err, c.err) {
				t.Errorf("%q, %v", reason, err)
			}
		})
	}
}

func TestAPanicOfOnCloseIsTold(t *testing.T) {
	broken := errors.New("broken")
	second := false
	var err error
	pagitest.New(app(func(s *sse.Stream) error {
		s.OnClose(func(string) { panic(broken) })
		s.OnClose(func(string) { second = true })
		err = s.Every(time.Hour, func() error { return s.Close("") })
		return nil
	})).Events("/").Finish()
	var panicked *pagi.PanicError
	if !errors.As(err, &panicked) || !errors.Is(err, broken) || !second {
		t.Errorf("%v, %v", err, second)
	}
}

func TestStopLeavesTheStreamOpen(t *testing.T) {
	n := 0
	stream := pagitest.New(app(func(s *sse.Stream) error {
		err := s.Every(time.Millisecond, func() error {
			if n++; n == 3 {
				return sse.Stop
			}
			return s.SendData(strconv.Itoa(n))
		})
		return errors.Join(err, s.SendData("last"), s.Close(""))
	})).Events("/")
	var got []string
	for _, ev := range events(t, stream) {
		got = append(got, ev.Data)
	}
	if diff := cmp.Diff([]string{"1", "2", "last"}, got); diff != "" {
		t.Error(diff)
	}
	if res := stream.Finish(); res.Err != nil {
		t.Error(res.Err)
	}
}

func TestEachEndsWithItsItems(t *testing.T) {
	items := make(chan int, 3)
	for i := range 3 {
		items <- i
	}
	close(items)
	stream := pagitest.New(app(func(s *sse.Stream) error {
		return errors.Join(sse.Each(s, items, func(i int) error { return s.SendData(strconv.Itoa(i)) }), s.Close(""))
	})).Events("/")
	if n := len(events(t, stream)); n != 3 {
		t.Errorf("%d events", n)
	}
	if res := stream.Finish(); res.Err != nil {
		t.Error(res.Err)
	}
}

func TestCloseByAnotherGoroutineEndsALoop(t *testing.T) {
	for name, loop := range map[string]func(*sse.Stream) error{
		"Wait":  (*sse.Stream).Wait,
		"Every": func(s *sse.Stream) error { return s.Every(time.Hour, func() error { return nil }) },
		"Each":  func(s *sse.Stream) error { return sse.Each(s, make(chan int), func(int) error { return nil }) },
	} {
		stream := pagitest.New(app(func(s *sse.Stream) error {
			var wg sync.WaitGroup
			defer wg.Wait()
			wg.Go(func() {
				if err := errors.Join(s.SendData("x"), s.Close("over")); err != nil {
					t.Error(err)
				}
			})
			return loop(s)
		})).Events("/")
		if res := stream.Finish(); res.Err != nil || res.Text() != "data: x\n\n" {
			t.Errorf("%s: %q, %v", name, res.Text(), res.Err)
		}
	}
}

func TestSendsOfManyGoroutines(t *testing.T) {
	const senders, each = 8, 50
	stream := pagitest.New(app(func(s *sse.Stream) error {
		var wg sync.WaitGroup
		for range senders {
			wg.Go(func() {
				for range each {
					if err := s.SendData("x"); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		for range senders {
			wg.Go(func() { _ = s.Close("") })
		}
		wg.Wait()
		return nil
	})).Events("/")
	if n := len(events(t, stream)); n != senders*each {
		t.Errorf("%d events", n)
	}
	if res := stream.Finish(); res.Err != nil {
		t.Error(res.Err)
	}
}

// transport is one that a test fills.
type transport struct{ amount int }

func (t *transport) BufferedAmount() int { return t.amount }
func (*transport) HighWaterMark() int    { return 100 }
func (*transport) LowWaterMark() int     { return 10 }
func (*transport) OnHighWater(func())    {}
func (*transport) OnDrain(func())        {}

func TestTrySendDropsWhenTheClientIsBehind(t *testing.T) {
	client := &transport{amount: 100}
	var sent []pagi.Event
	inside, release := make(chan struct{}), make(chan struct{})
	s := sse.New(t.Context(), &pagi.Scope{Type: pagi.TypeSSE, Transport: client}, nil, func(_ context.Context, ev pagi.Event) error {
		if e, ok := ev.(pagi.SSESend); ok && e.Data == "slow" {
			close(inside)
			<-release
		}
		sent = append(sent, ev)
		return pagi.Validate(pagi.TypeSSE, ev)
	})
	if s.IsWritable() || s.TrySend(sse.Event{Data: "dropped"}) {
		t.Error("writable while the client is behind")
	}
	client.amount = 99
	if !s.TrySend(sse.Event{Data: "sent"}) || s.TrySend(sse.Event{Data: "\xff"}) || s.Err() != nil {
		t.Error("a failed TrySend must leave the stream open")
	}
	done := make(chan error, 1)
	go func() { done <- s.SendData("slow") }()
	testkit.Await(t, inside)
	if s.TrySend(sse.Event{Data: "quick"}) {
		t.Error("sent beside a running send")
	}
	close(release)
	if err := testkit.Await(t, done); err != nil {
		t.Error(err)
	}
	want := []pagi.Event{pagi.SSEStart{}, pagi.SSESend{Data: "sent"}, pagi.SSESend{Data: "\xff"}, pagi.SSESend{Data: "slow"}}
	if diff := cmp.Diff(want, sent); diff != "" {
		t.Error(diff)
	}
}

func TestErrorsOfSendAndReceiveAreReturned(t *testing.T) {
	broken := errors.New("broken")
	scope := &pagi.Scope{Type: pagi.TypeSSE}
	fails := func(context.Context, pagi.Event) error { return broken }
	for name, f := range map[string]func(*sse.Stream) error{
		"Start": func(s *sse.Stream) error { return s.Start(0, nil) },
		"Send":  func(s *sse.Stream) error { return s.SendData("x") },
		"Close": func(s *sse.Stream) error { return s.Close("") },
		"Each":  func(s *sse.Stream) error { return sse.Each(s, make(chan int), func(int) error { return nil }) },
		"Wait":  (*sse.Stream).Wait,
	} {
		s := sse.New(t.Context(), scope, func(context.Context) (pagi.Event, error) { return nil, broken }, fails)
		closed := 0
		s.OnClose(func(string) { closed++ })
		if err := f(s); !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
		if name == "Wait" && closed != 1 {
			t.Errorf("%s: closed %d times", name, closed)
		}
	}
	s := sse.New(t.Context(), scope, func(context.Context) (pagi.Event, error) { return pagi.WebSocketConnect{}, nil }, fails)
	if err := s.Wait(); err == nil {
		t.Error("an event of another protocol")
	}
	if err := s.SendJSON("", func() {}); err == nil || errors.Is(err, broken) {
		t.Errorf("a function is no JSON: %v", err)
	}
}

func TestKeepAlive(t *testing.T) {
	stream := pagitest.New(app(func(s *sse.Stream) error {
		return errors.Join(s.KeepAlive(time.Minute, "still here"), s.Close(""))
	})).Events("/")
	res := stream.Finish()
	if want := pagi.Event(pagi.SSEKeepalive{Interval: time.Minute, Comment: "still here"}); res.Err != nil || !slices.Contains(res.Events, want) {
		t.Errorf("%v, %v", res.Events, res.Err)
	}
}

// The reason is the one that the server has found, not always that the client has left.
func TestTheReasonOfTheEndIsTheServers(t *testing.T) {
	pagitest.InMemory(t, "a client cannot have the server find a reason")
	reason := ""
	stream := pagitest.New(app(func(s *sse.Stream) error {
		s.OnClose(func(r string) { reason = r })
		return s.Wait()
	})).Events("/")
	stream.Disconnect(pagi.ReasonWriteTimeout)
	if res := stream.Finish(); res.Err != nil || reason != pagi.ReasonWriteTimeout {
		t.Errorf("%q, %v", reason, res.Err)
	}
}

// A client that has left is no fault of the application that sends.
func TestADisconnectIsTheEndOfALoop(t *testing.T) {
	s := sse.New(t.Context(), &pagi.Scope{Type: pagi.TypeSSE}, nil, func(context.Context, pagi.Event) error { return nil })
	reason := ""
	s.OnClose(func(r string) { reason = r })
	err := s.Every(time.Hour, func() error { return &pagi.DisconnectError{Reason: pagi.ReasonWriteTimeout} })
	if err != nil || reason != pagi.ReasonWriteTimeout {
		t.Errorf("%v, %q", err, reason)
	}
}
