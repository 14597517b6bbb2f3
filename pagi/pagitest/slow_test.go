package pagitest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// pouring sends pieces of ten bytes, ten at most, in the scope's protocol. It counts those that
// Send has taken in sent.
func pouring(sent chan<- int) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		piece := strings.Repeat("x", 10)
		var begin, end pagi.Event
		var each func() pagi.Event
		switch s.Type {
		case pagi.TypeHTTP:
			begin, end = start(), body("")
			each = func() pagi.Event { return more(piece) }
		case pagi.TypeSSE:
			begin, end = pagi.SSEStart{}, pagi.SSEClose{}
			each = func() pagi.Event { return pagi.SSEComment{Comment: piece[3:]} } // a colon and two line ends more
		default:
			begin, end = pagi.WebSocketAccept{}, pagi.WebSocketClose{}
			each = func() pagi.Event { return pagi.WebSocketSend{Text: piece} }
		}
		if err := send(ctx, begin); err != nil {
			return err
		}
		for n := 1; n <= 10; n++ {
			if err := send(ctx, each()); err != nil {
				return err
			}
			sent <- n
		}
		return send(ctx, end)
	})
}

// taken is what a test takes from each protocol.
type taken struct {
	scope  *pagi.Scope
	take   func() bool // takes a piece
	finish func() error
}

// inEachProtocol runs a test against app in scopes of all protocols.
func inEachProtocol(t *testing.T, app pagi.App, f func(t *testing.T, x taken), opts ...pagitest.Option) {
	t.Helper()
	exchange := func(x *pagitest.Exchange) taken {
		x.Next() // the start
		return taken{x.Scope, func() bool { _, ok := x.Next(); return ok }, func() error { return x.Finish().Err }}
	}
	t.Run("http", func(t *testing.T) { f(t, exchange(pagitest.New(app).Begin("GET", "/", opts...))) })
	t.Run("sse", func(t *testing.T) {
		f(t, exchange(pagitest.New(app).Begin("GET", "/", append(opts, pagitest.AcceptEvents())...)))
	})
	t.Run("websocket", func(t *testing.T) {
		ws := pagitest.New(app).WebSocket("/", opts...)
		f(t, taken{ws.Scope, func() bool { _, err := ws.Receive(); return err == nil }, ws.Finish})
	})
}

func ExampleSlowReader() {
	app := pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		s.Transport.OnHighWater(func() { fmt.Println("full:", s.Transport.BufferedAmount()) })
		s.Transport.OnDrain(func() { fmt.Println("drained:", s.Transport.BufferedAmount()) })
		return errors.Join(
			send(ctx, pagi.HTTPResponseStart{Status: 200}),
			send(ctx, pagi.HTTPResponseBody{Body: []byte("a long piece"), More: true}), // waits
			send(ctx, pagi.HTTPResponseBody{Body: []byte("end")}))
	})
	exchange := pagitest.New(app).Begin("GET", "/", pagitest.SlowReader(10, 5))
	fmt.Println(exchange.Finish().Text()) // takes all
	// Output:
	// full: 12
	// drained: 0
	// a long pieceend
}

func TestSlowReader(t *testing.T) {
	sent := make(chan int, 20)
	inEachProtocol(t, pouring(sent), func(t *testing.T, x taken) {
		transport := x.scope.Transport
		full, drained := make(chan int, 9), make(chan int, 9)
		transport.OnHighWater(func() { full <- transport.BufferedAmount() })
		transport.OnDrain(func() { drained <- transport.BufferedAmount() })
		if transport.HighWaterMark() != 40 || transport.LowWaterMark() != 20 {
			t.Errorf("marks %d, %d", transport.HighWaterMark(), transport.LowWaterMark())
		}
		for want := 1; want <= 3; want++ {
			if n := <-sent; n != want {
				t.Fatalf("sent %d, want %d", n, want)
			}
		}
		if amount := testkit.Await(t, full); amount != 40 { // the fourth piece waits
			t.Errorf("full at %d", amount)
		}
		for left := 30; left >= 20; left -= 10 {
			if !x.take() || transport.BufferedAmount() != left || len(sent) != 0 || len(drained) != 0 {
				t.Fatalf("%d in the buffer, %d sent, %d drained; want %d, 0, 0", transport.BufferedAmount(), len(sent), len(drained), left)
			}
		}
		if !x.take() || testkit.Await(t, drained) > 20 || <-sent != 4 {
			t.Error("it does not go on below the low mark")
		}
		for n := 0; n < 10; {
			x.take()
			n = last(sent, n)
		}
		if err := x.finish(); err != nil {
			t.Error(err)
		}
	}, pagitest.SlowReader(40, 20))
}

