package engine_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// flood is a kind of scope that can send without end.
type flood struct {
	name  string
	start func(c *call) error
	piece func(c *call, p []byte) error
	end   func(c *call) error
}

var floods = []flood{
	{"http", func(c *call) error { return c.start(200) }, func(c *call, p []byte) error { return c.more(string(p)) }, func(c *call) error { return c.body("end") }},
	{"sse", (*call).open, func(c *call, p []byte) error { return c.event(string(p)) }, func(*call) error { return nil }},
}

// ask sends the request for a flood and returns the response, whose body is not read.
func (f *flood) ask(x *fixture) *http.Response {
	x.t.Helper()
	r, err := http.NewRequestWithContext(x.t.Context(), "GET", x.url, nil)
	if err != nil {
		x.t.Fatal(err)
	}
	if f.name == "sse" {
		r.Header.Set("Accept", "text/event-stream")
	}
	res, err := x.client().Do(r)
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func onFloods(t *testing.T, f func(t *testing.T, f flood, serve func(engine.Handler, func(*call) error) *fixture)) {
	t.Helper()
	for _, kind := range floods {
		t.Run(kind.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) { f(t, kind, serve) })
		})
	}
}

// journal gathers what happened, from whichever goroutine.
type journal struct {
	mu   sync.Mutex
	list []string
}

func (j *journal) add(what string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.list = append(j.list, what)
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.list...)
}

// A Send blocks at the high mark until the client has taken enough, and the callbacks
// tell both.
func TestTransportOfASlowClient(t *testing.T) {
	piece := bytes.Repeat([]byte("x"), 32<<10)
	onFloods(t, func(t *testing.T, f flood, serve func(engine.Handler, func(*call) error) *fixture) {
		var happened journal
		full, sent := make(chan struct{}), 0
		x := serve(engine.Handler{Limits: engine.Limits{HighWaterMark: 100 << 10, LowWaterMark: 20 << 10}}, func(c *call) error {
			tr := c.scope.Transport
			if tr.BufferedAmount() != 0 || tr.HighWaterMark() != 100<<10 || tr.LowWaterMark() != 20<<10 {
				t.Errorf("at the start %d, %d, %d", tr.BufferedAmount(), tr.HighWaterMark(), tr.LowWaterMark())
			}
			high := false
			tr.OnHighWater(func() {
				happened.add("high")
				high = true
				close(full)
			})
			tr.OnDrain(func() { happened.add("drain") })
			if err := f.start(c); err != nil {
				return err
			}
			for !high {
				if err := f.piece(c, piece); err != nil {
					return err
				}
				sent++
			}
			if n := tr.BufferedAmount(); n >= 20<<10 {
				t.Errorf("Send returned with %d waiting", n)
			}
			testkit.Eventually(t, "the drain", func() bool { return len(happened.all()) == 2 })
			return f.end(c)
		})
		res := f.ask(x)
		testkit.Await(t, full) // nothing was read until now
		body, err := io.ReadAll(res.Body)
		if n := bytes.Count(body, []byte("x")); err != nil || n != sent*len(piece) {
			t.Errorf("%d bytes of %d, %v", n, sent*len(piece), err)
		}
		if diff := cmp.Diff([]string{"high", "drain"}, happened.all()); diff != "" {
			t.Error(diff)
		}
		if r := x.record(); r.Err != nil || r.Reason != "" || r.Bytes != int64(len(body)) {
			t.Errorf("record %+v, %d bytes", r, len(body))
		}
	})
}

// An application that keeps below the high mark is never blocked by its client.
func TestTransportLetsAnApplicationConflate(t *testing.T) {
	piece := bytes.Repeat([]byte("x"), 16<<10)
	onFloods(t, func(t *testing.T, f flood, serve func(engine.Handler, func(*call) error) *fixture) {
		skipped := make(chan struct{})
		x := serve(engine.Handler{}, func(c *call) error {
			tr := c.scope.Transport
			tr.OnHighWater(func() { t.Error("the high mark was reached") })
			if err := f.start(c); err != nil {
				return err
			}
			for tr.BufferedAmount() <= tr.HighWaterMark()/2 {
				if err := f.piece(c, piece); err != nil {
					return err
				}
			}
			close(skipped)
			return f.end(c)
		})
		res := f.ask(x)
		testkit.Await(t, skipped)
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Error(err)
		}
		if r := x.record(); r.Err != nil || r.Reason != "" {
			t.Errorf("record %+v", r)
		}
	})
}

