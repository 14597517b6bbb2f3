package ws

import (
	"bytes"
	"errors"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// tape is a link on which the client has already sent everything.
type tape struct {
	bytes.Reader
	step int // bytes per Read
}

func (t *tape) Read(p []byte) (int, error)       { return t.Reader.Read(p[:min(len(p), t.step)]) }
func (t *tape) Write(p []byte) (int, error)      { return len(p), nil }
func (t *tape) Close() error                     { return nil }
func (t *tape) SetReadDeadline(time.Time) error  { return nil }
func (t *tape) SetWriteDeadline(time.Time) error { return nil }

// FuzzReceive reads any input of a client in one piece and byte by byte. Both must give the same
// result.
func FuzzReceive(f *testing.F) {
	for _, seed := range []string{
		"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", "\x01\x81\x00\x00\x00\x00a\x89\x80\x00\x00\x00\x00\x80\x81\x00\x00\x00\x00b",
		"\xc1\x87\x00\x00\x00\x00\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x85\x00\x00\x00\x00\xf2\x00\x11\x00\x00", "\x88\x82\x00\x00\x00\x00\x03\xe8",
		"\x82\xfe\x00\x05\x00\x00\x00\x00abcde", "\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00abc", "\x81\x82\x00\x00\x00\x00\xed\xa0",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		whole, wholeEnd := receiveAll(t, said, len(said)+1)
		pieces, piecesEnd := receiveAll(t, said, 1)
		if len(whole) != len(pieces) || *wholeEnd != *piecesEnd {
			t.Fatalf("%d messages and %v, byte by byte %d and %v", len(whole), wholeEnd, len(pieces), piecesEnd)
		}
		for i := range whole {
			if whole[i].Text != pieces[i].Text || !bytes.Equal(whole[i].Bytes, pieces[i].Bytes) || whole[i].Binary != pieces[i].Binary {
				t.Fatalf("message %d is %v, byte by byte %v", i, whole[i], pieces[i])
			}
		}
	})
}

func receiveAll(t *testing.T, said []byte, step int) (messages []pagi.WebSocketReceive, end *engine.WebSocketEnd) {
	s := &Server{MaxFrameSize: 1000, MaxMessageSize: 1500}
	link := &tape{step: step}
	link.Reset(said)
	c := s.newConn(link, nil, &pagi.Scope{}, engine.WebSocketHooks{Flow: engine.NewFlowMeter(0, 0), Pong: func() {}}, &extension{serverBits: 15, minSize: minCompressed})
	defer c.Drop()
	for {
		m, err := c.Receive()
		if err != nil {
			if !errors.As(err, &end) || end.Code < 1000 || end.Code > 4999 {
				t.Fatalf("the end is %v", err)
			}
			return messages, end
		}
		if len(m.Text)+len(m.Bytes) > 1500 || !utf8.ValidString(m.Text) {
			t.Fatalf("message %.100q of %d bytes", m.Text, len(m.Text)+len(m.Bytes))
		}
		messages = append(messages, m)
	}
}
