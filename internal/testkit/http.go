package testkit

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// Conn is a connection on which a test can send bytes that well-behaved clients never send.
type Conn struct {
	net.Conn
	Reader *bufio.Reader
	t      testing.TB
}

// Dial connects to address: host:port, or the path of a Unix socket.
func Dial(t testing.TB, address string) *Conn {
	t.Helper()
	network := "tcp"
	if strings.Contains(address, "/") {
		network = "unix"
	}
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return NewConn(t, conn)
}

// NewConn makes a Conn of conn, which has Patience from now and is closed when the
// test ends.
func NewConn(t testing.TB, conn net.Conn) *Conn {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() }) // most tests have closed it already
	if err := conn.SetDeadline(time.Now().Add(Patience)); err != nil {
		t.Fatal(err)
	}
	return &Conn{conn, bufio.NewReader(conn), t}
}

// OverUnix returns a client whose requests all go to the Unix socket at path.
func OverUnix(t testing.TB, path string) *http.Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// Say writes text as it is.
func (c *Conn) Say(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// Response reads one response to a request of the given method.
func (c *Conn) Response(method string) (*http.Response, string) {
	c.t.Helper()
	res, body, err := c.read(method)
	if err != nil {
		c.t.Fatalf("reading the response: %v (so far %q)", err, body)
	}
	return res, body
}

// Try is Response for a response that may not come.
func (c *Conn) Try(method string) (*http.Response, string, error) { return c.read(method) }

func (c *Conn) read(method string) (*http.Response, string, error) {
	res, err := http.ReadResponse(c.Reader, &http.Request{Method: method})
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(res.Body)
	return res, string(body), err
}

// Rest reads until the server closes.
func (c *Conn) Rest() string {
	c.t.Helper()
	b, err := io.ReadAll(c.Reader)
	if err != nil {
		c.t.Fatalf("reading to the end: %v (so far %q)", err, b)
	}
	return string(b)
}

// Closed checks that the server closes the connection without another byte.
func (c *Conn) Closed() {
	c.t.Helper()
	if rest := c.Rest(); rest != "" {
		c.t.Fatalf("the connection goes on with %q; want it closed", rest)
	}
}

// Cut is Closed for a server that may also reset the connection, as it does when it closes with
// bytes unread.
func (c *Conn) Cut() {
	c.t.Helper()
	if b, err := io.ReadAll(c.Reader); len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("connection: %q, %v; want it closed", b, err)
	}
}

// Exchange sends request as it is on a new connection and returns the first
// response, with an error if it breaks off or there is none.
func Exchange(t testing.TB, address, request string) (*http.Response, string, error) {
	t.Helper()
	c := Dial(t, address)
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, request); err != nil {
		t.Logf("write: %v", err) // the server may have answered and closed already
	}
	method, _, _ := strings.Cut(request, " ")
	return c.read(method)
}

// Get asks client for url and returns the response with its body.
func Get(t testing.TB, client *http.Client, url string) (*http.Response, string) {
	t.Helper()
	return Do(t, client, NewRequest(t, http.MethodGet, url, nil))
}

// NewRequest returns a request that lasts no longer than the test.
func NewRequest(t testing.TB, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// Do sends req by client and returns the response with its body.
func Do(t testing.TB, client *http.Client, req *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	return res, string(body)
}