func TestTransportCallbacksMaySend(t *testing.T) {
	piece := bytes.Repeat([]byte("x"), 64<<10)
	onFloods(t, func(t *testing.T, f flood, serve func(engine.Handler, func(*call) error) *fixture) {
		full, drained := make(chan struct{}), make(chan struct{})
		var once sync.Once
		x := serve(engine.Handler{}, func(c *call) error {
			high := make(chan struct{}, 1)
			err := f.start(c)
			c.scope.Transport.OnHighWater(func() {
				once.Do(func() {
					if err := f.piece(c, []byte("high")); err != nil {
						t.Error(err)
					}
					high <- struct{}{}
					close(full)
				})
			})
			c.scope.Transport.OnDrain(sync.OnceFunc(func() {
				// More than the high mark: this waits for the client like any other Send.
				if err := f.piece(c, append(bytes.Repeat([]byte("y"), 100<<10), "drain"...)); err != nil {
					t.Error(err)
				}
				close(drained)
			}))
			for len(high) == 0 {
				err = errors.Join(err, f.piece(c, piece))
			}
			testkit.Await(t, drained)
			return errors.Join(err, f.end(c))
		})
		res := f.ask(x)
		testkit.Await(t, full)
		body, err := io.ReadAll(res.Body)
		if err != nil || !strings.Contains(string(body), "high") || !strings.Contains(string(body), "ydrain") {
			t.Errorf("%d bytes, %v", len(body), err)
		}
		x.record()
	})
}

// A callback that sends, while somebody holds the exchange and waits for what another
// sender has queued, does not keep that from being written.
func TestTransportCallbackSendsWhileTheQueueIsAwaited(t *testing.T) {
	big := bytes.Repeat([]byte("x"), 16<<20)
	onFloods(t, func(t *testing.T, f flood, serve func(engine.Handler, func(*call) error) *fixture) {
		queued, drained := make(chan struct{}), make(chan struct{})
		x := serve(engine.Handler{}, func(c *call) error {
			flushing := make(chan struct{})
			c.scope.Transport.OnDrain(sync.OnceFunc(func() {
				<-flushing
				time.Sleep(20 * time.Millisecond) // the flush waits by now
				if err := f.piece(c, []byte("drain")); err != nil {
					t.Error(err)
				}
				close(drained)
			}))
			err := f.start(c)
			sent := make(chan error, 2)
			go func() { sent <- f.piece(c, big) }()
			testkit.Eventually(t, "a piece of it", func() bool {
				n := c.scope.Transport.BufferedAmount()
				return n > 0 && n < len(big)
			})
			go func() { sent <- f.piece(c, []byte("second")) }()
			testkit.Eventually(t, "the second piece", func() bool { return engine.HasDirtyQueue(c.scope) })
			close(queued)
			err = errors.Join(err, testkit.Await(t, sent), testkit.Await(t, sent))
			close(flushing)
			err = errors.Join(err, c.send(c.ctx, pagi.HTTPFullFlush{}))
			testkit.Await(t, drained)
			return errors.Join(err, f.end(c))
		})
		res := f.ask(x)
		testkit.Await(t, queued) // nothing was read until now
		body, err := io.ReadAll(res.Body)
		if err != nil || !strings.Contains(string(body), "second") || !strings.Contains(string(body), "drain") {
			t.Errorf("%d bytes, %v", len(body), err)
		}
		x.record()
	})
}

