package apps

import (
	"context"
	"io"

	"github.com/pagi-go/pagi-bridge/apps/internal/upstream"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// attemptDirect is attempt for a request without a body and with a safe method, to a backend that
// speaks HTTP/1.1 without TLS.
func (x *proxied) attemptDirect(ctx context.Context, d *upstream.Direct, b *upstream.Backend, mayRepeat bool) (again bool, err error) {
	req := &upstream.Request{
		Method: x.scope.Method, Target: requestTarget(x.scope, b), Host: or(x.host, x.hostFor(x.scope, b)), Headers: x.headers,
		Limit: x.ResponseTimeout,
	}
	if x.scope.HasExtension(pagi.ExtInformational) {
		req.Inform = func(status int, headers pagi.Headers) error { return x.inform(ctx, status, headers) }
	}
	res, err := x.ask(ctx, d, req)
	if err != nil {
		return x.failed(ctx, b, err, mayRepeat && !x.informed, req.Connected)
	}
	defer res.Close()
	return false, x.relayDirect(ctx, b, res)
}

// ask sends a request. Its error names the option of a time limit.
func (x *proxied) ask(ctx context.Context, d *upstream.Direct, req *upstream.Request) (*upstream.Response, error) {
	res, err := d.Ask(ctx, req)
	if err != nil && !req.Connected && isTimeout(err) {
		err = &upstream.OverdueError{Phase: "a connection", Option: "connect_timeout", Limit: x.ConnectTimeout}
	}
	return res, err
}

// relayDirect passes a response on.
func (x *proxied) relayDirect(ctx context.Context, b *upstream.Backend, res *upstream.Response) error {
	h := responseHead{status: res.Status, headers: res.Headers, length: res.Length, lengthy: res.Length >= 0}
	h.trailers = res.HasTrailers() && (res.Headers.Has("trailer") || x.headers.Has("te"))
	events := isEventStream(res.Headers.Get("content-type"))
	goesOn, err := x.relayHead(ctx, b, &h)
	if !goesOn || err != nil {
		return err
	}
	if body, whole := res.Whole(); whole {
		return x.send(ctx, pagi.HTTPResponseBody{Body: body})
	}
	idle, first := x.IdleTimeout, headTime
	if events {
		idle, first = 0, 0
	}
	res.Await(idle)
	if !res.Ready(first) { // the head need not wait for the body
		if err := x.send(ctx, pagi.HTTPResponseBody{More: true}); err != nil {
			return err
		}
	}
	buf := proxyBuffers.Get().(*[32 << 10]byte)
	defer proxyBuffers.Put(buf)
	for {
		n, err := res.Read(buf[:])
		res.Rest()
		switch {
		case err == io.EOF:
			if err := x.send(ctx, pagi.HTTPResponseBody{Body: buf[:n]}); err != nil || !h.trailers {
				return err
			}
			return x.send(ctx, pagi.HTTPResponseTrailers{Headers: trailersOf(res.Trailers)})
		case n > 0:
			if err := x.send(ctx, pagi.HTTPResponseBody{Body: buf[:n], More: true}); err != nil {
				return err
			}
		}
		if err != nil {
			return x.broken(ctx, b, err)
		}
		res.Await(idle)
	}
}
