package ws_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server/ws"
)

// squeezer compresses as a client does, with context takeover.
type squeezer struct {
	to bytes.Buffer
	w  *flate.Writer
}

func newSqueezer(t *testing.T) *squeezer {
	s := &squeezer{}
	w, err := flate.NewWriter(&s.to, 9)
	if err != nil {
		t.Fatal(err)
	}
	s.w = w
	return s
}

func (s *squeezer) squeeze(text string) string {
	s.to.Reset()
	_, _ = io.WriteString(s.w, text) // a buffer takes everything
	_ = s.w.Flush()
	return strings.TrimSuffix(s.to.String(), "\x00\x00\xff\xff")
}

// unsqueeze inflates what a server sent; dict is what came before.
func unsqueeze(t *testing.T, packed string, dict []byte) string {
	t.Helper()
	r := flate.NewReaderDict(strings.NewReader(packed+"\x00\x00\xff\xff\x01\x00\x00\xff\xff"), dict)
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("inflating %d bytes: %v", len(packed), err)
	}
	return string(b)
}

const offered = "Sec-WebSocket-Extensions: permessage-deflate"

// TestCompressionIsAgreed says what becomes of offers.
func TestCompressionIsAgreed(t *testing.T) {
	for offer, want := range map[string]string{
		"permessage-deflate":                                                                        "permessage-deflate",
		"permessage-deflate; client_max_window_bits":                                                "permessage-deflate",
		"permessage-deflate; client_max_window_bits=9":                                              "permessage-deflate",
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover":                "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
		"permessage-deflate; server_max_window_bits=9":                                              "permessage-deflate; server_max_window_bits=9",
		`permessage-deflate; server_max_window_bits="15"`:                                           "permessage-deflate; server_max_window_bits=15",
		"permessage-deflate; server_max_window_bits=16, permessage-deflate":                         "permessage-deflate",
		"permessage-deflate; server_max_window_bits=08":                                             "",
		"permessage-deflate; server_max_window_bits":                                                "",
		"permessage-deflate; server_no_context_takeover=1":                                          "",
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover":                "",
		"permessage-deflate; surprise":                                                              "",
		"x-webkit-deflate-frame, permessage-bzip2; x=y, permessage-deflate; client_max_window_bits": "permessage-deflate",
		"x-webkit-deflate-frame":                                                                    "",
	} {
		p := serve(t, "http1", &ws.Server{}, func(s *session) error { return s.accept() }).dial("Sec-WebSocket-Extensions: " + offer)
		if got := p.headers.Get("Sec-WebSocket-Extensions"); got != want {
			t.Errorf("%s: got %q, want %q", offer, got, want)
		}
	}
	p := serve(t, "http1", &ws.Server{NoCompression: true}, func(s *session) error { return s.accept() }).dial(offered)
	if got := p.headers.Values("Sec-WebSocket-Extensions"); got != nil {
		t.Errorf("turned off: got %q", got)
	}
}

