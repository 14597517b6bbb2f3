package redispubsub

import (
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/internal/message"
)

func TestEntries(t *testing.T) {
	for _, m := range []pubsub.Message{{Data: "é\n<b>", Name: "n", From: "f"}, {Data: "\x00\xff", Binary: true}, {Binary: true}, {}} {
		text, err := message.Encode(&m)
		if err != nil {
			t.Fatal(err)
		}
		got, at, err := decode("c", "epoch 7 1000 "+string(text))
		if err != nil || at != (place{Epoch: "epoch", Seq: 7}) || got.ID != "epoch-7" || got.Time.UnixMilli() != 1000 {
			t.Fatalf("%+v %v %v", got, at, err)
		}
		if got.Data != m.Data || got.Binary != m.Binary || got.Name != m.Name || got.From != m.From {
			t.Errorf("got %+v, want %+v", got, m)
		}
	}
	for _, wrong := range []string{"", "e 1 2", "e x 2 {}", "e 1 x {}", "e 1 2 {", `e 1 2 {"n":"a\nb"}`} {
		if _, _, err := decode("c", wrong); err == nil {
			t.Errorf("%q is read", wrong)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("e 1 2 {}", "e-1")
	f.Add(`e 1 2 {"d":"x","b":"AA==","k":"b"}`, "-")
	f.Fuzz(func(t *testing.T, entry, id string) {
		if m, at, err := decode("c", entry); err == nil {
			if m.Check() != nil || m.ID != at.ID() {
				t.Errorf("%q is read as %+v", entry, m)
			}
		}
		if p, ok := message.ParseID(id); ok && p.ID() != id {
			t.Errorf("%q is read as %+v", id, p)
		}
	})
}
