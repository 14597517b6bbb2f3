package upstream_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pagi-go/pagi-bridge/apps/internal/upstream"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// scripted starts a server that answers the requests of each connection with the texts of a script,
// one after the other, and closes it behind the last. It returns a function that sends a request to it,
// and the number of connections so far.
func scripted(t *testing.T, scripts ...[]string) (ask func(method string) (*upstream.Response, string, error), conns *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	conns = new(atomic.Int64)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			script := scripts[min(int(conns.Add(1)), len(scripts))-1]
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for _, text := range script {
					if _, err := http.ReadRequest(in); err != nil {
						return
					}
					_, _ = io.WriteString(conn, text) // a client that has left needs no answer
				}
				if !strings.HasSuffix(script[len(script)-1], "!") {
					_, _ = io.Copy(io.Discard, in)
				}
			}()
		}
	}()
	all := backends(t, "http://"+l.Addr().String())
	transport := upstream.NewTransport(upstream.TransportOptions{ConnectTimeout: testkit.Patience, MaxIdleConns: 10}, all)
	t.Cleanup(transport.CloseIdle)
	return func(method string) (*upstream.Response, string, error) {
		res, err := transport.Direct(all[0]).Ask(t.Context(), request(method))
		if err != nil {
			return nil, "", err
		}
		defer res.Close()
		body, whole := res.Whole()
		if !whole {
			body, err = io.ReadAll(res)
		}
		return res, string(body), err
	}, conns
}

func request(method string) *upstream.Request {
	return &upstream.Request{Method: method, Target: "/", Host: "testserver"}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	const ok, end = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!"
	for _, tt := range []struct {
		name, method string
		scripts      [][]string
		conns        int64
	}{
		{"with a length", "GET", [][]string{{ok, ok, ok}}, 1},
		{"with chunks", "GET", [][]string{{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", ok, ok}}, 1},
		{"without a body", "HEAD", [][]string{{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 304 Not Modified\r\n\r\n"}}, 1},
		{"not where the backend closes", "GET", [][]string{{"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"}}, 3},
		{"not of HTTP/1.0", "GET", [][]string{{"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"}}, 3},
		{"not if more has come than a response", "GET", [][]string{{ok + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"}}, 3},
		{"not behind another protocol", "GET", [][]string{{"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"}}, 3},
		{"not behind a response without a length", "GET", [][]string{{"HTTP/1.1 200 OK\r\n\r\nok!"}}, 3},
		{"not after the backend has closed them", "GET", [][]string{{ok, end}, {ok}}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ask, conns := scripted(t, tt.scripts...)
			for range 3 {
				res, body, err := ask(tt.method)
				if err != nil || tt.method == "GET" && res.Status == 200 && !strings.HasPrefix(body, "ok") {
					t.Errorf("%v %q", err, body)
				}
			}
			if conns.Load() != tt.conns {
				t.Errorf("%d connections, want %d", conns.Load(), tt.conns)
			}
		})
	}
}

func TestTrailersOfDirectResponses(t *testing.T) {
	ask, _ := scripted(t, []string{"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n"})
	if res, body, err := ask("GET"); err != nil || body != "ok" || res.Trailers.Get("x-sum") != "7" {
		t.Errorf("%v %q %v", res, body, err)
	}
}

func TestInterimResponsesAreCounted(t *testing.T) {
	const hint = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
	for n, ok := range map[int]bool{upstream.MaxInterim: true, upstream.MaxInterim + 1: false} {
		ask, _ := scripted(t, []string{strings.Repeat(hint, n) + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"})
		if _, _, err := ask("GET"); (err == nil) != ok || !ok && !errors.Is(err, upstream.ErrInterim) {
			t.Errorf("%d: %v", n, err)
		}
	}
}

func TestAHeadHasALimit(t *testing.T) {
	for name, line := range map[string]string{"of many lines": "X: y\r\n", "of one line": "y", "of spaces": " "} {
		ask, _ := scripted(t, []string{"HTTP/1.1 200 OK\r\nX: " + strings.Repeat(line, 200_000/len(line)) + "\r\n\r\n"})
		if _, _, err := ask("GET"); err == nil || !strings.Contains(err.Error(), "exceeds 65536 bytes") {
			t.Errorf("%s: %v", name, err)
		}
	}
	ask, _ := scripted(t, []string{"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 60_000) + "\r\nContent-Length: 200000\r\n\r\n" + strings.Repeat("y", 200_000)})
	if _, body, err := ask("GET"); err != nil || len(body) != 200_000 {
		t.Errorf("a head that is long enough: %d %v", len(body), err)
	}
}

func TestARequestThatIsCancelledEndsItsConnection(t *testing.T) {
	for name, text := range map[string]string{"before the response": "", "in the response": "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun"} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			asked, ended := make(chan struct{}), make(chan struct{})
			go func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				in := bufio.NewReader(conn)
				if _, err := http.ReadRequest(in); err == nil {
					fmt.Fprint(conn, text)
				}
				close(asked)
				_, _ = io.Copy(io.Discard, in)
				close(ended)
			}()
			all := backends(t, "http://"+l.Addr().String())
			transport := upstream.NewTransport(upstream.TransportOptions{ConnectTimeout: testkit.Patience, MaxIdleConns: 10}, all)
			why := errors.New("enough")
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() {
				<-asked
				cancel(why)
			}()
			res, err := transport.Direct(all[0]).Ask(ctx, request("GET"))
			if err == nil {
				_, err = io.ReadAll(res)
			}
			if !errors.Is(err, why) {
				t.Errorf("%v", err)
			}
			testkit.AtOnce(t, ended)
		})
	}
}

func TestABackendHasALimitOfRequests(t *testing.T) {
	all := backends(t, "http://a")
	upstream.NewTransport(upstream.TransportOptions{MaxConns: 1}, all)
	if !all[0].Acquire(t.Context(), 1) {
		t.Fatal("the first request has no place")
	}
	if all[0].Acquire(t.Context(), 1) {
		t.Error("the second request has a place")
	}
	all[0].Release()
	if !all[0].Acquire(t.Context(), 1) {
		t.Error("the third request has no place")
	}
}
