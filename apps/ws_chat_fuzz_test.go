package apps_test

import (
	"testing"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
)

// FuzzWebSocketChat sends a text to a chat, which must answer the next command, whatever it was.
func FuzzWebSocketChat(f *testing.F) {
	for _, seed := range []string{`{"message":"x"}`, `{"type":"nick","username":"é"}`, `{"type":"join","room":"a b"}`, `{"type":"private","to":"lobby","message":"x"}`, `[]`, ``} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, command string) {
		b := &pubsub.Memory{}
		ws := pagitest.New(&apps.WebSocketChat{Broker: b, Rate: 1000, History: 3}).WebSocket("/")
		_ = ws.SendText(command)
		if err := ws.SendText(`{"type":"history","room":"lobby"}`); err != nil {
			t.Fatal(err)
		}
		for {
			var m struct{ Type, Message string }
			if err := ws.ReceiveJSON(&m); err != nil {
				t.Fatal(err)
			}
			if m.Type == "history" || m.Message == "Not in that room" {
				break
			}
		}
		if err := ws.Finish(); err != nil {
			t.Error(err)
		}
		if all, err := b.Channels(t.Context(), ""); err != nil || len(all) != 0 {
			t.Errorf("%v %v", all, err)
		}
	})
}
