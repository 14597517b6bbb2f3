package http2

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
)

// recorded is a connection on which a client has already sent everything.
type recorded struct {
	net.Conn
	from io.Reader
	to   bytes.Buffer
}

func (r *recorded) Read(p []byte) (int, error)       { return r.from.Read(p[:min(len(p), 7)]) }
func (r *recorded) Write(p []byte) (int, error)      { return r.to.Write(p) }
func (r *recorded) SetReadDeadline(time.Time) error  { return nil }
func (r *recorded) SetWriteDeadline(time.Time) error { return nil }

// FuzzRead checks for any input of a client that the input for the server ends, and that frames
// other than SETTINGS and those of header blocks pass unchanged.
func FuzzRead(f *testing.F) {
	var polite bytes.Buffer
	polite.WriteString(Preface)
	framer := xhttp2.NewFramer(&polite, nil)
	for _, err := range []error{
		framer.WriteSettings(xhttp2.Setting{ID: 4, Val: 1}, xhttp2.Setting{ID: 4, Val: 2}),
		framer.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82, 0x86, 0x41, 1, 'x', 0x84}, PadLength: 3}),
		framer.WriteContinuation(1, true, append([]byte{0x10, 2, 't', 'e', 1}, 'x')),
		framer.WriteData(1, true, make([]byte, 100)),
		framer.WritePing(false, [8]byte{}),
		framer.WriteRSTStream(1, xhttp2.ErrCodeCancel),
	} {
		if err != nil {
			f.Fatal(err)
		}
	}
	f.Add(polite.Bytes())
	f.Add([]byte(Preface + "\x00\x00\x03\x00\x00\x00\x00\x00\x01abc"))
	f.Add([]byte(Preface + "\x00\x40\x01\x01\x04\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, said []byte) {
		conn := New(&recorded{from: bytes.NewReader(said)}, nil, Limits{ResetBurst: 3, ControlBurst: 3}, nil)
		given, err := io.ReadAll(conn)
		if err != nil && !errors.Is(err, errFlood) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
		if len(given) > 2*len(said)+16 {
			t.Errorf("%d bytes were made %d", len(said), len(given))
		}
		mended := bytes.IndexFunc(kinds(said), func(r rune) bool { return r == frameHeaders || r == frameContinuation || r == frameSettings }) >= 0
		if !mended && !bytes.HasPrefix(said, given) {
			t.Errorf("%q was made %q", said, given)
		}
	})
}

// kinds lists the kinds of the frames in said.
func kinds(said []byte) (list []byte) {
	for said = said[min(len(said), len(Preface)):]; len(said) >= headLength; {
		head := parseHead(said)
		list = append(list, head.kind)
		said = said[min(len(said), headLength+head.length):]
	}
	return list
}
