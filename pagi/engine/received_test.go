package engine_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// orderOf follows what an application receives.
type orderOf struct {
	t     *testing.T
	stage pagi.Stage
	seen  []string
}

// take checks that ev may come now.
func (o *orderOf) take(ev pagi.Event) {
	if err := pagi.CheckOrder(o.stage, ev); err != nil {
		o.t.Error(err)
	}
	o.seen = append(o.seen, ev.EventType())
	switch e := ev.(type) {
	case pagi.HTTPRequest:
		if !e.More {
			o.stage = pagi.StageEnded
		}
	case pagi.SSERequest:
		if !e.More {
			o.stage = pagi.StageEnded
		}
	case pagi.HTTPDisconnect, pagi.SSEDisconnect:
		o.stage = pagi.StageComplete
	}
}

// What an application receives comes in the order that the specification has.
func TestReceivedEventsKeepTheirOrder(t *testing.T) {
	for _, tt := range []struct{ name, request, want string }{
		{"no body", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "http.request http.disconnect http.disconnect"},
		{"a body", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "http.request http.disconnect http.disconnect"},
		{"an empty body in chunks", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "http.request http.disconnect http.disconnect"},
		{"an event stream", "GET / HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n", "sse.request sse.disconnect sse.disconnect"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen := make(chan string, 1)
			x := serve(t, engine.Handler{}, func(c *call) error {
				o := &orderOf{t: t}
				for range 3 {
					ev, err := c.receive(c.ctx)
					if err != nil {
						return err
					}
					o.take(ev)
					if o.stage != pagi.StageEnded {
						continue
					}
					if c.scope.Type == pagi.TypeSSE {
						if err := errors.Join(c.send(c.ctx, pagi.SSEStart{}), c.send(c.ctx, pagi.SSEClose{})); err != nil {
							return err
						}
						continue
					}
					if err := c.reply("x"); err != nil {
						return err
					}
				}
				seen <- strings.Join(o.seen, " ")
				return nil
			})
			c := x.request(tt.request)
			c.Response("GET")
			if got := testkit.Await(t, seen); got != tt.want {
				t.Errorf("received %s", got)
			}
		})
	}
}
