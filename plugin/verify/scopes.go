package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/mux"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// scopes checks a running plugin.
func (r *run) scopes(ctx context.Context) {
	c := pagitest.New(r.plugin)
	c.Timeout = r.opt.Patience
	if !r.http(c) {
		return
	}
	r.body(c)
	r.stream(c)
	r.webSocket(c)
	r.leaves(c)
	r.slow(ctx, c)
	r.status()
	r.quiet()
}

// broken says whether an error is about the plugin and not about the application's answer.
func broken(err error) bool {
	var status *pagi.StatusError
	switch {
	case errors.Is(err, mux.ErrClosed), errors.Is(err, mux.ErrProtocol), errors.Is(err, mux.ErrBlocked), errors.Is(err, context.DeadlineExceeded):
		return true
	}
	return errors.As(err, &status) && (status.Status == 502 || status.Status == 503)
}

// answer describes what a request got.
func answer(r *pagitest.Response) string {
	if r.Err != nil {
		return firstLine(r.Err.Error())
	}
	return fmt.Sprintf("%d, %d bytes", r.Status, len(r.Body))
}

func (r *run) http(c *pagitest.Client) bool {
	check := "it answers GET " + r.opt.Path
	got := c.Get(r.opt.Path)
	var ended *mux.EndError
	switch {
	case errors.As(got.Err, &ended):
		return r.fail(check, "The application has failed. Give --path, or --config, that it can work with.", "%s", answer(got))
	case got.Err != nil:
		return r.fail(check, "A scope of the type http needs an event http.response.start and a last http.response.body, and then END.", "%s", answer(got))
	}
	return r.ok(check, "%s", answer(got))
}

// bodySize is the size of the request body of the check, which is larger than any window.
const bodySize = 1 << 20

func (r *run) body(c *pagitest.Client) {
	const check = "it grants credit for a request body of 1 MiB, or answers without it"
	got := c.Post(r.opt.Path, pagitest.Body(strings.Repeat("x", bodySize)))
	if broken(got.Err) {
		r.fail(check, "Grant CREDIT for the events that the application has taken, or answer and end the stream.", "%s", answer(got))
		return
	}
	r.ok(check, "%s", answer(got))
}

func (r *run) stream(c *pagitest.Client) {
	const check = "it serves or declines event streams"
	got := c.Get(r.opt.Path, pagitest.AcceptEvents(), pagitest.Edit(func(s *pagi.Scope) { s.Type = pagi.TypeSSE }))
	switch {
	case errors.Is(got.Err, pagi.ErrUnsupported):
		r.skip(check, "it declines scopes of the type sse")
	case broken(got.Err):
		r.fail(check, "A scope that the application does not serve ends by END of kind 2.", "%s", answer(got))
	default:
		r.ok(check, "%s", answer(got))
	}
}

func (r *run) webSocket(c *pagitest.Client) {
	const check = "it serves or declines WebSockets"
	ws := c.WebSocket(r.opt.Path)
	switch {
	case ws.Accepted:
		if err := ws.Finish(); err != nil {
			r.fail(check, "The application must return when the client has left.", "%v", err)
			return
		}
		r.ok(check, "it accepts")
	case ws.Response != nil && errors.Is(ws.Response.Err, pagi.ErrUnsupported):
		r.skip(check, "it declines scopes of the type websocket")
	case ws.Response != nil && !broken(ws.Response.Err):
		r.ok(check, "it refuses the handshake: %s", answer(ws.Response))
	default:
		r.fail(check, "A scope that the application does not serve ends by END of kind 2.", "no answer to the handshake")
	}
}

func (r *run) leaves(c *pagitest.Client) {
	const check = "it ends the scope of a client that has left"
	got := c.Get(r.opt.Path, pagitest.DisconnectAfterBytes(1, pagi.ReasonClientClosed))
	deadline := time.Now().Add(r.opt.Patience)
	for r.plugin.Status().Running > 0 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if n := r.plugin.Status().Running; n > 0 || broken(got.Err) {
		r.fail(check, "Give the application its disconnect event at DISCONNECT, and send END when it has returned.", "%d scope(s) are still open", n)
		return
	}
	r.ok(check, "")
}

// slow holds the response of one client back, and asks for others meanwhile.
func (r *run) slow(ctx context.Context, c *pagitest.Client) {
	const check = "a client that takes nothing holds no other up"
	leave := r.holdBack(ctx, r.plugin)
	got := c.Get(r.opt.Path)
	leave()
	if got.Err != nil {
		r.fail(check, "Never stop reading the connection because of one stream: what the window of a stream does not allow must wait elsewhere.", "%s", answer(got))
		return
	}
	r.ok(check, "%s", answer(got))
}

// holdBack sends a request of a client that takes nothing of the response, and waits until there is one. The function that it
// returns has the client leave, and waits for the end of the scope.
func (r *run) holdBack(ctx context.Context, app pagi.App) (leave func()) {
	ctx, cancel := context.WithCancel(ctx)
	waits := make(chan struct{})
	var once sync.Once
	var slow sync.WaitGroup
	slow.Go(func() {
		scope := &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Scheme: "http", HTTPVersion: "1.1", Path: r.opt.Path, RawPath: r.opt.Path}
		requested := false
		receive := func(ctx context.Context) (pagi.Event, error) {
			if !requested {
				requested = true
				return pagi.HTTPRequest{}, nil
			}
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		send := func(ctx context.Context, _ pagi.Event) error {
			once.Do(func() { close(waits) })
			<-ctx.Done()
			return context.Cause(ctx)
		}
		_ = app.Serve(ctx, scope, receive, send) // ends by leave, or by the end of the plugin
	})
	late := time.NewTimer(r.opt.Patience)
	defer late.Stop()
	select {
	case <-waits:
	case <-late.C: // no response comes; another check says so
	}
	return func() {
		cancel()
		slow.Wait()
	}
}

func (r *run) status() {
	const check = "it is seen by the status"
	now := r.plugin.Status()
	if len(now.Workers) == 0 {
		r.fail(check, "Each serving endpoint must stay on the list of endpoints.", "no process")
		return
	}
	w := now.Workers[0]
	r.ok(check, "pid %d, %s, %d served", w.PID, w.State, w.Served)
}

// quiet checks that all went without restarts.
func (r *run) quiet() {
	const check = "it has not died and broken no protocol"
	if text := r.log.find("is started again", "cannot be used", "broke the protocol", "breaks the wire", "died"); text != "" {
		r.fail(check, "Read what the gateway's log says of it.", "%s", text)
		return
	}
	r.ok(check, "")
}

// stopsAtWork checks that it ends in time when a scope is open.
func (r *run) stopsAtWork(ctx context.Context) {
	const check = "it stops in time with a response that no client takes"
	p := r.new(r.opt.Config)
	life, err := r.begin(ctx, p)
	if err != nil {
		r.fail(check, "", "it does not start a second time: %v", err)
		return
	}
	leave := r.holdBack(ctx, p)
	took, err := r.end(ctx, life)
	leave()
	if most := 3 * r.opt.Patience; took > most {
		r.fail(check, "It must exit when it gets TERM.", "it takes %v (%v)", took, err)
		return
	}
	r.ok(check, "after %v", took.Round(time.Millisecond))
}