// last returns the last number in sent that is there already, or else n.
func last(sent <-chan int, n int) int {
	for {
		select {
		case n = <-sent:
		default:
			return n
		}
	}
}

func TestASlowReaderThatLeaves(t *testing.T) {
	sent := make(chan int, 20)
	app := pouring(sent)
	x := pagitest.New(app).Begin("GET", "/", pagitest.SlowReader(15, 5))
	<-sent
	x.Disconnect(pagi.ReasonWriteTimeout) // the second piece waits
	if res := x.Finish(); res.Err != nil || res.Connection.DisconnectReason() != pagi.ReasonWriteTimeout || res.Connection.ResponseComplete() {
		t.Errorf("%+v", res)
	}
	sent = make(chan int, 20)
	app = pouring(sent)
	ws := pagitest.New(app).WebSocket("/", pagitest.SlowReader(15, 5))
	<-sent
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
	client := pagitest.New(app)
	client.Timeout = 1
	if res := client.Begin("GET", "/", pagitest.SlowReader(15, 5)).Finish(); res.Err == nil {
		t.Error("no error after the time was over")
	}
}

func TestCompleteWhenAllIsTaken(t *testing.T) {
	x := client(sending(start(), body("all"))).Begin("GET", "/", pagitest.SlowReader(100, 50))
	testkit.Eventually(t, "the body is in the buffer", func() bool { return x.Scope.Transport.BufferedAmount() == 3 })
	if x.Scope.Connection.ResponseComplete() {
		t.Error("complete before the test has the body")
	}
	if res := x.Finish(); res.Err != nil || !res.Connection.ResponseComplete() || res.Text() != "all" {
		t.Errorf("%+v", res)
	}
}

func ExampleDisconnectAfter() {
	client := pagitest.New(pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		s.Connection.OnDisconnect(func(reason string) { fmt.Println("clean up:", reason) })
		err := send(ctx, pagi.HTTPResponseStart{Status: 200})
		for err == nil && s.Connection.IsConnected() {
			err = send(ctx, pagi.HTTPResponseBody{Body: []byte("tick "), More: true})
		}
		return err
	}))
	res := client.Get("/", pagitest.DisconnectAfter(3, pagi.ReasonClientClosed))
	fmt.Println(res.Text(), res.Err)
	// Output:
	// clean up: client_closed
	// tick tick  <nil>
}

func ExampleDisconnectAfterBytes() {
	client := pagitest.New(pagi.AppFunc(sending(start("content-length", "10"), body("0123456789"))))
	res := client.Get("/", pagitest.DisconnectAfterBytes(4, pagi.ReasonClientClosed))
	fmt.Println(res.Text(), res.Err)
	// Output: 0123 <nil>
}

