package request_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

// replay returns a Receive that yields events one after another and the protocol's
// disconnect for ever after.
func replay(events ...pagi.Event) pagi.Receive {
	return func(context.Context) (pagi.Event, error) {
		if len(events) == 0 {
			return pagi.HTTPDisconnect{}, nil
		}
		ev := events[0]
		events = events[1:]
		return ev, nil
	}
}

func TestBodyReader(t *testing.T) {
	chunk := func(s string, more bool) pagi.Event { return pagi.HTTPRequest{Body: []byte(s), More: more} }
	for name, c := range map[string]struct {
		events []pagi.Event
		want   string
		err    error
	}{
		"an empty body":              {[]pagi.Event{chunk("", false)}, "", nil},
		"one piece":                  {[]pagi.Event{chunk("hello", false)}, "hello", nil},
		"pieces with an empty one":   {[]pagi.Event{chunk("he", true), chunk("", true), chunk("llo", true), chunk("", false)}, "hello", nil},
		"an sse request":             {[]pagi.Event{pagi.SSERequest{Body: []byte("he"), More: true}, pagi.SSERequest{Body: []byte("llo")}}, "hello", nil},
		"a disconnect in the middle": {[]pagi.Event{chunk("he", true)}, "he", request.ErrDisconnected},
		"a disconnect at once":       {nil, "", request.ErrDisconnected},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := io.ReadAll(iotest.OneByteReader(request.BodyReader(t.Context(), replay(c.events...))))
			if string(got) != c.want || !errors.Is(err, c.err) {
				t.Errorf("Read: %q, %v; want %q, %v", got, err, c.want, c.err)
			}
			var buf bytes.Buffer
			n, err := io.Copy(&buf, request.BodyReader(t.Context(), replay(c.events...)))
			if buf.String() != c.want || int(n) != len(c.want) || !errors.Is(err, c.err) {
				t.Errorf("WriteTo: %q, %d, %v; want %q, %v", buf.String(), n, err, c.want, c.err)
			}
		})
	}
}

func TestBodyReaderKeepsItsError(t *testing.T) {
	broken := errors.New("broken")
	r := request.BodyReader(t.Context(), func(context.Context) (pagi.Event, error) { return nil, broken })
	for range 2 {
		if _, err := r.Read(make([]byte, 8)); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	}
}

// strangeWriter fails the test on an empty write and takes at most max bytes.
type strangeWriter struct {
	t   *testing.T
	max int
	err error
}

func (w strangeWriter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		w.t.Error("an empty write")
	}
	return min(len(p), w.max), w.err
}

func TestBodyReaderReportsTheWriter(t *testing.T) {
	events := []pagi.Event{pagi.HTTPRequest{More: true}, pagi.HTTPRequest{Body: []byte(strings.Repeat("x", 10))}}
	n, err := io.Copy(strangeWriter{t: t, max: 4}, request.BodyReader(t.Context(), replay(events...)))
	if n != 4 || !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a short write: %d, %v", n, err)
	}
	full := errors.New("disk full")
	if _, err := io.Copy(strangeWriter{t: t, max: 4, err: full}, request.BodyReader(t.Context(), replay(events...))); !errors.Is(err, full) {
		t.Errorf("a failing write: %v", err)
	}
}

// A reader that begins after somebody else has received the body gets an error at once, from the
// server as from the test client. It does not wait for the client to leave.
func TestBodyThatWasReadAlready(t *testing.T) {
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		for more := true; more; {
			ev, err := receive(ctx)
			if err != nil {
				return err
			}
			more = ev.(pagi.HTTPRequest).More
		}
		_, err := io.ReadAll(request.BodyReader(ctx, receive))
		if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
			return err
		}
		return send(ctx, pagi.HTTPResponseBody{Body: fmt.Append(nil, errors.Is(err, request.ErrBodyRead))})
	})
	served := httptest.NewServer(nethttp.Handler(app))
	defer served.Close()
	for name, body := range map[string]string{"empty": "", "small": "hello", "large": strings.Repeat("x", 100_000)} {
		if res := pagitest.New(app).Post("/", pagitest.Body(body)); res.Err != nil || res.Text() != "true" {
			t.Errorf("%s, test client: %q, %v", name, res.Text(), res.Err)
		}
		res, err := http.Post(served.URL, "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if string(got) != "true" || err != nil {
			t.Errorf("%s, server: %q, %v", name, got, err)
		}
	}
}
