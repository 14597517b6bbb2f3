package http1

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// A client that has sent another request gets the whole response after which the
// server closes (RFC 9112 section 9.6).
func TestServerClosesWithARequestUnread(t *testing.T) {
	const size = 3 << 20
	for _, tt := range []struct {
		name string
		end  func(s *Server, w http.ResponseWriter)
	}{
		{"the handler wants to close", func(_ *Server, w http.ResponseWriter) { w.Header().Set("Connection", "close") }},
		{"the server stops", func(s *Server, _ http.ResponseWriter) { s.Drain() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			begun, goOn := make(chan struct{}, 1), make(chan struct{})
			s := &Server{}
			s.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				begun <- struct{}{}
				<-goOn
				tt.end(s, w)
				w.Header().Set("Content-Length", "3145728")
				_, _ = w.Write(make([]byte, size)) // the client tells
			})
			c := testkit.Dial(t, launch(t, s))
			c.Say(get)
			testkit.Await(t, begun)
			c.Say(get)
			close(goOn)
			res, err := http.ReadResponse(c.Reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, res.Body)
			if n != size || err != nil || !res.Close {
				t.Errorf("%d bytes, %v, close %v", n, err, res.Close)
			}
			c.Closed()
		})
	}
}

// So does a client whose server begins to stop when the head of the response has left.
func TestServerStopsAfterAResponsesHead(t *testing.T) {
	const size = 3 << 20
	headOut, goOn := make(chan struct{}, 1), make(chan struct{})
	s := &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "3145728")
		w.WriteHeader(200)
		headOut <- struct{}{}
		<-goOn
		_, _ = w.Write(make([]byte, size)) // the client tells
	})}
	c := testkit.Dial(t, launch(t, s))
	c.Say(get)
	testkit.Await(t, headOut)
	c.Say(get)
	s.Drain()
	close(goOn)
	if _, body := c.Response("GET"); len(body) != size {
		t.Errorf("%d bytes", len(body))
	}
	c.Closed()
}

// The server waits no longer when the client closes as well.
func TestPoliteClientIsNotLingeredFor(t *testing.T) {
	s := &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(200)
	})}
	c := testkit.Dial(t, launch(t, s))
	begin := time.Now()
	c.Say(get)
	c.Response("GET")
	c.Closed()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the connection's end", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.conns) == 0
	})
	if d := time.Since(begin); d >= lingerTime {
		t.Errorf("it took %v", d)
	}
}