// TestCompressedEcho sends messages that refer to earlier ones, there and back, with
// every kind of agreement.
func TestCompressedEcho(t *testing.T) {
	noise := make([]byte, 50_000)
	_, _ = rand.Read(noise)
	words := strings.Repeat("The quick brown fox jumps over the lazy dog. ", 1000)
	messages := []string{
		"short", words[:200], words[:200], words, words, string(noise), string(noise), words + string(noise), "", "short", words[3:9000],
	}
	for _, parameters := range []string{
		"", "; server_no_context_takeover", "; client_no_context_takeover", "; server_max_window_bits=8", "; server_max_window_bits=9",
		"; server_max_window_bits=14", "; server_no_context_takeover; server_max_window_bits=9",
	} {
		t.Run("permessage-deflate"+parameters, func(t *testing.T) {
			everywhere(t, func(t *testing.T, carrier string) {
				ends := make(chan pagi.WebSocketDisconnect, 1)
				p := serve(t, carrier, &ws.Server{MaxFrameSize: 1 << 20}, echo(ends)).dial(offered + parameters)
				in := newSqueezer(t)
				var window []byte
				for i, m := range messages {
					if strings.Contains(parameters, "client_no") {
						in = newSqueezer(t)
					}
					packed := in.squeeze(m)
					half := len(packed) / 2
					p.raw(append(frame(0x42, packed[:half]), frame(0x80, packed[half:])...))
					first, got := p.hear()
					if len(m) >= 128 != (first == 0xc2) {
						t.Errorf("message %d of %d bytes: first byte %#x", i, len(m), first)
					}
					if first == 0xc2 {
						if strings.Contains(parameters, "server_no") {
							window = nil
						}
						if m == words && i > 3 && len(got) > 2000 && !strings.Contains(parameters, "window") {
							t.Errorf("%d bytes became %d", len(m), len(got))
						}
						got = unsqueeze(t, got, window)
						window = append(window, got...)
						window = window[max(0, len(window)-32<<10):]
					}
					if got != m {
						t.Fatalf("message %d: got %d bytes, want %d, or others", i, len(got), len(m))
					}
				}
				p.raw(closing(1000, ""))
				p.closes(1000)
				ended(t, ends, 1000, "")
			})
		})
	}
}

// TestSmallWindowsAreKept checks that with a small window a message refers to no more
// of an earlier one: an inflater that has forgotten the rest still reads it.
func TestSmallWindowsAreKept(t *testing.T) {
	const bits, window = "9", 512
	noise := make([]byte, 300)
	_, _ = rand.Read(noise)
	message := strings.Repeat(string(noise), 3) // repeats itself after 300 bytes
	far := string(noise) + strings.Repeat("-", 600) + string(noise)
	ends := make(chan pagi.WebSocketDisconnect, 1)
	p := serve(t, "http1", &ws.Server{}, echo(ends)).dial(offered + "; server_max_window_bits=" + bits)
	var last []byte
	for _, m := range []string{message, far, message} {
		p.say(binaryF, m)
		_, packed := p.hear()
		if got := unsqueeze(t, packed, last); got != m {
			t.Fatalf("got %d bytes that are not the message", len(got))
		}
		last = []byte(m)[max(0, len(m)-window):]
	}
}

// TestBrokenCompression says what becomes of compressed messages that are not right.
func TestBrokenCompression(t *testing.T) {
	bomb := newSqueezer(t).squeeze(strings.Repeat("\x00", 10<<20))
	notText := newSqueezer(t).squeeze("abc\xff" + strings.Repeat("x", 1000))
	hello := newSqueezer(t).squeeze("Hello")
	for name, c := range map[string]struct {
		send []byte
		code int
	}{
		"a bomb":                      {frame(0xc2, bomb), 1009},
		"noise":                       {frame(0xc2, "\xff\xff\xff\xff"), 1007},
		"a text that is none":         {frame(0xc1, notText), 1007},
		"RSV1 on a continuation":      {append(frame(0x41, hello[:2]), frame(0xc0, hello[2:])...), 1002},
		"RSV1 on a ping":              {frame(0xc9, "x"), 1002},
		"RSV2":                        {frame(0xa1, "x"), 1002},
		"a distance into the unknown": {frame(0xc2, "\x4a\x04\x42\x00"), 1007},
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, carrier string) {
				ends := make(chan pagi.WebSocketDisconnect, 1)
				p := serve(t, carrier, &ws.Server{}, echo(ends)).dial(offered)
				p.raw(c.send)
				p.closes(c.code)
				ended(t, ends, c.code, pagi.ReasonProtocolError)
			})
		})
	}
	ends := make(chan pagi.WebSocketDisconnect, 1)
	p := serve(t, "http1", &ws.Server{}, echo(ends)).dial(offered)
	p.raw(frame(0xc1, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00")) // a last block, RFC 7692 section 7.2.3.5
	p.hears(text, "Hello")
	p.raw(append(frame(0x41, hello[:3]), append(frame(pingF, "p"), frame(0x80, hello[3:])...)...))
	p.hears(pongF, "p")
	p.hears(text, "Hello")
}
