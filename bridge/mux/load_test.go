package mux_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/mux"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// loadApp echoes WebSocket messages. At /flood it sends messages without end, at /bytes/N a body of N
// bytes.
func loadApp(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	var n int64
	if _, err := fmt.Sscanf(scope.Path, "/bytes/%d", &n); err == nil {
		return sendBytes(ctx, send, n)
	}
	if scope.Path != "/flood" {
		return echoMessages(ctx, scope, receive, send)
	}
	if err := send(ctx, pagi.WebSocketAccept{}); err != nil {
		return err
	}
	for message := make([]byte, 1000); ctx.Err() == nil; {
		if err := send(ctx, pagi.WebSocketSend{Bytes: message, Binary: true}); err != nil {
			return err
		}
	}
	return nil
}

func sendBytes(ctx context.Context, send pagi.Send, n int64) error {
	if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
		return err
	}
	for piece := make([]byte, 64<<10); n > 0; n -= int64(len(piece)) {
		piece = piece[:min(int64(len(piece)), n)]
		if err := send(ctx, pagi.HTTPResponseBody{Body: piece, More: n > int64(len(piece))}); err != nil {
			return err
		}
	}
	return nil
}

// chatter is a WebSocket client without a socket: each message is sent when the one before has come
// back.
type chatter struct {
	out  chan pagi.Event
	back chan time.Time
}

