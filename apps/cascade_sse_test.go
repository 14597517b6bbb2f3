package apps_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

// streaming sends an event in an sse scope, and is 404 otherwise.
var streaming = pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
	if s.Type != pagi.TypeSSE {
		return &pagi.StatusError{Status: 404}
	}
	if err := send(ctx, pagi.SSEStart{}); err != nil {
		return err
	}
	return send(ctx, pagi.SSESend{Data: "event"})
})

// unaware answers http scopes: POST with its body, /file with a file, other paths with 404.
func unaware(t *testing.T, file string) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if s.Type != pagi.TypeHTTP {
			return pagi.Unsupported(s)
		}
		start, body := pagi.HTTPResponseStart{Status: 200}, pagi.HTTPResponseBody{}
		switch {
		case s.Method == "POST":
			read, err := io.ReadAll(request.BodyReader(ctx, receive))
			if err != nil {
				return err
			}
			body.Body = read
		case s.Path == "/file":
			f, err := os.Open(file)
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = f.Close() })
			body.FH, body.Offset, body.Length, body.More = f, 1, 3, true // More is ignored with a file
		case s.Path == "/name":
			body.File, body.Offset, body.Length = file, 2, pagi.ToEnd
		case s.Path == "/nothing":
			body.File = file
		default:
			start.Status = 404
		}
		if err := send(ctx, start); err != nil {
			return err
		}
		return send(ctx, body)
	})
}

func TestCascadeForAClientThatTakesEvents(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"f.txt": "content"})
	file, plain := &apps.File{Root: dir}, unaware(t, filepath.Join(dir, "f.txt"))
	reads := 0
	reading := pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if s.Type != pagi.TypeHTTP {
			return pagi.Unsupported(s)
		}
		if _, err := io.ReadAll(request.BodyReader(ctx, receive)); err != nil {
			return err
		}
		reads++
		return errors.Join(send(ctx, pagi.HTTPResponseStart{Status: 404}), send(ctx, pagi.HTTPResponseBody{}))
	})
	for _, tc := range []struct {
		name           string
		parts          []pagi.App
		method, target string
		status         int
		want           string
	}{
		{"a file before a stream", []pagi.App{file, streaming}, "GET", "/f.txt", 200, "content"},
		{"a stream behind files", []pagi.App{file, streaming}, "GET", "/events", 200, "data: event\n\n"},
		{"a stream behind an application that has none", []pagi.App{plain, streaming}, "GET", "/events", 200, "data: event\n\n"},
		{"an answer before a stream", []pagi.App{plain, streaming}, "POST", "/", 200, "sent"},
		{"an answer with a file before a stream", []pagi.App{plain, streaming}, "GET", "/file", 200, "ont"},
		{"an answer with a file's name before a stream", []pagi.App{plain, streaming}, "GET", "/name", 200, "ntent"},
		{"an answer with nothing of a file", []pagi.App{plain, streaming}, "GET", "/nothing", 200, ""},
		{"a file behind an application that reads the body", []pagi.App{reading, file}, "GET", "/f.txt", 200, "content"},
		{"an application behind one that reads the body", []pagi.App{reading, plain}, "GET", "/file", 200, "ont"},
		{"files, and an application without streams", []pagi.App{file, plain}, "POST", "/x", 200, "sent"},
		{"two applications without streams", []pagi.App{&apps.Cascade{Apps: []pagi.App{plain}}, plain}, "GET", "/file", 200, "ont"},
	} {
		c := pagitest.New(&apps.Cascade{Apps: tc.parts})
		accept := pagitest.Header("accept", "application/json, text/event-stream")
		for _, options := range [][]pagitest.Option{{accept, pagitest.Body("sent")}, {accept}} {
			if tc.method == "POST" && len(options) == 1 {
				continue
			}
			reads = 0
			if res := c.Do(tc.method, tc.target, options...); res.Err != nil || res.Status != tc.status || res.Text() != tc.want || reads > 1 {
				t.Errorf("%s: %d %q %v, after %d calls of the first application", tc.name, res.Status, res.Text(), res.Err, reads)
			}
		}
	}
}
