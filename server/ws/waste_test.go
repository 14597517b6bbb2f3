package ws_test

import (
	"bytes"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/server/ws"
)

// Frames that bring no message nearer its end have a budget. Those within the budget do no harm.
func TestFramesThatCarryNoMessage(t *testing.T) {
	for _, tt := range []struct {
		name         string
		begin, waste []byte
	}{
		{"empty fragments", frame(0x01, ""), frame(0x00, "")},
		{"pings", frame(0x01, ""), frame(pingF, "")},
		{"pongs", frame(0x01, ""), frame(pongF, "")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, carrier string) {
				ends := make(chan pagi.WebSocketDisconnect, 1)
				x := serveWith(t, carrier, &ws.Server{}, &engine.Handler{}, func(s *session) error {
					s.next()
					err := s.accept()
					if got, ok := s.next().(pagi.WebSocketReceive); !ok || got.Text != "x" {
						t.Errorf("got %v", got)
					}
					ends <- s.next().(pagi.WebSocketDisconnect)
					return err
				})
				p := x.dial()
				p.raw(bytes.Join([][]byte{tt.begin, bytes.Repeat(tt.waste, 500), frame(0x80, "x"), tt.begin, bytes.Repeat(tt.waste, 3000)}, nil))
				for {
					first, payload, err := p.read()
					if err != nil {
						t.Fatal(err)
					}
					if first == pongF {
						continue
					}
					if first != closeF || payload[:2] != "\x03\xf0" {
						t.Errorf("the client hears %x %q", first, payload)
					}
					break
				}
				ended(t, ends, 1008, pagi.ReasonProtocolError)
			})
		})
	}
}
