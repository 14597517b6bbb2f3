package pagi

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// MaxRequestTime ends what goes on although it moves, and what waits for its client.
func TestMaxRequestTime(t *testing.T) {
	for _, tt := range []struct {
		name  string
		piece []byte
		pause time.Duration
		reads bool
		// reasons are those it may end for.
		reasons []string
	}{
		{"a response that goes on", []byte("x"), 2 * time.Millisecond, true, []string{reasonRequestTime, ReasonClientClosed}},
		{"a client that does not read", bytes.Repeat([]byte("x"), 1<<20), 0, false, []string{reasonRequestTime, ReasonWriteTimeout}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ended := make(chan error, 1)
			x := serve(t, HTTPHandler{MaxRequestTime: 100 * time.Millisecond, WriteTimeout: testkit.Patience}, func(c *call) error {
				err := c.send(c.ctx, HTTPResponseStart{Status: 200})
				for err == nil && c.ctx.Err() == nil {
					err = c.send(c.ctx, HTTPResponseBody{Body: tt.piece, More: true})
					time.Sleep(tt.pause)
				}
				ended <- errors.Join(err)
				return err
			})
			begun := time.Now()
			c := x.request("GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
			if tt.reads {
				if _, _, err := c.Try("GET"); err == nil {
					t.Error("the response is complete")
				}
			}
			if err := testkit.Await(t, ended); err != nil {
				t.Error(err)
			}
			rec := x.record()
			if took := time.Since(begun); took < 90*time.Millisecond || took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			known := false
			for _, reason := range tt.reasons {
				known = known || rec.Reason == reason
			}
			if !known {
				t.Errorf("reason %q", rec.Reason)
			}
			x.log.WaitFor(t, "level=ERROR", "request timed out", "--max-request-time", "path=/long")
		})
	}
	t.Run("a request in time", func(t *testing.T) {
		x := serve(t, HTTPHandler{MaxRequestTime: testkit.Patience}, func(c *call) error { return c.reply("fine") })
		if _, body := x.request("GET / HTTP/1.1\r\nHost: x\r\n\r\n").Response("GET"); body != "fine" {
			t.Errorf("%q", body)
		}
	})
}
