package engine_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// brokenSource yields some bytes and then an error.
type brokenSource struct{ left int }

var errBrokenSource = errors.New("the disk is on fire")

func (b *brokenSource) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errBrokenSource
	}
	n := min(len(p), b.left)
	b.left -= n
	return n, nil
}

// What is being sent can suddenly not be read on. The client sees that the response is
// not complete, on every protocol, and the log says why.
func TestSourceThatBreaks(t *testing.T) {
	const size = 16 << 20
	dir := t.TempDir()
	file := func(flags int) func(t *testing.T) io.Reader {
		return func(t *testing.T) io.Reader {
			path := filepath.Join(dir, strings.ReplaceAll(t.Name(), "/", "_"))
			if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
				t.Error(err)
			}
			f, err := os.OpenFile(path, flags, 0)
			if err != nil {
				t.Error(err)
			}
			t.Cleanup(func() { f.Close() })
			return f
		}
	}
	reader := func(left int) func(*testing.T) io.Reader {
		return func(*testing.T) io.Reader { return &brokenSource{left} }
	}
	for _, tt := range []struct {
		name   string
		source func(*testing.T) io.Reader
		length string // content-length
		shrink bool   // the file becomes shorter once its head has arrived
		log    string
	}{
		{"a handle of unknown length", reader(100_000), "", false, "on fire"},
		{"a handle of a known length", reader(100_000), "200000", false, "on fire"},
		{"a handle that has nothing", reader(0), "", false, "on fire"},
		{"a file that cannot be read", file(os.O_WRONLY), "", false, "bad file descriptor"},
		{"a file that becomes shorter", file(os.O_RDONLY), "", true, "bytes early"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onAll(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
				var source io.Reader
				x := serve(engine.Handler{}, func(c *call) error {
					var headers []string
					if tt.length != "" {
						headers = []string{"content-length", tt.length}
					}
					if err := c.start(200, headers...); err != nil {
						return err
					}
					return c.send(c.ctx, pagi.HTTPResponseBody{FH: source, Length: pagi.ToEnd})
				})
				source = tt.source(t)
				res, err := x.client().Get(x.url)
				if err == nil {
					if tt.shrink {
						if err := os.Truncate(source.(*os.File).Name(), size/2); err != nil {
							t.Error(err)
						}
					}
					var body []byte
					body, err = io.ReadAll(res.Body)
					res.Body.Close()
					if err == nil {
						t.Errorf("the client takes %d bytes for the whole response %v", len(body), res.Status)
					}
				}
				x.log.WaitFor(t, "response was given up", tt.log)
				if r := x.record(); r.Reason != pagi.ReasonServerError || r.Err == nil {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// On HTTP/1.0 only the connection's end tells a response's: it is reset.
func TestSourceThatBreaksOnHTTP10(t *testing.T) {
	x := serve(t, engine.Handler{}, func(c *call) error {
		if err := c.start(200); err != nil {
			return err
		}
		return c.send(c.ctx, pagi.HTTPResponseBody{FH: &brokenSource{100}, Length: pagi.ToEnd})
	})
	c := x.request("GET / HTTP/1.0\r\n\r\n")
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := got.ReadFrom(c.Conn); err == nil {
		t.Errorf("the connection ends in order behind %q", got.String())
	}
	x.log.WaitFor(t, "response was given up", "on fire")
}
