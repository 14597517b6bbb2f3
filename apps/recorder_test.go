package apps

import (
	"context"
	"os"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// A recorded body that cannot be replayed to its end gives an error, not a shorter body.
func TestReplayOfATruncatedBody(t *testing.T) {
	sent := false
	r := &recorder{receive: func(context.Context) (pagi.Event, error) {
		if sent {
			return pagi.HTTPDisconnect{}, nil
		}
		sent = true
		return pagi.HTTPRequest{Body: make([]byte, 200_000)}, nil
	}}
	defer func() { _ = r.close() }()
	if _, err := r.again()(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(r.body.Path(), 100_000); err != nil {
		t.Fatal(err)
	}
	receive := r.again()
	for {
		ev, err := receive(t.Context())
		if err != nil {
			break
		}
		if e, is := ev.(pagi.HTTPRequest); !is || !e.More {
			t.Fatalf("received %T, and it is the last", ev)
		}
	}
}
