package ws_test

import (
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server/ws"
)

// reply is a frame that the server must answer with.
type reply struct {
	first   byte
	payload string
}

// TestFrames sends frames and compares the answers. The groups are those of the Autobahn suite.
// Each case ends with the client's Close, or with the code and reason with which the server closes.
func TestFrames(t *testing.T) {
	long := strings.Repeat("*", 65536)
	join := func(frames ...[]byte) (all []byte) {
		for _, f := range frames {
			all = append(all, f...)
		}
		return all
	}
	cut := func(first byte, payload string) []byte { // each byte a frame
		var all []byte
		for i := range len(payload) {
			switch {
			case i == len(payload)-1:
				all = append(all, frame(0x80|first, payload[i:])...)
			default:
				all = append(all, frame(first, payload[i:i+1])...)
			}
			first = 0
		}
		return all
	}
	const greek = "Hello-µ@ßöäüàá-UTF-8!!"
	for name, c := range map[string]struct {
		send    []byte
		replies []reply
		code    int // 0: the client closes
	}{
		"1 an empty text":                       {send: frame(text, ""), replies: []reply{{text, ""}}},
		"1 a text of 125 bytes":                 {send: frame(text, long[:125]), replies: []reply{{text, long[:125]}}},
		"1 a text of 126 bytes":                 {send: frame(text, long[:126]), replies: []reply{{text, long[:126]}}},
		"1 a text of 65535 bytes":               {send: frame(text, long[:65535]), replies: []reply{{text, long[:65535]}}},
		"1 a text of 65536 bytes":               {send: frame(text, long), replies: []reply{{text, long}}},
		"1 an empty binary message":             {send: frame(binaryF, ""), replies: []reply{{binaryF, ""}}},
		"1 bytes that are no text":              {send: frame(binaryF, "\xff\xfe\x00"), replies: []reply{{binaryF, "\xff\xfe\x00"}}},
		"1 a binary message of 65536 bytes":     {send: frame(binaryF, long), replies: []reply{{binaryF, long}}},
		"2 a ping without payload":              {send: frame(pingF, ""), replies: []reply{{pongF, ""}}},
		"2 a ping with payload":                 {send: frame(pingF, "\x00\xff\xfe"), replies: []reply{{pongF, "\x00\xff\xfe"}}},
		"2 a ping of 125 bytes":                 {send: frame(pingF, long[:125]), replies: []reply{{pongF, long[:125]}}},
		"2 a ping of 126 bytes":                 {send: frame(pingF, long[:126]), code: 1002},
		"2 a pong nobody asked for":             {send: join(frame(pongF, "x"), frame(pingF, "y")), replies: []reply{{pongF, "y"}}},
		"2 ten pings":                           {send: join(frame(pingF, "1"), frame(pingF, "2"), frame(pingF, "3")), replies: []reply{{pongF, "1"}, {pongF, "2"}, {pongF, "3"}}},
		"3 RSV1":                                {send: frame(text|0x40, "x"), code: 1002},
		"3 RSV2":                                {send: join(frame(text, "a"), frame(text|0x20, "x")), replies: []reply{{text, "a"}}, code: 1002},
		"3 RSV3":                                {send: frame(binaryF|0x10, "x"), code: 1002},
		"3 RSV on a ping":                       {send: frame(pingF|0x40, "x"), code: 1002},
		"3 RSV on a Close":                      {send: frame(closeF|0x70, ""), code: 1002},
		"4 opcode 3":                            {send: frame(0x83, ""), code: 1002},
		"4 opcode 7":                            {send: frame(0x87, "x"), code: 1002},
		"4 opcode 11":                           {send: frame(0x8b, ""), code: 1002},
		"4 opcode 15":                           {send: frame(0x8f, "x"), code: 1002},
		"5 a ping in two":                       {send: join(frame(0x09, "a"), frame(0x80, "b")), code: 1002},
		"5 a text in two":                       {send: join(frame(0x01, "a"), frame(0x80, "b")), replies: []reply{{text, "ab"}}},
		"5 a text in two, the second empty":     {send: join(frame(0x01, "a"), frame(0x80, "")), replies: []reply{{text, "a"}}},
		"5 a text in three, all empty":          {send: join(frame(0x01, ""), frame(0x00, ""), frame(0x80, "")), replies: []reply{{text, ""}}},
		"5 a ping between":                      {send: join(frame(0x01, "a"), frame(pingF, "p"), frame(0x80, "b")), replies: []reply{{pongF, "p"}, {text, "ab"}}},
		"5 each byte a frame":                   {send: cut(0x02, "0123456789"), replies: []reply{{binaryF, "0123456789"}}},
		"5 a continuation of nothing":           {send: frame(0x80, "b"), code: 1002},
		"5 an unfinished one of nothing":        {send: frame(0x00, "b"), code: 1002},
		"5 a continuation after the end":        {send: join(frame(0x01, "a"), frame(0x80, "b"), frame(0x80, "c")), replies: []reply{{text, "ab"}}, code: 1002},
		"5 a message inside a message":          {send: join(frame(0x01, "a"), frame(text, "b")), code: 1002},
		"6 a text with many characters":         {send: frame(text, greek), replies: []reply{{text, greek}}},
		"6 each byte of it a frame":             {send: cut(0x01, greek), replies: []reply{{text, greek}}},
		"6 U+0000, U+FFFF, U+10FFFF":            {send: frame(text, "\x00\uffff\U0010ffff"), replies: []reply{{text, "\x00\uffff\U0010ffff"}}},
		"6 an unfinished character":             {send: frame(text, "\xce\xba\xe1\xbd"), code: 1007},
		"6 an unfinished one in two frames":     {send: join(frame(0x01, "\xe1"), frame(0x80, "\xbd")), code: 1007},
		"6 a surrogate":                         {send: frame(text, "a\xed\xa0\x80b"), code: 1007},
		"6 beyond U+10FFFF":                     {send: frame(text, "\xf4\x90\x80\x80"), code: 1007},
		"6 an overlong slash":                   {send: frame(text, "\xc0\xaf"), code: 1007},
		"6 a wrong byte in a first frame":       {send: frame(0x01, "a\xff"), code: 1007},
		"6 a wrong byte across frames":          {send: join(frame(0x01, "a\xf4"), frame(0x00, "\x90")), code: 1007},
		"6 a wrong second byte at once":         {send: frame(0x01, "a\xed\xa0"), code: 1007},
		"6 a wrong byte in a frame's midst":     {send: frame(text, "abc\xff"+long[:1000])[:20], code: 1007},
		"7 Close, then a text":                  {send: join(closing(1000, ""), frame(text, "x")), code: 1000},
		"7 Close without a code":                {send: frame(closeF, ""), code: 1005},
		"7 Close with half a code":              {send: frame(closeF, "\x03"), code: 1002},
		"7 Close with the longest reason":       {send: closing(1000, long[:123]), code: 1000},
		"7 Close with more":                     {send: closing(1000, long[:124]), code: 1002},
		"7 Close with a reason that is no text": {send: closing(1000, "\xce\xba\xed\xa0\x80"), code: 1007},
		"7 Close inside a message":              {send: join(frame(0x01, "a"), closing(1000, "")), code: 1000},
		"7 code 1003":                           {send: closing(1003, ""), code: 1003},
		"7 code 1011":                           {send: closing(1011, ""), code: 1011},
		"7 code 3000":                           {send: closing(3000, ""), code: 3000},
		"7 code 4999":                           {send: closing(4999, ""), code: 4999},
		"7 code 0":                              {send: closing(0, ""), code: 1002},
		"7 code 999":                            {send: closing(999, ""), code: 1002},
		"7 code 1004":                           {send: closing(1004, ""), code: 1002},
		"7 code 1005":                           {send: closing(1005, ""), code: 1002},
		"7 code 1006":                           {send: closing(1006, ""), code: 1002},
		"7 code 1015":                           {send: closing(1015, ""), code: 1002},
		"7 code 1100":                           {send: closing(1100, ""), code: 1002},
		"7 code 2999":                           {send: closing(2999, ""), code: 1002},
		"7 code 5000":                           {send: closing(5000, ""), code: 1002},
		"7 code 65535":                          {send: closing(65535, ""), code: 1002},
		"9 a frame that is too large":           {send: frame(binaryF, long+"*")[:20], code: 1009},
		"9 a message that is too large":         {send: join(frame(0x02, long), frame(0x00, long), frame(0x00, long), frame(0x80, "x")), code: 1009},
		"9 a frame of no possible length":       {send: []byte{0x82, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, code: 1002},
		"x a length not in its shortest form":   {send: []byte{0x82, 0x80 | 126, 0, 5, 1, 2, 3, 4, 0, 0, 0, 0, 0}, code: 1002},
		"x a frame without a mask":              {send: []byte{0x82, 1, 'a'}, code: 1002},
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, carrier string) {
				ends := make(chan pagi.WebSocketDisconnect, 1)
				x := serve(t, carrier, &ws.Server{MaxFrameSize: 65536, MaxMessageSize: 3 * 65536}, echo(ends))
				p := x.dial()
				p.raw(c.send)
				for _, r := range c.replies {
					p.hears(r.first, r.payload)
				}
				fromPeer := c.code != 1002 && c.code != 1007 && c.code != 1009
				code, reason := c.code, ""
				switch {
				case c.code == 0:
					p.raw(closing(1000, "done"))
					code, reason = 1000, "done"
				case !fromPeer:
					reason = pagi.ReasonProtocolError
				case strings.Contains(name, "longest"):
					reason = long[:123]
				}
				p.closes(code)
				ended(t, ends, code, reason)
				if c.code == 1009 {
					x.log.WaitFor(t, "level=WARN", "too large", "option=--max-ws-")
				}
			})
		})
	}
}
