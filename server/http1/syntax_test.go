package http1

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// launch serves with s until the test ends and returns the address.
func launch(t *testing.T, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.Context, s.Log = ctx, slog.New(slog.DiscardHandler)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(lendingListener{l}) }()
	t.Cleanup(func() {
		s.Drain()
		_ = l.Close() // Serve tells
		<-ended
		s.Close()
		cancel()
	})
	return l.Addr().String()
}

// echo answers with the method, the target, the host and the body.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	text := fmt.Sprintf("%s %s %s %q", r.Method, r.URL, r.Host, body)
	w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	_, _ = io.WriteString(w, text) // a client that has left is not the test's concern
})

const tooLong = 8 << 10 // the servers' MaxHead here

// syntax holds raw requests and what RFC 9110 and 9112 require of a server. statuses are those of
// all answers. When the last is 400 or more, the connection ends.
var syntax = []struct {
	name, request string
	statuses      string
}{
	// The request line, RFC 9112 section 3.
	{"a request", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
	{"a token for a method", "M-SEARCH!#$%&'*+-.^_`|~ / HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
	{"a lower-case method", "get / HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
	{"no method", " / HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"a method that is no token", "G{}T / HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"a method with a colon", "GET: / HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"a method with a NUL", "G\x00T / HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"a method with a byte above 0x7f", "G\xc9T / HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"no target", "GET HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"an empty target", "GET  HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"two spaces", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"two spaces before the version", "GET /  HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"a space at the end", "GET / HTTP/1.1 \r\nHost: x\r\n\r\n", "400"},
	{"a space before the line", " GET / HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"a tab for a space", "GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"a tab before the version", "GET /\tHTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"a vertical tab for a space", "GET\v/ HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"no version, as in HTTP/0.9", "GET /\r\n\r\n", "400"},
	{"a bare CR in the line", "GET / HTTP/1.1\rHost: x\r\n\r\n", "400"},
	{"a space in the target", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"an empty line before", "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
	{"three empty lines before", "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
	{"empty lines that end in LF before", "\n\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
	{"a bare CR before", "\rGET / HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"an empty line and a bare CR before", "\r\n\rGET / HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"CR CR LF before", "\r\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"empty lines between requests", "GET / HTTP/1.1\r\nHost: x\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "200 200"},
	{"garbage", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400"},
	{"a response", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "400"},

	// The version, RFC 9110 section 2.5.
	{"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "200"},
	{"HTTP/1.2 is taken for HTTP/1.1", "GET / HTTP/1.2\r\nHost: x\r\n\r\n", "200"},
	{"HTTP/2.0", "GET / HTTP/2.0\r\nHost: x\r\n\r\n", "505"},
	{"HTTP/0.9", "GET / HTTP/0.9\r\nHost: x\r\n\r\n", "505"},
	{"HTTP/3.1", "GET / HTTP/3.1\r\nHost: x\r\n\r\n", "505"},
	{"HTTP/1", "GET / HTTP/1\r\nHost: x\r\n\r\n", "400"},
	{"HTTP/1.", "GET / HTTP/1.\r\nHost: x\r\n\r\n", "400"},
	{"HTTP/1.10", "GET / HTTP/1.10\r\nHost: x\r\n\r\n", "400"},
	{"HTTP/01.1", "GET / HTTP/01.1\r\nHost: x\r\n\r\n", "400"},
	{"HTTP/+1.1", "GET / HTTP/+1.1\r\nHost: x\r\n\r\n", "400"},
	{"HTTP/1,1", "GET / HTTP/1,1\r\nHost: x\r\n\r\n", "400"},
	{"http/1.1", "GET / http/1.1\r\nHost: x\r\n\r\n", "400"},
	{"HTTPS/1.1", "GET / HTTPS/1.1\r\nHost: x\r\n\r\n", "400"},
	{"HTTP 1.1", "GET / HTTP 1.1\r\nHost: x\r\n\r\n", "400"},
	{"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"},

	// The target, RFC 9112 section 3.2.
	{"a query", "GET /a?b=c&d[]=%20 HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
	{"an empty query", "GET /a? HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
	{"percent-encoding", "GET /a%2fb%20c HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
	{"broken percent-encoding", "GET /a%2 HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"percent-encoding that is none", "GET /a%zz HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"absolute form", "GET http://example.org/a HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
	{"absolute form without a path", "GET http://example.org HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
	{"absolute form in HTTP/1.0", "GET http://example.org/a HTTP/1.0\r\n\r\n", "200"},
	{"absolute form with a bad host", "GET http://exa\"mple/ HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"absolute form with a bad port", "GET http://example:port/ HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"absolute form with https, without TLS", "GET https://example.org/a HTTP/1.1\r\nHost: x\r\n\r\n", "421"},
	{"absolute form in capitals", "GET HTTP://EXAMPLE.ORG/a HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
	{"absolute form with an IPv6 address", "GET http://[::1]:80/a HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
	{"absolute form with another scheme", "GET ftp://example.org/a HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"absolute form of a file", "GET file:///etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"absolute form without a host", "GET http:///a HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"absolute form with only a port", "GET http://:80/a HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"absolute form without slashes", "GET http:a HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"absolute form with a user", "GET http://user@example.org/ HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"absolute form with an empty user", "GET http://@example.org/ HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"absolute form with a password", "GET http://u:p@example.org/ HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"a fragment", "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"a fragment after a query", "GET /a?b#c HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"a fragment in absolute form", "GET http://example.org/#b HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"asterisk form", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
	{"asterisk form with GET", "GET * HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"asterisk form with DELETE", "DELETE * HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"asterisk form with a query", "OPTIONS *?a HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"a path without a slash", "GET a HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"a control character in the path", "GET /a\x01b HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"a NUL in the path", "GET /a\x00b HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"a control character in the query", "GET /?a\x7fb HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"UTF-8 in the path", "GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
	{"dots", "GET /../a/./b HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
	{"two slashes", "GET //a//b HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
	{"authority form", "CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
	{"authority form with a path", "CONNECT example.org:443/a HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"authority form with a user", "CONNECT u@example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n", "400"},

	// Host, RFC 9112 section 3.2.
	{"no Host", "GET / HTTP/1.1\r\n\r\n", "400"},
	{"no Host in HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "200"},
	{"an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "200"},
	{"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"},
	{"the same Host twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400"},
	{"two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "400"},
	{"a Host with a port", "GET / HTTP/1.1\r\nHost: a:80\r\n\r\n", "200"},
	{"a Host that is an IPv6 address", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "200"},
	{"a Host that is an IPv6 address without a port", "GET / HTTP/1.1\r\nHost: [2001:db8::1]\r\n\r\n", "200"},
	{"a Host that is an IPv4 address", "GET / HTTP/1.1\r\nHost: 192.0.2.1:80\r\n\r\n", "200"},
	{"a Host with an empty port", "GET / HTTP/1.1\r\nHost: a:\r\n\r\n", "200"},
	{"a Host with an underscore", "GET / HTTP/1.1\r\nHost: a_b.example\r\n\r\n", "200"},
	{"a Host with percent-encoding", "GET / HTTP/1.1\r\nHost: a%2Db:80\r\n\r\n", "200"},
	{"a Host with broken percent-encoding", "GET / HTTP/1.1\r\nHost: a%2\r\n\r\n", "400"},
	{"a Host with two ports", "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", "400"},
	{"a Host with three parts", "GET / HTTP/1.1\r\nHost: a:b:c\r\n\r\n", "400"},
	{"a Host with a port that is no number", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", "400"},
	{"a Host that is only a port", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n", "400"},
	{"a Host of brackets", "GET / HTTP/1.1\r\nHost: [[[\r\n\r\n", "400"},
	{"a Host with nothing in brackets", "GET / HTTP/1.1\r\nHost: []\r\n\r\n", "400"},
	{"a Host with a name in brackets", "GET / HTTP/1.1\r\nHost: [a]\r\n\r\n", "400"},
	{"a Host with an IPv4 address in brackets", "GET / HTTP/1.1\r\nHost: [192.0.2.1]\r\n\r\n", "400"},
	{"a Host with a zone", "GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n", "400"},
	{"a Host with brackets that do not end", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "400"},
	{"a Host with something after brackets", "GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n", "400"},
	{"a Host with a bracket inside", "GET / HTTP/1.1\r\nHost: a[b\r\n\r\n", "400"},
	{"a Host that is an IPv6 address without brackets", "GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", "400"},
	{"a Host with a slash", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400"},
	{"a Host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400"},
	{"a Host with an at sign", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", "400"},
	{"a Host with a quote", "GET / HTTP/1.1\r\nHost: a\"b\r\n\r\n", "400"},
	{"a Host with bytes above 0x7f", "GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n", "400"},

	// Headers, RFC 9112 section 5, RFC 9110 section 5.
	{"no space after the colon", "GET / HTTP/1.1\r\nHost:x\r\n\r\n", "200"},
	{"white space around a value", "GET / HTTP/1.1\r\nHost: \t x \t \r\n\r\n", "200"},
	{"a space before the colon", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", "400"},
	{"a tab before the colon", "GET / HTTP/1.1\r\nHost\t: x\r\n\r\n", "400"},
	{"an empty name", "GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n", "400"},
	{"a name with a space", "GET / HTTP/1.1\r\nHost: x\r\nA B: y\r\n\r\n", "400"},
	{"a name with a slash", "GET / HTTP/1.1\r\nHost: x\r\nA/B: y\r\n\r\n", "400"},
	{"a name with a NUL", "GET / HTTP/1.1\r\nHost: x\r\nA\x00B: y\r\n\r\n", "400"},
	{"a name with a byte above 0x7f", "GET / HTTP/1.1\r\nHost: x\r\nA\xe9: y\r\n\r\n", "400"},
	{"a name with an underscore", "GET / HTTP/1.1\r\nHost: x\r\nA_B: y\r\n\r\n", "200"},
	{"a line without a colon", "GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n", "400"},
	{"a folded line", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", "400"},
	{"a line folded with a tab", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\tc\r\n\r\n", "400"},
	{"a folded first line", "GET / HTTP/1.1\r\n Host: x\r\n\r\n", "400"},
	{"a NUL in a value", "GET / HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n", "400"},
	{"a control character in a value", "GET / HTTP/1.1\r\nHost: x\r\nA: b\x01c\r\n\r\n", "400"},
	{"a bare CR in a value", "GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", "400"},
	{"a DEL in a value", "GET / HTTP/1.1\r\nHost: x\r\nA: b\x7f\r\n\r\n", "400"},
	{"a tab in a value", "GET / HTTP/1.1\r\nHost: x\r\nA: b\tc\r\n\r\n", "200"},
	{"bytes above 0x7f in a value", "GET / HTTP/1.1\r\nHost: x\r\nA: \xe9\xff\r\n\r\n", "200"},
	{"an empty value", "GET / HTTP/1.1\r\nHost: x\r\nA:\r\n\r\n", "200"},
	{"bare LFs for line ends", "GET / HTTP/1.1\nHost: x\n\n", "200"},
	{"a bare LF at one line's end", "GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", "200"},
	{"CR CR LF", "GET / HTTP/1.1\r\r\nHost: x\r\n\r\n", "400"},
	{"CR CR LF after a value", "GET / HTTP/1.1\r\nHost: x\r\r\n\r\n", "400"},
	{"a head that is cut", "GET / HTTP/1.1\r\nHost: x\r\n", "400"},
	{"a request line that is cut", "GET / HT", "400"},
	{"a head that is too long", "GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", tooLong) + "\r\n\r\n", "431"},
	{"a target that is too long", "GET /" + strings.Repeat("a", tooLong) + " HTTP/1.1\r\nHost: x\r\n\r\n", "414"},
	{"a target that fills the room", "GET /" + strings.Repeat("a", tooLong-len("GET / HTTP/1.1\r\n")) + " HTTP/1.1\r\nHost: x\r\n\r\n", "431"},
	{"a request line of one byte more", "GET /" + strings.Repeat("a", 1+tooLong-len("GET / HTTP/1.1\r\n")) + " HTTP/1.1\r\nHost: x\r\n\r\n", "414"},
	{"many headers that are too long", "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: b\r\n", tooLong/6) + "\r\n", "431"},
	{"a head that fills the room", "GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", tooLong-len("GET / HTTP/1.1\r\nHost: x\r\nA: \r\n\r\n")) + "\r\n\r\n", "200"},
	{"one byte more", "GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 1+tooLong-len("GET / HTTP/1.1\r\nHost: x\r\nA: \r\n\r\n")) + "\r\n\r\n", "431"},

	// Content-Length, RFC 9112 section 6.
	{"a body", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "200"},
	{"a body and another request", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: x\r\n\r\n", "200 200"},
	{"a body of nothing", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "200"},
	{"no length", "POST / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "200 200"},
	{"leading zeros", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0003\r\n\r\nabc", "200"},
	{"a body for GET", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "200"},
	{"a length with a plus", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc", "400"},
	{"a length with a minus", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\nabc", "400"},
	{"an empty length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\nabc", "400"},
	{"a hexadecimal length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x3\r\n\r\nabc", "400"},
	{"a length with a point", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3.0\r\n\r\nabc", "400"},
	{"a length with a space in it", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1 3\r\n\r\nabc", "400"},
	{"a length with an underscore", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1_3\r\n\r\nabc", "400"},
	{"a list of lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3\r\n\r\nabc", "400"},
	{"two lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", "400"},
	{"the same length twice", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "400"},
	{"a length beyond 63 bits", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9223372036854775808\r\n\r\nabc", "400"},
	{"a length beyond 64 bits", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551619\r\n\r\nabc", "400"},
	{"a body that is cut", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc", "400"},
	{"a length with a space before the colon", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\nabc", "400"},

	// Transfer-Encoding, RFC 9112 sections 6.1 and 11.2.
	{"chunks", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "200"},
	{"chunks and another request", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "200 200"},
	{"Chunked", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", "200"},
	{"chunked and a length", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", "400"},
	{"a length and chunked", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
	{"a length of 0 and chunked", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
	{"chunked in HTTP/1.0", "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
	{"chunked twice", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "501"},
	{"chunked, chunked", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "501"},
	{"gzip, chunked", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501"},
	{"chunked, identity", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "400"},
	{"chunked, gzip", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", "400"},
	{"chunked and gzip in two lines", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n", "400"},
	{"gzip and chunked in two lines", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "501"},
	{"chunked with a comma", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", "400"},
	{"identity", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", "400"},
	{"an empty transfer-encoding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n", "400"},
	{"gzip", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n", "501"},
	{"xchunked", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "501"},
	{"chunked with a parameter", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", "501"},
	{"chunked in quotes", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", "501"},
	{"a vertical tab before chunked", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", "400"},
	{"a space before the colon of transfer-encoding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "400"},
	{"a folded transfer-encoding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", "400"},
	{"transfer_encoding is no transfer-encoding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer_Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc", "200"},

	// Chunks, RFC 9112 section 7.1.
	{"no chunks but the last", chunks("0\r\n\r\n"), "200"},
	{"upper and lower case digits", chunks("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"), "200"},
	{"leading zeros of a chunk", chunks("0003\r\nabc\r\n000\r\n\r\n"), "200"},
	{"an extension", chunks("3;name=value\r\nabc\r\n0\r\n\r\n"), "200"},
	{"an extension with quotes", chunks("3;name=\"a;b\"\r\nabc\r\n0;x\r\n\r\n"), "200"},
	{"a space before an extension", chunks("3 ;a\r\nabc\r\n0\r\n\r\n"), "200"},
	{"a trailer", chunks("3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"), "200"},
	{"a trailer that frames", chunks("3\r\nabc\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\n\r\n") + "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "200 200"},
	{"a trailer that is no header", chunks("3\r\nabc\r\n0\r\nnonsense\r\n\r\n"), "400"},
	{"a trailer with a name that is no token", chunks("3\r\nabc\r\n0\r\nA B: c\r\n\r\n"), "400"},
	{"a trailer with a space before the colon", chunks("3\r\nabc\r\n0\r\nA : c\r\n\r\n"), "400"},
	{"a trailer with a control character", chunks("3\r\nabc\r\n0\r\nA: b\x01c\r\n\r\n"), "400"},
	{"a trailer with a bare CR", chunks("3\r\nabc\r\n0\r\nA: b\rc\r\n\r\n"), "400"},
	{"a trailer that ends in a bare LF", chunks("3\r\nabc\r\n0\r\nA: b\n\r\n"), "400"},
	{"a trailer that fills the room of the head", chunks("3\r\nabc\r\n0\r\nA: " + strings.Repeat("a", tooLong-len(chunks("A: \r\n"))) + "\r\n\r\n"), "200"},
	{"a trailer of one byte more", chunks("3\r\nabc\r\n0\r\nA: " + strings.Repeat("a", 1+tooLong-len(chunks("A: \r\n"))) + "\r\n\r\n"), "400"},
	{"two trailers that are too large", chunks("3\r\nabc\r\n0\r\nA: " + strings.Repeat("a", tooLong/2) + "\r\nB: " + strings.Repeat("a", tooLong/2) + "\r\n\r\n"), "400"},
	{"a trailer without an end", chunks("3\r\nabc\r\n0\r\nA: " + strings.Repeat("a", 2*tooLong)), "400"},
	{"a folded trailer", chunks("3\r\nabc\r\n0\r\nA: b\r\n c\r\n\r\n"), "400"},
	{"an empty size", chunks("\r\nabc\r\n0\r\n\r\n"), "400"},
	{"a size that is no number", chunks("x\r\nabc\r\n0\r\n\r\n"), "400"},
	{"a size with 0x", chunks("0x3\r\nabc\r\n0\r\n\r\n"), "400"},
	{"a size with a plus", chunks("+3\r\nabc\r\n0\r\n\r\n"), "400"},
	{"a size with a minus", chunks("-3\r\nabc\r\n0\r\n\r\n"), "400"},
	{"a size with a space before it", chunks(" 3\r\nabc\r\n0\r\n\r\n"), "400"},
	{"a size with a space behind it", chunks("3 \r\nabc\r\n0\r\n\r\n"), "400"},
	{"a size of 64 bits", chunks("ffffffffffffffff\r\nabc\r\n0\r\n\r\n"), "400"},
	{"a size beyond 64 bits", chunks("10000000000000003\r\nabc\r\n0\r\n\r\n"), "400"},
	{"a bare LF after a size", chunks("3\nabc\r\n0\r\n\r\n"), "400"},
	{"a bare LF in an extension", chunks("3;a\nb\r\nabc\r\n0\r\n\r\n"), "400"},
	{"a bare CR after a size", chunks("3\rabc\r\n0\r\n\r\n"), "400"},
	{"a NUL in an extension", chunks("3;\x00\r\nabc\r\n0\r\n\r\n"), "400"},
	{"a bare LF after a chunk", chunks("3\r\nabc\n0\r\n\r\n"), "400"},
	{"nothing after a chunk", chunks("3\r\nabc0\r\n\r\n"), "400"},
	{"a chunk longer than its size", chunks("3\r\nabcd\r\n0\r\n\r\n"), "400"},
	{"a chunk shorter than its size", chunks("4\r\nabc\r\n0\r\n\r\n"), "400"},
	{"a bare LF at the end", chunks("3\r\nabc\r\n0\r\n\n"), "400"},
	{"chunks that are cut", chunks("3\r\nab"), "400"},
	{"no last chunk", chunks("3\r\nabc\r\n"), "400"},
	{"a last chunk that is cut", chunks("3\r\nabc\r\n0\r\n"), "400"},
	{"a long extension", chunks("3;" + strings.Repeat("a", 5000) + "\r\nabc\r\n0\r\n\r\n"), "400"},
	{"many chunks of one byte", chunks(strings.Repeat("1\r\na\r\n", 4200) + "0\r\n\r\n"), "200"},
	{"many long extensions", chunks(strings.Repeat("1;"+strings.Repeat("a", 1000)+"\r\na\r\n", 30) + "0\r\n\r\n"), "400"},

	// Expect, RFC 9110 section 10.1.1.
	{"an expectation", "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", "100 200"},
	{"an expectation in odd case", "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\nabc", "100 200"},
	{"an expectation without a body", "GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n", "200"},
	{"an expectation in HTTP/1.0", "POST / HTTP/1.0\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", "200"},
	{"an unknown expectation", "POST / HTTP/1.1\r\nHost: x\r\nExpect: wonders\r\nContent-Length: 3\r\n\r\nabc", "417"},

	// Connections, RFC 9112 section 9.
	{"three requests at once", strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 3), "200 200 200"},
	{"nothing is read after close", "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
	{"close among others", "GET / HTTP/1.1\r\nHost: x\r\nConnection: x, Close\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "200"},
	{"HTTP/1.0 closes", "GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n", "200"},
	{"HTTP/1.0 with keep-alive", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n", "200 200"},
	{"nothing is read after a bad request", "GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"an upgrade nobody offers", "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c, foo/2\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "200 200"},
	{"HEAD", "HEAD / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "200 200"},
}

// chunks is a request whose body is said to be in chunks.
func chunks(body string) string {
	return "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body
}

func TestSyntax(t *testing.T) {
	addr := launch(t, &Server{Handler: echo, Limits: Limits{MaxHead: tooLong}})
	for _, tt := range syntax {
		for _, way := range []struct {
			name string
			say  func(c *testkit.Conn, text string)
		}{
			{"at once", func(c *testkit.Conn, text string) { _, _ = io.WriteString(c, text) }}, // the server may have closed
			{"in pieces", func(c *testkit.Conn, text string) {
				for size := 1; len(text) > 0; size += size/8 + 1 {
					n := min(size, len(text))
					if _, err := io.WriteString(c, text[:n]); err != nil {
						return
					}
					text = text[n:]
					time.Sleep(10 * time.Microsecond) // most bytes then arrive one by one, but they need not
				}
			}},
		} {
			t.Run(tt.name+", "+way.name, func(t *testing.T) {
				t.Parallel()
				c := testkit.Dial(t, addr)
				way.say(c, tt.request)
				if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil && !strings.Contains(err.Error(), "not connected") {
					t.Fatal(err)
				}
				if got := statuses(t, c, tt.request); got != tt.statuses {
					t.Errorf("answered %s, want %s", got, tt.statuses)
				}
			})
		}
	}
	if n := len(syntax); n < 150 {
		t.Errorf("only %d requests", n)
	}
}

// statuses reads answers until the connection ends and returns their statuses.
func statuses(t *testing.T, c *testkit.Conn, request string) string {
	t.Helper()
	var list []string
	method, _, _ := strings.Cut(strings.TrimLeft(request, "\r\n"), " ")
	for {
		if _, err := c.Reader.Peek(1); err != nil {
			return strings.Join(list, " ")
		}
		res, err := http.ReadResponse(c.Reader, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("after %v: %v", list, err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatalf("after %v: %v", list, err)
		}
		list = append(list, fmt.Sprint(res.StatusCode))
		method = "GET"
	}
}