// watching sends pieces until the client has left, and tells how it has learnt that.
func watching(log chan<- string) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		pieces := 0
		begin, piece := pagi.Event(start()), pagi.Event(more("0123456789"))
		switch s.Type {
		case pagi.TypeSSE:
			begin, piece = pagi.SSEStart{}, pagi.SSEComment{Comment: "3456789"}
		case pagi.TypeWebSocket:
			begin, piece = pagi.WebSocketAccept{}, pagi.WebSocketSend{Text: "0123456789"}
		}
		err := send(ctx, begin)
		for ; err == nil && ctx.Err() == nil && pieces < 1000; pieces++ {
			err = send(ctx, piece)
		}
		for err == nil {
			var ev pagi.Event
			ev, err = receive(ctx)
			switch e := ev.(type) {
			case pagi.HTTPDisconnect:
				log <- fmt.Sprint(pieces, " ", s.Connection.DisconnectReason())
				return nil
			case pagi.SSEDisconnect:
				log <- fmt.Sprint(pieces, " ", e.Reason)
				return nil
			case pagi.WebSocketDisconnect:
				log <- fmt.Sprint(pieces, " ", e.Code, " ", e.Reason)
				return nil
			}
		}
		log <- fmt.Sprint(err)
		return err
	})
}

func TestDisconnectAfter(t *testing.T) {
	log := make(chan string, 1)
	reason := lost(pagi.ReasonWriteTimeout)
	for name, tt := range map[string]struct {
		opt       pagitest.Option
		pieces    int
		websocket bool
	}{
		"before the first": {pagitest.DisconnectAfter(0, pagi.ReasonWriteTimeout), 0, false},
		"the start":        {pagitest.DisconnectAfter(1, pagi.ReasonWriteTimeout), 0, true},
		"two pieces":       {pagitest.DisconnectAfter(3, pagi.ReasonWriteTimeout), 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 { // the option does not wear out
				client := pagitest.New(watching(log))
				if res := client.Get("/", tt.opt); res.Err != nil || len(res.Body) != 10*tt.pieces {
					t.Errorf("http: %q, %v", res.Text(), res.Err)
				}
				if got, want := <-log, fmt.Sprint(tt.pieces, " ", reason); got != want {
					t.Errorf("http: %s, want %s", got, want)
				}
				if res := client.Events("/", tt.opt).Finish(); res.Err != nil || len(res.Body) != 10*tt.pieces {
					t.Errorf("sse: %q, %v", res.Text(), res.Err)
				}
				if got, want := <-log, fmt.Sprint(tt.pieces, " ", reason); got != want {
					t.Errorf("sse: %s, want %s", got, want)
				}
				if !tt.websocket {
					continue
				}
				ws := client.WebSocket("/", tt.opt)
				if got, want := <-log, fmt.Sprint(tt.pieces, " 1006 ", reason); got != want {
					t.Errorf("websocket: %s, want %s", got, want)
				}
				if err := ws.Finish(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestDisconnectAfterBytes(t *testing.T) {
	log := make(chan string, 1)
	client := pagitest.New(watching(log))
	opt := pagitest.DisconnectAfterBytes(25, pagi.ReasonWriteError)
	if res := client.Get("/", opt); res.Err != nil || res.Text() != "0123456789012345678901234" {
		t.Errorf("%q, %v", res.Text(), res.Err)
	}
	if got := <-log; got != "3 write_error" && !onSocket() { // there it notices later
		t.Error(got)
	}
	whole := pagitest.New(pagi.AppFunc(sending(start(), body("0123456789")))).Get("/", pagitest.DisconnectAfterBytes(10, pagi.ReasonWriteError))
	if whole.Err != nil || whole.Text() != "0123456789" {
		t.Errorf("%+v", whole)
	}
	cut := pagitest.New(pagi.AppFunc(sending(start(), body("0123456789")))).Get("/", pagitest.DisconnectAfterBytes(9, pagi.ReasonWriteError))
	if cut.Err != nil || cut.Text() != "012345678" || !onSocket() && cut.Connection.ResponseComplete() {
		t.Errorf("%+v", cut)
	}
	ws := client.WebSocket("/", opt)
	<-log
	for range 3 {
		if text, err := ws.ReceiveText(); !onSocket() && (text != "0123456789" || err != nil) {
			t.Errorf("%q, %v", text, err)
		}
	}
	if _, err := ws.Receive(); err == nil {
		t.Error("a fourth message")
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
}
