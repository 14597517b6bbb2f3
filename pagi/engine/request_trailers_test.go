package engine_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

func TestRequestTrailers(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
	for _, tt := range []struct {
		name, headers, trailers string
		status                  int
		want                    pagi.Headers
	}{
		{"none", "", "", 200, nil},
		{"one that is announced", "Trailer: X-Sum\r\n", "X-SUM:  abc \r\n", 200, pagi.Headers{{Name: "x-sum", Value: "abc"}}},
		{"some that are not", "", "A: 1\r\nA: 2\r\nB: \t\xe9\r\n", 200, pagi.Headers{{Name: "a", Value: "1"}, {Name: "a", Value: "2"}, {Name: "b", Value: "\xe9"}}},
		{"one of an event stream", "Accept: text/event-stream\r\n", "A: 1\r\n", 200, pagi.Headers{{Name: "a", Value: "1"}}},
		{"an announced one that does not come", "Trailer: X-Sum\r\n", "", 200, nil},
		{"those that frame or route", "", "A: 1\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\nHost: y\r\nTE: z\r\nConnection: close\r\nForwarded: for=y\r\n", 200, pagi.Headers{{Name: "a", Value: "1"}}},
		{"those that authenticate or steer", "", "Authorization: x\r\nCookie: a=b\r\nIf-Match: x\r\nRange: bytes=0-1\r\nX-Forwarded-For: y\r\n", 200, nil},
		{"those of the content", "", "Content-Type: x/y\r\nContent-Encoding: gzip\r\nContent-Digest: y\r\n", 200, pagi.Headers{{Name: "content-digest", Value: "y"}}},
		{"a name that is no token", "", "A/B: 1\r\n", 400, nil},
		{"a space before the colon", "", "A : 1\r\n", 400, nil},
		{"no name", "", ": 1\r\n", 400, nil},
		{"no colon", "", "A\r\n", 400, nil},
		{"a control character", "", "A: b\x01c\r\n", 400, nil},
		{"a DEL", "", "A: b\x7f\r\n", 400, nil},
		{"as many as there may be", "", strings.Repeat("A: b\r\n", 9), 200, pagi.NewHeaders(strings.Split(strings.TrimSuffix(strings.Repeat("a,b,", 9), ","), ",")...)},
		{"too many", "", strings.Repeat("A: b\r\n", 10), 400, nil},
		{"too many that are left out", "", strings.Repeat("Host: b\r\n", 10), 400, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x := serve(t, engine.Handler{Limits: engine.Limits{MaxHeaderCount: 10}}, func(c *call) error {
				for {
					ev, err := c.receive(c.ctx)
					if e, is := ev.(pagi.SSERequest); is {
						ev = pagi.HTTPRequest(e)
					}
					e, is := ev.(pagi.HTTPRequest)
					if err != nil || !is {
						return err
					}
					if e.More {
						if len(e.Trailers) > 0 {
							t.Errorf("before the last piece: %v", e.Trailers)
						}
						continue
					}
					if diff := cmp.Diff(tt.want, e.Trailers); diff != "" {
						t.Error(diff)
					}
					if want, got := strings.Contains(tt.headers, "X-Sum"), c.scope.Headers.HasToken("trailer", "x-sum"); want != got {
						t.Errorf("headers %v", c.scope.Headers)
					}
					if c.scope.Type == pagi.TypeSSE {
						return errors.Join(c.send(c.ctx, pagi.SSEHTTPResponseStart{Status: 200}), c.send(c.ctx, pagi.SSEHTTPResponseBody{}))
					}
					return c.reply("")
				}
			})
			c := x.request(head + tt.headers + "\r\n3\r\nabc\r\n0\r\n" + tt.trailers + "\r\n")
			if res, _ := c.Response("POST"); res.StatusCode != tt.status {
				t.Errorf("%v", res)
			}
			switch rec := x.record(); {
			case tt.status == 400 && rec.Reason != pagi.ReasonProtocolError:
				t.Errorf("record %+v", rec)
			case strings.HasPrefix(tt.name, "too many"):
				x.log.WaitFor(t, "WARN", "trailers", "--max-header-count")
			}
		})
	}
}

func TestHTTP2RequestTrailers(t *testing.T) {
	x := start(t, engine.Handler{}, func(c *call) error {
		list, err := events(c)
		if err != nil {
			return err
		}
		last := list[len(list)-1].(pagi.HTTPRequest)
		return c.reply(fmt.Sprint(last.Trailers, c.scope.Headers.Get("trailer")))
	}, func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() })
	for _, length := range []int64{-1, 3} {
		r, err := http.NewRequest("POST", x.url, strings.NewReader("abc"))
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = length
		r.Trailer = http.Header{"X-Sum": {"1"}, "X-B": {"2"}}
		res, err := x.srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err := errors.Join(err, res.Body.Close()); err != nil || res.ProtoMajor != 2 || string(body) != "[{x-b 2} {x-sum 1}]x-b, x-sum" {
			t.Errorf("length %d: %v %q %v", length, res, body, err)
		}
	}
}
