package nethttp

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

func TestAppTrailers(t *testing.T) {
	type seen struct{ Before, Middle, After http.Header }
	sum := pagi.NewHeaders("x-sum", "1", "x-sum", "2")
	for _, tt := range []struct {
		name      string
		announced string
		in        []pagi.Event
		want      seen
	}{
		{"announced", "X-Sum, host, x/y,", []pagi.Event{pagi.HTTPRequest{Body: []byte("a"), More: true}, pagi.HTTPRequest{Body: []byte("b"), Trailers: sum}},
			seen{http.Header{"X-Sum": nil}, http.Header{"X-Sum": nil}, http.Header{"X-Sum": {"1", "2"}}}},
		{"not announced", "", []pagi.Event{pagi.HTTPRequest{Body: []byte("a"), More: true}, pagi.HTTPRequest{Trailers: sum}},
			seen{nil, nil, http.Header{"X-Sum": {"1", "2"}}}},
		{"in one piece", "x-sum", []pagi.Event{pagi.HTTPRequest{Body: []byte("ab"), Trailers: sum}},
			seen{http.Header{"X-Sum": nil}, http.Header{"X-Sum": nil}, http.Header{"X-Sum": {"1", "2"}}}},
		{"that do not come", "x-sum", []pagi.Event{pagi.HTTPRequest{Body: []byte("ab")}},
			seen{http.Header{"X-Sum": nil}, http.Header{"X-Sum": nil}, http.Header{"X-Sum": nil}}},
		{"of an event stream", "", []pagi.Event{pagi.SSERequest{Body: []byte("ab"), Trailers: sum}},
			seen{nil, nil, http.Header{"X-Sum": {"1", "2"}}}},
	} {
		for name, rest := range map[string]func(r io.Reader) error{
			"read":   func(r io.Reader) error { _, err := io.ReadAll(r); return err },
			"copied": func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err },
		} {
			t.Run(tt.name+", "+name, func(t *testing.T) {
				scope := &pagi.Scope{Type: pagi.TypeHTTP, Method: "POST", Path: "/"}
				if tt.announced != "" {
					scope.Headers = pagi.NewHeaders("trailer", tt.announced)
				}
				_, err := drive(t, handle(func(w http.ResponseWriter, r *http.Request) {
					got := seen{Before: r.Trailer.Clone()}
					_, err := r.Body.Read(make([]byte, 1))
					got.Middle = r.Trailer.Clone()
					if err = errors.Join(err, rest(r.Body)); err != nil {
						t.Error(err)
					}
					got.After = r.Trailer
					if diff := cmp.Diff(tt.want, got); diff != "" {
						t.Error(diff)
					}
					if r.Header["Trailer"] != nil {
						t.Error("it stands among the headers")
					}
				}), scope, tt.in...)
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	t.Run("without a body", func(t *testing.T) {
		_, err := drive(t, handle(func(w http.ResponseWriter, r *http.Request) {
			if r.Body != http.NoBody || r.Trailer.Get("X-Sum") != "1" {
				t.Errorf("body %v, trailer %v", r.Body, r.Trailer)
			}
		}), &pagi.Scope{Type: pagi.TypeHTTP, Method: "POST", Path: "/"}, pagi.HTTPRequest{Trailers: sum})
		if err != nil {
			t.Error(err)
		}
	})
	srv := httptest.NewServer(Handler(handle(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, r.Trailer, err)
	})))
	defer srv.Close()
	c := testkit.Dial(t, srv.Listener.Addr().String())
	c.Say("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n")
	if _, body := c.Response("POST"); body != "map[X-Sum:[1]] <nil>" {
		t.Errorf("%q", body)
	}
}