func (c *chatter) receive(ctx context.Context) (pagi.Event, error) {
	select {
	case ev := <-c.out:
		return ev, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *chatter) send(_ context.Context, ev pagi.Event) error {
	if _, is := ev.(pagi.WebSocketSend); is {
		c.back <- time.Now()
	}
	return nil
}

// pause is the time between two messages of a client.
const pause = 200 * time.Millisecond

// talk opens a WebSocket and sends n messages, at times of its own. It returns how long each took to
// come back.
func talk(ctx context.Context, app pagi.App, n int) ([]time.Duration, error) {
	c := &chatter{out: make(chan pagi.Event, 1), back: make(chan time.Time, 1)}
	ended := make(chan error, 1)
	go func() {
		ended <- app.Serve(ctx, &pagi.Scope{Type: pagi.TypeWebSocket, Scheme: "ws", Path: "/", HTTPVersion: "1.1"}, c.receive, c.send)
	}()
	c.out <- pagi.WebSocketConnect{}
	var took []time.Duration
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	time.Sleep(rand.N(pause))
	for range n {
		<-ticker.C
		sent := time.Now()
		c.out <- pagi.WebSocketReceive{Text: "a message of some length"}
		select {
		case came := <-c.back:
			took = append(took, came.Sub(sent))
		case err := <-ended:
			return nil, fmt.Errorf("the scope ended: %w", err)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	c.out <- pagi.WebSocketDisconnect{Code: 1000}
	return took, <-ended
}

// stall serves a flood to a client that takes one message and no more, until ctx ends. taken is closed
// when that message is there.
func stall(ctx context.Context, app pagi.App, taken chan<- struct{}) error {
	var once sync.Once
	scope := &pagi.Scope{Type: pagi.TypeWebSocket, Scheme: "ws", Path: "/flood", HTTPVersion: "1.1"}
	connect := make(chan pagi.Event, 1)
	connect <- pagi.WebSocketConnect{}
	return app.Serve(ctx, scope, (&chatter{out: connect}).receive, func(ctx context.Context, ev pagi.Event) error {
		if _, is := ev.(pagi.WebSocketSend); is {
			once.Do(func() { close(taken) })
			<-ctx.Done()
			return context.Cause(ctx)
		}
		return nil
	})
}

// download gets a body of n bytes, and counts it.
func download(ctx context.Context, app pagi.App, n int64, got *atomic.Int64) error {
	scope := &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Scheme: "http", Path: "/bytes/" + strconv.FormatInt(n, 10), HTTPVersion: "1.1"}
	requested := false
	return app.Serve(ctx, scope, func(ctx context.Context) (pagi.Event, error) {
		if !requested {
			requested = true
			return pagi.HTTPRequest{}, nil
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}, func(_ context.Context, ev pagi.Event) error {
		if body, is := ev.(pagi.HTTPResponseBody); is {
			got.Add(int64(len(body.Body)))
		}
		return nil
	})
}

// heap is how much memory is in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A client that does not take its messages, and a body of 1 GB, do not hold up 998 other streams on
// the connection, and need no memory that grows. MUX_TIMES in the environment has the times printed: of
// the streams alone, beside such a load on a connection of its own, and beside it on the same
// connection. The second shows what the processors are short of, the third what the streams do to
// each other.
func TestNoStreamHoldsUpAnother(t *testing.T) {
	streams, messages, size := 998, 10, int64(1<<30)
	if testing.Short() || raceDetector {
		size = 64 << 20
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	b := start(t, pagi.AppFunc(loadApp), mux.Options{}, offers{})
	if os.Getenv("MUX_TIMES") != "" {
		alone := all(ctx, t, b, streams, messages)
		other := start(t, pagi.AppFunc(loadApp), mux.Options{}, offers{})
		end := burden(ctx, t, other, size)
		apart := all(ctx, t, b, streams, messages)
		end()
		defer func() { t.Logf("alone %s; with the load on another connection %s", summary(alone), summary(apart)) }()
	}
	before := heap()
	end := burden(ctx, t, b, size)
	beside := all(ctx, t, b, streams, messages)
	during := heap()
	end()
	after := heap()
	testkit.Eventually(t, "all streams to end", func() bool { return b.Load() == 0 })
	if grown := max(during, after) - before; grown > 16<<20 {
		t.Errorf("the memory in use grew by %d KB", grown>>10)
	}
	t.Logf("with a stalled stream and %d MB on the same connection %s; heap %+d KB, then %+d KB",
		size>>20, summary(beside), (during-before)>>10, (after-before)>>10)
}

// burden loads a connection with a stalled stream and a body of size bytes. end waits for the body, and has the
// stalled client leave.
func burden(ctx context.Context, t *testing.T, b *both, size int64) (end func()) {
	t.Helper()
	stalling, leave := context.WithCancelCause(ctx)
	var streams sync.WaitGroup
	taken := make(chan struct{})
	streams.Go(func() {
		if err := stall(stalling, b, taken); err != nil {
			t.Errorf("the stalled stream: %v", err)
		}
	})
	<-taken
	downloaded := make(chan struct{})
	streams.Go(func() {
		defer close(downloaded)
		var got atomic.Int64
		if err := download(ctx, b, size, &got); err != nil || got.Load() != size {
			t.Errorf("%d bytes of %d, %v", got.Load(), size, err)
		}
	})
	return func() {
		<-downloaded
		leave(&pagi.DisconnectError{Reason: pagi.ReasonClientClosed})
		streams.Wait()
	}
}

// summary renders percentiles of sorted times.
func summary(times []time.Duration) string {
	return fmt.Sprintf("p50 %v p99 %v max %v", at(times, 50), at(times, 99), at(times, 100))
}

// all has a number of streams talk side by side. It returns the times of all messages, sorted.
func all(ctx context.Context, t *testing.T, app pagi.App, streams, messages int) []time.Duration {
	t.Helper()
	results := make([][]time.Duration, streams)
	var talking sync.WaitGroup
	for i := range streams {
		talking.Go(func() {
			var err error
			if results[i], err = talk(ctx, app, messages); err != nil {
				t.Errorf("stream %d: %v", i, err)
			}
		})
	}
	talking.Wait()
	times := slices.Concat(results...)
	slices.Sort(times)
	return times
}

// at returns a percentile of sorted times.
func at(times []time.Duration, percent int) time.Duration {
	if len(times) == 0 {
		return 0
	}
	return times[min(len(times)-1, len(times)*percent/100)].Round(time.Microsecond)
}

func TestTheWorkerDies(t *testing.T) {
	b := start(t, pagi.AppFunc(loadApp), mux.Options{}, offers{})
	errs := make(chan error, 50)
	taken := make([]chan struct{}, cap(errs))
	for i := range taken {
		taken[i] = make(chan struct{})
		go func() { errs <- stall(context.Background(), b, taken[i]) }()
	}
	for _, c := range taken {
		<-c
	}
	b.Close()
	for range taken {
		if err := <-errs; err == nil {
			t.Error("a scope ends without an error though its worker has died")
		}
	}
	<-b.ended
	if b.workerEnd == nil {
		t.Error("the worker's side ends without an error")
	}
	if err := b.Serve(context.Background(), &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET"}, func(context.Context) (pagi.Event, error) {
		return pagi.HTTPRequest{}, nil
	}, nil); err == nil {
		t.Error("a scope is served after the end")
	}
}

// 5,000 WebSockets on two workers are open at once, and each gets its answer.
func TestManyStreamsOnTwoWorkers(t *testing.T) {
	streams := 5000
	if testing.Short() || raceDetector {
		streams = 500
	}
	var set mux.Set
	var workers []*both
	for range 2 {
		w := start(t, pagi.AppFunc(loadApp), mux.Options{}, offers{worker: wire.Offer{Streams: streams}})
		workers = append(workers, w)
		set.Add(w.Conn)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	before := heap()
	chatters := make([]*chatter, streams)
	var serving sync.WaitGroup
	for i := range chatters {
		c := &chatter{out: make(chan pagi.Event, 2), back: make(chan time.Time, 1)}
		c.out <- pagi.WebSocketConnect{}
		c.out <- pagi.WebSocketReceive{Text: "hello"}
		chatters[i] = c
		serving.Go(func() {
			scope := &pagi.Scope{Type: pagi.TypeWebSocket, Scheme: "ws", Path: "/", HTTPVersion: "1.1"}
			if err := set.Serve(ctx, scope, c.receive, c.send); err != nil {
				t.Errorf("stream %d: %v", i, err)
			}
		})
	}
	for i, c := range chatters {
		select {
		case <-c.back:
		case <-ctx.Done():
			t.Fatalf("stream %d gets no answer", i)
		}
	}
	if os.Getenv("MUX_TIMES") != "" {
		t.Logf("a stream needs %d bytes, both sides and the test's clients together", (heap()-before)/int64(streams))
	}
	a, b := workers[0].Load(), workers[1].Load()
	if a+b != streams || a > b+streams/50 || b > a+streams/50 {
		t.Errorf("the workers have %d and %d of %d streams", a, b, streams)
	}
	for _, c := range chatters {
		c.out <- pagi.WebSocketDisconnect{Code: 1001}
	}
	serving.Wait()
	testkit.Eventually(t, "all streams to end", func() bool { return workers[0].Load()+workers[1].Load() == 0 })
}

func BenchmarkRequest(b *testing.B) {
	both := start(b, pagi.AppFunc(sample), mux.Options{}, offers{})
	scope := &pagi.Scope{
		Type: pagi.TypeHTTP, Method: "GET", Scheme: "http", Path: "/", RawPath: "/", HTTPVersion: "1.1",
		Headers: pagi.NewHeaders("host", "example.org", "user-agent", "bench", "accept", "*/*"),
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			requested := false
			err := both.Serve(context.Background(), scope, func(ctx context.Context) (pagi.Event, error) {
				if !requested {
					requested = true
					return pagi.HTTPRequest{}, nil
				}
				<-ctx.Done()
				return nil, ctx.Err()
			}, func(context.Context, pagi.Event) error { return nil })
			if err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkStream(b *testing.B) {
	both := start(b, pagi.AppFunc(loadApp), mux.Options{}, offers{gateway: wire.Offer{Window: 1 << 20}})
	b.SetBytes(64 << 20)
	for b.Loop() {
		var got atomic.Int64
		if err := download(context.Background(), both, 64<<20, &got); err != nil {
			b.Fatal(err)
		}
	}
}
