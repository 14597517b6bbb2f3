package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

func TestHTTP2(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, bytes.Repeat([]byte("f"), 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	running := make(chan struct{}, 1)
	seen := make(chan outcome, 1)
	x := start(t, engine.Handler{Limits: engine.Limits{MaxBodySize: 10}, Timeouts: engine.Timeouts{WriteTimeout: time.Minute, BodyTimeout: time.Minute}}, func(c *call) error {
		switch c.scope.Path {
		case "/file":
			return errors.Join(c.start(200), c.send(c.ctx, pagi.HTTPResponseBody{File: path, Length: pagi.ToEnd}))
		case "/trailers":
			return errors.Join(
				c.send(c.ctx, pagi.HTTPResponseInformational{Status: 103, Headers: pagi.NewHeaders("link", "<x>")}),
				c.send(c.ctx, pagi.HTTPResponseStart{Status: 200, Trailers: true}), c.more("a"), c.body("b"),
				c.send(c.ctx, pagi.HTTPResponseTrailers{Headers: pagi.NewHeaders("x-sum", "1")}))
		case "/wait":
			o, err := observe(c, func() { running <- struct{}{} })
			seen <- o
			return err
		}
		list, err := events(c)
		if err != nil {
			return err
		}
		if _, ok := list[len(list)-1].(pagi.HTTPDisconnect); ok {
			return nil
		}
		return c.reply(fmt.Sprint(len(list)))
	}, func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() })
	client := x.srv.Client()
	do := func(t *testing.T, r *http.Request) (*http.Response, string) {
		t.Helper()
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || res.ProtoMajor != 2 {
			t.Fatalf("%v %v", res, err)
		}
		return res, string(b)
	}
	req := func(path string, body io.Reader) *http.Request {
		r, err := http.NewRequest("POST", x.url+path, body)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	t.Run("file", func(t *testing.T) {
		if res, b := do(t, req("/file", nil)); len(b) != 100_000 || res.ContentLength != 100_000 {
			t.Errorf("%v, %d bytes", res, len(b))
		}
	})
	t.Run("trailers", func(t *testing.T) {
		if res, b := do(t, req("/trailers", nil)); b != "ab" || res.Trailer.Get("X-Sum") != "1" {
			t.Errorf("%q %v", b, res.Trailer)
		}
	})
	t.Run("no body", func(t *testing.T) {
		if _, b := do(t, req("/", nil)); b != "1" {
			t.Errorf("%s events", b)
		}
	})
	t.Run("body with a length", func(t *testing.T) {
		if _, b := do(t, req("/", strings.NewReader("abc"))); b != "1" {
			t.Errorf("%s events", b)
		}
	})
	t.Run("announced body too large", func(t *testing.T) {
		if res, _ := do(t, req("/", strings.NewReader("12345678901"))); res.StatusCode != 413 {
			t.Errorf("%v", res)
		}
	})
	t.Run("body found too large", func(t *testing.T) {
		if res, _ := do(t, req("/", io.MultiReader(strings.NewReader("12345678901")))); res.StatusCode != 413 {
			t.Errorf("%v", res)
		}
	})
	t.Run("client resets the stream", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		go client.Do(req("/wait", nil).WithContext(ctx))
		testkit.Await(t, running)
		cancel()
		if o := testkit.AtOnce(t, seen); o.reason != pagi.ReasonClientClosed {
			t.Errorf("%+v", o)
		}
	})
}