func TestEndsWithSomethingInTheQueue(t *testing.T) {
	piece := bytes.Repeat([]byte("x"), 64<<10)
	for _, tt := range []struct {
		name    string
		options engine.Handler
		then    func(res *http.Response)
		reasons []string
	}{
		{"the client stops reading", engine.Handler{Timeouts: engine.Timeouts{WriteTimeout: 500 * time.Millisecond}}, func(*http.Response) {}, []string{pagi.ReasonWriteTimeout}},
		{"the client leaves", engine.Handler{}, func(res *http.Response) { res.Body.Close() }, []string{pagi.ReasonClientClosed, pagi.ReasonWriteError}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onFloods(t, func(t *testing.T, f flood, serve func(engine.Handler, func(*call) error) *fixture) {
				full := make(chan struct{})
				x := serve(tt.options, func(c *call) error {
					c.scope.Transport.OnHighWater(sync.OnceFunc(func() { close(full) }))
					err := f.start(c)
					for c.ctx.Err() == nil {
						err = errors.Join(err, f.piece(c, piece))
					}
					return errors.Join(err, f.piece(c, piece)) // a no-op
				})
				res := f.ask(x)
				testkit.Await(t, full)
				tt.then(res)
				r := x.record()
				ok := false
				for _, reason := range tt.reasons {
					ok = ok || r.Reason == reason
				}
				if !ok || r.Err != nil {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// What follows queued pieces waits for them.
func TestWhatFollowsQueuedPieces(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, bytes.Repeat([]byte("f"), 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	const pieces = 50
	for _, tt := range []struct {
		name string
		end  []pagi.Event
		want string
	}{
		{"the last piece", []pagi.Event{pagi.HTTPResponseBody{Body: []byte("end")}}, "end"},
		{"a file", []pagi.Event{pagi.HTTPResponseBody{File: file, Length: pagi.ToEnd}}, strings.Repeat("f", 100_000)},
		{"a handle", []pagi.Event{pagi.HTTPResponseBody{}}, "handle"},
		{"a flush", []pagi.Event{pagi.HTTPFullFlush{}, pagi.HTTPResponseBody{}}, ""},
		{"trailers", []pagi.Event{pagi.HTTPResponseBody{}, pagi.HTTPResponseTrailers{Headers: pagi.NewHeaders("x-t", "1")}}, ""},
		{"a failure", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
				x := serve(engine.Handler{}, func(c *call) error {
					if n := c.scope.Transport.BufferedAmount(); n != 0 {
						t.Errorf("%d", n)
					}
					err := c.send(c.ctx, pagi.HTTPResponseStart{Status: 200, Trailers: tt.name == "trailers"})
					for range pieces {
						err = errors.Join(err, c.more(strings.Repeat("p", 10_000)))
					}
					for _, ev := range tt.end {
						if tt.name == "a handle" {
							ev = pagi.HTTPResponseBody{FH: strings.NewReader(tt.want), Length: pagi.ToEnd}
						}
						err = errors.Join(err, c.send(c.ctx, ev))
					}
					if tt.end == nil {
						return errors.Join(err, errors.New("bang"))
					}
					if n := c.scope.Transport.BufferedAmount(); n != 0 || !c.scope.Connection.ResponseComplete() {
						t.Errorf("%d wait after the end, complete %v", n, c.scope.Connection.ResponseComplete())
					}
					return err
				})
				res, err := x.client().Get(x.url)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if want := strings.Repeat("p", 10_000*pieces) + tt.want; string(body) != want || (err == nil) != (tt.end != nil) {
					t.Errorf("%d bytes of %d, %v", len(body), len(want), err)
				}
				if tt.name == "trailers" && res.Trailer.Get("X-T") != "1" {
					t.Errorf("trailers %v", res.Trailer)
				}
				x.record()
			})
		})
	}
}

// A client that resets is noticed by the queue's own write.
func TestQueuedWritesFail(t *testing.T) {
	ended := make(chan string, 1)
	x := serve(t, engine.Handler{}, func(c *call) error {
		c.scope.Connection.OnDisconnect(func(reason string) { ended <- reason })
		c.scope.Transport.BufferedAmount()
		err := c.start(200)
		for c.scope.Connection.IsConnected() {
			err = errors.Join(err, c.more("x"))
		}
		return err
	})
	c := x.request(get)
	if _, err := c.Reader.ReadByte(); err != nil {
		t.Fatal(err)
	}
	_ = c.Conn.(*net.TCPConn).SetLinger(0)
	c.Close()
	if reason := testkit.Await(t, ended); reason != pagi.ReasonWriteError && reason != pagi.ReasonClientClosed {
		t.Errorf("reason %q", reason)
	}
	if r := x.record(); r.Err != nil {
		t.Errorf("record %+v", r)
	}
}
