package reply_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

func TestSendSpeaksTheScopesProtocol(t *testing.T) {
	h := pagi.NewHeaders("content-type", "text/plain; charset=utf-8", "allow", "GET", "content-length", "19")
	body := []byte("Method Not Allowed\n")
	denial := map[string]any{pagi.ExtDenialResponse: struct{}{}}
	for name, c := range map[string]struct {
		scope *pagi.Scope
		want  []pagi.Event
	}{
		"http": {&pagi.Scope{Type: pagi.TypeHTTP}, []pagi.Event{pagi.HTTPResponseStart{Status: 405, Headers: h}, pagi.HTTPResponseBody{Body: body}}},
		"sse":  {&pagi.Scope{Type: pagi.TypeSSE}, []pagi.Event{pagi.SSEHTTPResponseStart{Status: 405, Headers: h}, pagi.SSEHTTPResponseBody{Body: body}}},
		"a websocket that can be denied": {&pagi.Scope{Type: pagi.TypeWebSocket, Extensions: denial},
			[]pagi.Event{pagi.WebSocketHTTPResponseStart{Status: 405, Headers: h}, pagi.WebSocketHTTPResponseBody{Body: body}}},
		"a websocket that cannot": {&pagi.Scope{Type: pagi.TypeWebSocket}, []pagi.Event{pagi.WebSocketClose{}}},
	} {
		var got []pagi.Event
		send := func(_ context.Context, ev pagi.Event) error {
			got = append(got, ev)
			return pagi.Validate(c.scope.Type, ev)
		}
		if err := reply.Status(t.Context(), c.scope, send, 405, "allow", "GET"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestSendDeclinesOtherScopesAndReportsErrors(t *testing.T) {
	if err := reply.Status(t.Context(), &pagi.Scope{Type: pagi.TypeLifespan}, nil, 404); !errors.Is(err, pagi.ErrUnsupported) {
		t.Errorf("lifespan: %v", err)
	}
	gone := errors.New("gone")
	failing := func(context.Context, pagi.Event) error { return gone }
	if err := reply.Text(t.Context(), &pagi.Scope{Type: pagi.TypeHTTP}, failing, 200, "x"); !errors.Is(err, gone) {
		t.Errorf("a failing send: %v", err)
	}
}

func TestSendGivesNoLengthWhereThereIsNoBody(t *testing.T) {
	send := func(_ context.Context, ev pagi.Event) error {
		if start, is := ev.(pagi.HTTPResponseStart); is && start.Headers.Has("content-length") {
			t.Errorf("%d has a content-length", start.Status)
		}
		return nil
	}
	for _, status := range []int{204, 304} {
		if err := reply.Send(t.Context(), &pagi.Scope{Type: pagi.TypeHTTP}, send, status, nil, nil); err != nil {
			t.Error(err)
		}
	}
}
