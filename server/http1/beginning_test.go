package http1

import (
	"net"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// Bytes that cannot become a request are refused while the client still waits for an answer.
func TestWhatIsNoRequestIsRefusedAtOnce(t *testing.T) {
	for _, h2c := range []bool{false, true} {
		refused := make(chan Refusal, 1)
		s := &Server{Handler: echo, Refused: func(r *Refusal) { refused <- *r }}
		if h2c {
			s.HTTP2 = func(net.Conn, []byte) {}
		}
		addr := launch(t, s)
		for _, tt := range []struct{ name, begins, reason string }{
			{"a TLS handshake", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "speaks TLS"},
			{"a TLS handshake with an empty line among its bytes", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n", "speaks TLS"},
			{"a PROXY header of version 1 and its request", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "PROXY header"},
			{"a PROXY header of version 2 and its request", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0cabcdefghijklGET / HTTP/1.1\r\nHost: x\r\n\r\n", "PROXY header"},
			{"a PROXY header of version 1", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "PROXY header"},
			{"a PROXY header of version 2", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", "PROXY header"},
			{"a line of another protocol", "SSH-2.0-OpenSSH_9\r\n", "the request line is malformed"},
			{"a byte that no method has", "\x80", "the request line is malformed"},
			{"a request of HTTP/0.9", "GET /\r\n", "the request line is malformed"},
			{"a version that is none", "GET / HTTP/x\r\nHost: x\r\n", "the version is malformed"},
			{"a version that is not spoken", "GET / HTTP/3.0\r\n", "the version is HTTP/3.0"},
			{"a target that is none", "GET a HTTP/1.1\r\nHost: x\r\n", "the request target is malformed"},
		} {
			if h2c && !strings.Contains(tt.begins, " HTTP/") && tt.reason != "speaks TLS" {
				continue // it could be a broken preface, and is closed without an answer
			}
			t.Run(tt.name, func(t *testing.T) {
				c := testkit.Dial(t, addr)
				c.Say(tt.begins)
				if r := testkit.AtOnce(t, refused); !strings.Contains(r.Reason, tt.reason) {
					t.Errorf("it is refused because %s", r.Reason)
				}
				if got := c.Rest(); !strings.HasPrefix(got, "HTTP/1.1 ") {
					t.Errorf("the client gets %q", got)
				}
			})
		}
	}
}

// Bytes that can still become a request are waited for, in whatever pieces they come.
func TestWhatMayBecomeARequestIsWaitedFor(t *testing.T) {
	addr := launch(t, &Server{Handler: echo})
	for _, request := range []string{
		"\r\n\r\nPOST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		"\nGET /" + strings.Repeat("a", 5000) + " HTTP/1.0\r\n\r\n",
	} {
		c := testkit.Dial(t, addr)
		for _, b := range []byte(request) {
			c.Say(string(b))
		}
		if got := c.Rest(); !strings.Contains(got, " 200 OK") {
			t.Errorf("%.20q: %.100q", request, got)
		}
	}
}
