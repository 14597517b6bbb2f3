package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

func TestFiles(t *testing.T) {
	const size = 300_000
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(i * 7)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "big")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(c *call) *os.File {
		f, err := os.Open(path)
		if err != nil {
			panic(err)
		}
		context.AfterFunc(c.ctx, func() { f.Close() })
		return f
	}
	for _, tt := range []struct {
		name    string
		body    func(c *call) pagi.HTTPResponseBody
		want    []byte
		chunked bool
	}{
		{"file", func(*call) pagi.HTTPResponseBody {
			return pagi.HTTPResponseBody{File: path, More: true, Length: pagi.ToEnd}
		}, content, false},
		{"file with offset", func(*call) pagi.HTTPResponseBody {
			return pagi.HTTPResponseBody{File: path, Offset: 1000, Length: pagi.ToEnd}
		}, content[1000:], false},
		{"file with offset and length", func(*call) pagi.HTTPResponseBody {
			return pagi.HTTPResponseBody{File: path, Offset: 1000, Length: 200_000}
		}, content[1000:201_000], false},
		{"small piece of a file", func(*call) pagi.HTTPResponseBody { return pagi.HTTPResponseBody{File: path, Offset: 5, Length: 10} }, content[5:15], false},
		{"file with a length of 0 sends nothing", func(*call) pagi.HTTPResponseBody { return pagi.HTTPResponseBody{File: path} }, nil, false},
		{"handle with a length of 0 sends nothing", func(c *call) pagi.HTTPResponseBody { return pagi.HTTPResponseBody{FH: open(c), Offset: 5} }, nil, false},
		{"reader with a length of 0 sends nothing", func(*call) pagi.HTTPResponseBody {
			return pagi.HTTPResponseBody{FH: io.MultiReader(bytes.NewReader(content))}
		}, nil, false},
		{"length beyond the end", func(*call) pagi.HTTPResponseBody {
			return pagi.HTTPResponseBody{File: path, Offset: size - 10, Length: 100}
		}, content[size-10:], false},
		{"offset beyond the end sends nothing", func(*call) pagi.HTTPResponseBody {
			return pagi.HTTPResponseBody{File: path, Offset: size + 1, Length: pagi.ToEnd}
		}, nil, false},
		{"handle", func(c *call) pagi.HTTPResponseBody { return pagi.HTTPResponseBody{FH: open(c), Length: pagi.ToEnd} }, content, false},
		{"handle from where it stands", func(c *call) pagi.HTTPResponseBody {
			f := open(c)
			f.Seek(50_000, io.SeekStart)
			return pagi.HTTPResponseBody{FH: f, Length: 100_000}
		}, content[50_000:150_000], false},
		{"handle with offset and length", func(c *call) pagi.HTTPResponseBody {
			return pagi.HTTPResponseBody{FH: open(c), Offset: 1000, Length: 200_000}
		}, content[1000:201_000], false},
		{"reader", func(*call) pagi.HTTPResponseBody {
			return pagi.HTTPResponseBody{FH: io.MultiReader(bytes.NewReader(content)), Length: pagi.ToEnd}
		}, content, true},
		{"reader with length", func(*call) pagi.HTTPResponseBody {
			return pagi.HTTPResponseBody{FH: io.MultiReader(bytes.NewReader(content)), Length: 70_000}
		}, content[:70_000], true},
		{"seeker that is no file", func(*call) pagi.HTTPResponseBody {
			return pagi.HTTPResponseBody{FH: bytes.NewReader(content), Offset: 7, Length: pagi.ToEnd}
		}, content[7:], true},
	} {
		for _, options := range []engine.Handler{{}, {Timeouts: engine.Timeouts{WriteTimeout: time.Minute}}} {
			t.Run(fmt.Sprintf("%s, write timeout %v", tt.name, options.WriteTimeout), func(t *testing.T) {
				x := serve(t, options, func(c *call) error {
					if err := c.start(200); err != nil {
						return err
					}
					return c.send(c.ctx, tt.body(c))
				})
				c := x.dial()
				for _, method := range []string{"GET", "HEAD", "GET"} {
					c.Say(method + " / HTTP/1.1\r\nHost: x\r\n\r\n")
					res, body := c.Response(method)
					if !tt.chunked && res.ContentLength != int64(len(tt.want)) {
						t.Errorf("%s: content-length %d, want %d", method, res.ContentLength, len(tt.want))
					}
					if method == "GET" && body != string(tt.want) {
						t.Errorf("got %d bytes, want %d", len(body), len(tt.want))
					}
					rec := x.record()
					if rec.Err != nil || rec.Reason != "" || method == "GET" && rec.Bytes != int64(len(tt.want)) {
						t.Errorf("record %+v", rec)
					}
				}
			})
		}
	}
	for _, tt := range []struct {
		name string
		ev   pagi.HTTPResponseBody
	}{
		{"file that is not there", pagi.HTTPResponseBody{File: filepath.Join(dir, "none"), Length: pagi.ToEnd}},
		{"directory", pagi.HTTPResponseBody{File: dir, Length: pagi.ToEnd}},
		{"closed handle", pagi.HTTPResponseBody{FH: func() *os.File { f, _ := os.Open(path); f.Close(); return f }(), Length: pagi.ToEnd}},
		{"reader that cannot seek", pagi.HTTPResponseBody{FH: io.MultiReader(), Offset: 1, Length: pagi.ToEnd}},
	} {
		t.Run(tt.name+" becomes 500", func(t *testing.T) {
			x := serve(t, engine.Handler{}, func(c *call) error {
				if err := c.start(200, "x-of-the-app", "1"); err != nil {
					return err
				}
				err := c.send(c.ctx, tt.ev)
				if err == nil {
					t.Error("no error")
				}
				return err
			})
			c := x.request(get)
			if res, _ := c.Response("GET"); res.StatusCode != 500 || res.Header.Get("X-Of-The-App") != "" {
				t.Errorf("response %v", res)
			}
		})
	}
}
