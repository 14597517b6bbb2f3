package reply_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

func TestStart(t *testing.T) {
	h := pagi.NewHeaders("a", "1")
	for _, c := range []struct {
		ev     pagi.Event
		status int
	}{
		{pagi.HTTPResponseStart{Status: 201, Headers: h}, 201},
		{pagi.SSEStart{Headers: h}, 200},
		{pagi.SSEStart{Status: 203, Headers: h}, 203},
		{pagi.SSEHTTPResponseStart{Status: 404, Headers: h}, 404},
		{pagi.WebSocketAccept{Headers: h}, 101},
		{pagi.WebSocketHTTPResponseStart{Status: 403, Headers: h}, 403},
	} {
		if status, headers, ok := reply.Start(c.ev); status != c.status || !cmp.Equal(headers, h) || !ok {
			t.Errorf("%s: %d %v %v", c.ev.EventType(), status, headers, ok)
		}
	}
	if status, headers, ok := reply.Start(pagi.HTTPResponseInformational{Status: 103, Headers: h}); status != 0 || headers != nil || ok {
		t.Errorf("%d %v %v", status, headers, ok)
	}
}

func TestEditStart(t *testing.T) {
	before, after := pagi.NewHeaders("a", "1"), pagi.NewHeaders("b", "2")
	edit := func(h pagi.Headers) (pagi.Headers, error) {
		if !cmp.Equal(h, before) {
			t.Errorf("%v", h)
		}
		return after, nil
	}
	for _, c := range []struct{ ev, want pagi.Event }{
		{pagi.HTTPResponseStart{Status: 200, Headers: before, Trailers: true}, pagi.HTTPResponseStart{Status: 200, Headers: after, Trailers: true}},
		{pagi.SSEStart{Headers: before}, pagi.SSEStart{Headers: after}},
		{pagi.SSEHTTPResponseStart{Status: 404, Headers: before}, pagi.SSEHTTPResponseStart{Status: 404, Headers: after}},
		{pagi.WebSocketAccept{Subprotocol: "x", Headers: before}, pagi.WebSocketAccept{Subprotocol: "x", Headers: after}},
		{pagi.WebSocketHTTPResponseStart{Status: 403, Headers: before}, pagi.WebSocketHTTPResponseStart{Status: 403, Headers: after}},
	} {
		got, isStart, err := reply.EditStart(c.ev, edit)
		if diff := cmp.Diff(c.want, got); diff != "" || !isStart || err != nil {
			t.Errorf("%s: %v, %v %s", c.ev.EventType(), isStart, err, diff)
		}
		broken := errors.New("broken")
		got, isStart, err = reply.EditStart(c.ev, func(pagi.Headers) (pagi.Headers, error) { return nil, broken })
		if diff := cmp.Diff(c.ev, got); diff != "" || !isStart || err != broken {
			t.Errorf("%s that fails: %v, %v %s", c.ev.EventType(), isStart, err, diff)
		}
	}
	other := pagi.Event(pagi.HTTPResponseInformational{Status: 103, Headers: before})
	if got, isStart, err := reply.EditStart(other, nil); !cmp.Equal(got, other) || isStart || err != nil {
		t.Errorf("%v, %v, %v", got, isStart, err)
	}
}
