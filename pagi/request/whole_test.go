package request_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

// reading makes an application that gives its Request to f, and answers with the error of f or with
// 200.
func reading(f func(r *request.Request) error) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if err := f(request.New(ctx, scope, receive)); err != nil {
			return err
		}
		if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
			return err
		}
		return send(ctx, pagi.HTTPResponseBody{})
	})
}

// post sends a body in pieces of one byte and whole, and returns the last answer.
func post(t *testing.T, f func(r *request.Request) error, contentType, body string) (res *pagitest.Response) {
	t.Helper()
	client := pagitest.New(reading(f))
	status := 0
	for _, how := range []pagitest.Option{pagitest.Body(body), pagitest.Chunks(strings.Split(body, "")...)} {
		if len(body) > 5000 && status != 0 {
			break
		}
		res = client.Post("/", how, pagitest.Header("content-type", contentType))
		if status != 0 && res.Status != status {
			t.Errorf("%d for the body in pieces, %d for the whole one", res.Status, status)
		}
		status = res.Status
	}
	return res
}

// noFiles fails the test if files are left in the directory for temporary ones, which it returns.
func noFiles(t *testing.T) (dir string) {
	dir = t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("files are left: %v, %v", left, err)
		}
	})
	return dir
}

func TestWholeBodies(t *testing.T) {
	for name, c := range map[string]struct {
		contentType, body string
		limit             int64
		want              string // of Text
		status            int
	}{
		"an empty one":                    {"text/plain", "", 0, "", 200},
		"a text":                          {"text/plain", "héllo", 0, "héllo", 200},
		"no type":                         {"", "hello", 0, "hello", 200},
		"another charset":                 {"text/plain; charset=iso-8859-1", "h\xe9llo", 0, "héllo", 200},
		"a charset nobody knows":          {"text/plain; charset=koi8-r", "hello", 0, "", 415},
		"not UTF-8":                       {"text/plain", "h\xe9llo", 0, "", 400},
		"exactly the limit":               {"text/plain", "12345", 5, "12345", 200},
		"one more":                        {"text/plain", "123456", 5, "", 413},
		"more than the default":           {"text/plain", strings.Repeat("x", 1<<20+1), 0, "", 413},
		"the default":                     {"text/plain", strings.Repeat("x", 1<<20), 0, strings.Repeat("x", 1<<20), 200},
		"more than the default, no limit": {"text/plain", strings.Repeat("x", 1<<20+1), -1, strings.Repeat("x", 1<<20+1), 200},
	} {
		t.Run(name, func(t *testing.T) {
			res := post(t, func(r *request.Request) error {
				r.Limits.Body = c.limit
				got, err := r.Text()
				if err == nil && got != c.want {
					t.Errorf("%d bytes, want %d", len(got), len(c.want))
				}
				again, second := r.Text() // and by another Request
				if err == nil && (again != got || second != nil) {
					t.Errorf("again: %v", second)
				}
				if err == nil && c.limit == 0 {
					if other, err := request.New(context.Background(), r.Scope(), nil).Text(); other != got || err != nil {
						t.Errorf("another Request: %v", err)
					}
				}
				if err != nil && (second == nil || second.Error() != err.Error()) {
					t.Errorf("first %v, then %v", err, second)
				}
				return err
			}, c.contentType, c.body)
			if res.Status != c.status {
				t.Errorf("%d, %v", res.Status, res.Err)
			}
		})
	}
}

// The application behind a middleware finds the body that the middleware has read, by a Request or by
// plain events, or is told that it cannot have it.
func TestBodiesThatAreHandedOn(t *testing.T) {
	const form, multi = "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"
	body := "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b--\r\n"
	readAll := func(ctx context.Context, _ *request.Request, receive pagi.Receive) (string, error) {
		data, err := io.ReadAll(request.BodyReader(ctx, receive))
		return string(data), err
	}
	byRequest := func(_ context.Context, r *request.Request, _ pagi.Receive) (string, error) {
		data, err := r.Bytes()
		return string(data), err
	}
	asForm := func(_ context.Context, r *request.Request, _ pagi.Receive) (string, error) {
		values, err := r.Form()
		return values.Encode(), err
	}
	asStream := func(_ context.Context, r *request.Request, _ pagi.Receive) (string, error) {
		s, err := r.BodyStream()
		if err != nil {
			return "", err
		}
		data, err := io.ReadAll(s)
		return string(data), err
	}
	nothing := func(context.Context, *request.Request, pagi.Receive) (string, error) { return "", nil }
	type way = func(context.Context, *request.Request, pagi.Receive) (string, error)
	for name, c := range map[string]struct {
		contentType, body string
		outer, inner      way
		want              string
		err               error
	}{
		"untouched, then plain events":    {form, "a=1", nothing, readAll, "a=1", nil},
		"untouched, then a Request":       {form, "a=1", nothing, byRequest, "a=1", nil},
		"bytes, then plain events":        {form, "a=1", byRequest, readAll, "a=1", nil},
		"bytes, then bytes":               {form, "a=1", byRequest, byRequest, "a=1", nil},
		"bytes, then a form":              {form, "a=1", byRequest, asForm, "a=1", nil},
		"bytes, then a multipart form":    {multi, body, byRequest, asForm, "a=1", nil},
		"a form, then bytes":              {form, "a=1", asForm, byRequest, "a=1", nil},
		"a multipart form twice":          {multi, body, asForm, asForm, "a=1", nil},
		"a multipart form, then bytes":    {multi, body, asForm, byRequest, "", request.ErrStreamed},
		"a multipart form, then events":   {multi, body, asForm, readAll, "", request.ErrStreamed},
		"a multipart form, then a stream": {multi, body, asForm, asStream, "", request.ErrBuffered},
		"bytes, then a stream":            {form, "a=1", byRequest, asStream, "", request.ErrBuffered},
		"a stream, then a stream":         {form, "a=1", asStream, asStream, "", request.ErrStreamed},
		"a stream, then bytes":            {form, "a=1", asStream, byRequest, "", request.ErrStreamed},
		"a stream, then events":           {form, "a=1", asStream, readAll, "", request.ErrStreamed},
		"a stream, then a form":           {multi, body, asStream, asForm, "", request.ErrStreamed},
		"plain events, then a Request":    {form, "a=1", readAll, byRequest, "", request.ErrBodyRead},
		"plain events, then a stream":     {form, "a=1", readAll, asStream, "", request.ErrBodyRead},
	} {
		for _, events := range []bool{false, true} {
			app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
				r := request.New(ctx, scope, receive)
				if _, err := c.outer(ctx, r, receive); err != nil {
					return err
				}
				inner := r.Scope().With("x", 1)
				got, err := c.inner(ctx, request.New(ctx, inner, r.Receive()), r.Receive())
				if got != c.want || !errors.Is(err, c.err) {
					t.Errorf("%s: %q, %v", name, got, err)
				}
				if scope.Type == pagi.TypeSSE {
					return errors.Join(send(ctx, pagi.SSEStart{}), send(ctx, pagi.SSEClose{}))
				}
				return errors.Join(send(ctx, pagi.HTTPResponseStart{Status: 200}), send(ctx, pagi.HTTPResponseBody{}))
			})
			opts := []pagitest.Option{pagitest.Body(c.body), pagitest.Header("content-type", c.contentType)}
			if events {
				opts = append(opts, pagitest.AcceptEvents())
			}
			if res := pagitest.New(app).Post("/", opts...); res.Err != nil || res.Status != 200 {
				t.Errorf("%s: %d, %v", name, res.Status, res.Err)
			}
		}
	}
}

func TestTrailersAreHandedOn(t *testing.T) {
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		r := request.New(ctx, scope, receive)
		if _, err := r.Bytes(); err != nil {
			return err
		}
		inner := request.BodyReader(ctx, r.Receive())
		if _, err := io.ReadAll(inner); err != nil {
			return err
		}
		if r.Trailers().Get("x-sum") != "42" || inner.Trailers().Get("x-sum") != "42" {
			t.Errorf("%v, %v", r.Trailers(), inner.Trailers())
		}
		return errors.Join(send(ctx, pagi.HTTPResponseStart{Status: 200}), send(ctx, pagi.HTTPResponseBody{}))
	})
	if res := pagitest.New(app).Post("/", pagitest.Chunks("a", "b"), pagitest.Header("trailer", "x-sum"), pagitest.Trailer("x-sum", "42")); res.Err != nil {
		t.Error(res.Err)
	}
}

func TestForms(t *testing.T) {
	for name, c := range map[string]struct {
		contentType, body string
		fields            int
		want              request.Values
		status            int
	}{
		"URL-encoded":               {"application/x-www-form-urlencoded; charset=utf-8", "a=1&b=2&a=%zz", 0, request.Values{{"a", "1"}, {"b", "2"}, {"a", "%zz"}}, 200},
		"nothing":                   {"", "", 0, nil, 200},
		"an empty form":             {"application/x-www-form-urlencoded", "", 0, nil, 200},
		"bytes without a type":      {"", "a=1", 0, nil, 415},
		"another type":              {"application/json", "{}", 0, nil, 415},
		"10,001 fields":             {"application/x-www-form-urlencoded", strings.Repeat("a=1&", 10_000) + "a=1", 0, nil, 413},
		"as many fields as allowed": {"application/x-www-form-urlencoded", "a&b", 2, request.Values{{"a", ""}, {"b", ""}}, 200},
		"one more":                  {"application/x-www-form-urlencoded", "a&b&c", 2, nil, 413},
	} {
		res := post(t, func(r *request.Request) error {
			r.Limits.Fields = c.fields
			got, err := r.Form()
			if err == nil && !slices.Equal(got, c.want) {
				t.Errorf("%s: %q", name, got)
			}
			return err
		}, c.contentType, c.body)
		if res.Status != c.status {
			t.Errorf("%s: %d, %v", name, res.Status, res.Err)
		}
	}
	res := post(t, func(r *request.Request) error {
		var v struct {
			N int `form:"n,required"`
		}
		return r.DecodeForm(&v)
	}, "application/x-www-form-urlencoded", "n=x")
	if res.Status != 422 {
		t.Errorf("a wrong field: %d", res.Status)
	}
}

func TestJSONBodies(t *testing.T) {
	type inner struct {
		Zip int `json:"zip"`
	}
	type order struct {
		Name    string   `json:"name"`
		Address inner    `json:"address"`
		Tags    []string `json:"tags"`
	}
	for name, c := range map[string]struct {
		contentType, body string
		strict            bool
		status            int
		problem           string
		line, column      int
	}{
		"a value":                 {"application/json", ` {"name": "Ann", "address": {"zip": 7}, "more": 1} `, false, 200, "", 0, 0},
		"a type that ends in it":  {"application/merge-patch+json; charset=utf-8", `{}`, false, 200, "", 0, 0},
		"another type":            {"text/plain", `{}`, false, 415, "must be JSON", 0, 0},
		"nothing":                 {"application/json", " \n", false, 400, "the body is empty", 0, 0},
		"an unknown member":       {"application/json", `{"more": 1}`, true, 400, "more is not known", 0, 0},
		"a syntax error":          {"application/json", "{\n  \"name\": Ann\n}", false, 400, "line 2, column 11: invalid character 'A'", 2, 11},
		"an early end":            {"application/json", `{"name": "Ann"`, false, 400, "ends too early", 1, 15},
		"a second value":          {"application/json", `{} {}`, false, 400, "something follows", 1, 4},
		"something behind it":     {"application/json", `{} x`, false, 400, "something follows", 1, 4},
		"a value of another kind": {"application/json", "{\"address\":\n{\"zip\": \"é7\"}}", false, 400, "address.zip cannot be a string", 2, 12},
		"a fraction":              {"application/json", `{"address": {"zip": 1.5}}`, false, 400, "address.zip cannot be a number", 1, 23},
		"an object for a list":    {"application/json", `{"tags": {}}`, false, 400, "tags cannot be an object", 1, 10},
		"not UTF-8":               {"application/json", "{\"name\": \"\xff\"}", false, 400, "not UTF-8", 1, 11},
		"depth 100,000":           {"application/json", strings.Repeat("[", 100_000), false, 400, "nested 200 deep", 1, 201},
		"brackets in a string":    {"application/json", `{"name": "` + strings.Repeat(`[\"`, 300) + `"}`, false, 200, "", 0, 0},
		"too large":               {"application/json", `"` + strings.Repeat("x", 1<<20) + `"`, false, 413, "at most 1048576 bytes", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var failed error
			res := post(t, func(r *request.Request) error {
				var v order
				if c.strict {
					failed = r.JSONStrict(&v)
				} else {
					failed = r.JSON(&v)
				}
				return failed
			}, c.contentType, c.body)
			if res.Status != c.status || c.status != 200 && !strings.Contains(fmt.Sprint(failed), c.problem) {
				t.Errorf("%d, %v", res.Status, failed)
			}
			var wrong *request.JSONError
			if errors.As(failed, &wrong) && (wrong.Line != c.line || wrong.Column != c.column) {
				t.Errorf("line %d, column %d", wrong.Line, wrong.Column)
			}
			if c.status == 400 && !errors.Is(failed, request.ErrMalformed) {
				t.Errorf("not malformed: %v", failed)
			}
		})
	}
}

func TestAWebSocketHasNoBody(t *testing.T) {
	r := request.New(t.Context(), &pagi.Scope{Type: pagi.TypeWebSocket}, func(context.Context) (pagi.Event, error) {
		t.Error("received")
		return pagi.WebSocketConnect{}, nil
	})
	if _, err := r.Bytes(); err == nil {
		t.Error("Bytes")
	}
	if _, err := request.New(t.Context(), &pagi.Scope{Type: pagi.TypeWebSocket}, nil).BodyStream(); err == nil {
		t.Error("BodyStream")
	}
}

// A client that leaves in the middle of its body, or sends less than it has announced, makes every
// way of reading fail with ErrDisconnected, and leaves no file.
func TestClientsThatLeaveInTheMiddle(t *testing.T) {
	dir := noFiles(t)
	ways := map[string]func(*request.Request) error{
		"Bytes":     func(r *request.Request) error { _, err := r.Bytes(); return err },
		"JSON":      func(r *request.Request) error { var v any; return r.JSON(&v) },
		"Form":      func(r *request.Request) error { _, err := r.Form(); return err },
		"Multipart": func(r *request.Request) error { _, err := r.Multipart(); return err },
		"MultipartStream": func(r *request.Request) error {
			s, err := r.MultipartStream()
			for err == nil {
				var part *request.Part
				if part, err = s.Next(); err == nil && part.IsFile() {
					_, err = part.Save(dir + "/upload")
				}
			}
			return err
		},
		"BodyStream": func(r *request.Request) error {
			s, err := r.BodyStream()
			if err == nil {
				_, err = s.Save(dir + "/body")
			}
			return err
		},
	}
	multi := "--b\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\n" + strings.Repeat("x", 200_000)
	for name, read := range ways {
		contentType, body := "application/json", strings.Repeat(" ", 1000)
		switch {
		case strings.HasPrefix(name, "Multi"):
			contentType, body = "multipart/form-data; boundary=b", multi
		case name == "Form":
			contentType = "application/x-www-form-urlencoded"
		}
		ended := make(chan error, 1)
		app := reading(func(r *request.Request) error { err := read(r); ended <- err; return err })
		e := pagitest.New(app).Begin("POST", "/", pagitest.Stream(), pagitest.Header("content-type", contentType))
		if err := e.Write(body); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		e.Disconnect(pagi.ReasonClientClosed)
		e.Finish()
		if err := testkit.Await(t, ended); !errors.Is(err, request.ErrDisconnected) {
			t.Errorf("%s: %v", name, err)
		}
		srv := httptest.NewServer(nethttp.Handler(app))
		c, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", contentType, len(body)+1, body)
		c.Close()
		if err := testkit.Await(t, ended); !errors.Is(err, request.ErrDisconnected) {
			t.Errorf("%s, too short: %v", name, err)
		}
		srv.Close()
	}
}

// What a client sends behind its Content-Length is no part of the body.
func TestBodiesLongerThanAnnounced(t *testing.T) {
	got := make(chan string, 1)
	srv := httptest.NewServer(nethttp.Handler(reading(func(r *request.Request) error {
		data, err := r.Bytes()
		got <- string(data)
		return err
	})))
	defer srv.Close()
	c, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcdef")
	if body := testkit.Await(t, got); body != "abc" {
		t.Errorf("%q", body)
	}
}

func TestBodyStreams(t *testing.T) {
	dir := noFiles(t)
	text := strings.Repeat("aé€𝄞", 100)
	for name, c := range map[string]struct {
		body   string
		limit  int64
		read   func(s *request.BodyStream) (string, error)
		status int
	}{
		"by Read": {text, 0, func(s *request.BodyStream) (string, error) { b, err := io.ReadAll(s); return string(b), err }, 200},
		"by WriteTo": {text, 0, func(s *request.BodyStream) (string, error) {
			var b strings.Builder
			_, err := s.WriteTo(&b)
			return b.String(), err
		}, 200},
		"as text":                            {text, 0, readText, 200},
		"cut text":                           {"aé"[:2], 0, readText, 400},
		"not UTF-8":                          {"a\xe9b", 0, readText, 400},
		"too large":                          {"123456", 5, readText, 413},
		"the limit":                          {"12345", 5, readText, 200},
		"into a file":                        {text, 0, func(s *request.BodyStream) (string, error) { return saved(dir+"/x", s) }, 200},
		"a file that exists":                 {text, 0, func(s *request.BodyStream) (string, error) { return saved(os.DevNull, s) }, 500},
		"a file of a body that is too large": {"123456", 5, func(s *request.BodyStream) (string, error) { return saved(dir+"/x", s) }, 413},
	} {
		res := post(t, func(r *request.Request) error {
			r.Limits.Total = c.limit
			s, err := r.BodyStream()
			if err != nil {
				return err
			}
			got, err := c.read(s)
			if err == nil && got != c.body {
				t.Errorf("%s: %q", name, got)
			}
			if err == nil {
				if _, end := s.Next(); end != io.EOF {
					t.Errorf("%s: after the end: %v", name, end)
				}
			}
			return err
		}, "text/plain", c.body)
		if res.Status != c.status {
			t.Errorf("%s: %d, %v", name, res.Status, res.Err)
		}
	}
}

func readText(s *request.BodyStream) (all string, err error) {
	for {
		text, err := s.NextText()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all += text
	}
}

// saved saves a stream, reads the file and removes it.
func saved(path string, s *request.BodyStream) (string, error) {
	if _, err := s.Save(path); err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm() != 0o600 {
		return "", fmt.Errorf("mode %v", info.Mode())
	}
	data, err := os.ReadFile(path)
	return string(data), errors.Join(err, os.Remove(path))
}

// fullDisk is a sink that takes a few bytes.
type fullDisk struct{ left int }

var errFull = errors.New("disk full")

func (d *fullDisk) Write(p []byte) (int, error) {
	if len(p) > d.left {
		return d.left, errFull
	}
	d.left -= len(p)
	return len(p), nil
}

func TestASinkThatFailsEndsTheStream(t *testing.T) {
	res := post(t, func(r *request.Request) error {
		s, err := r.BodyStream()
		if err != nil {
			return err
		}
		if _, err := s.WriteTo(&fullDisk{3}); !errors.Is(err, errFull) {
			t.Errorf("%v", err)
		}
		if _, err := s.Next(); !errors.Is(err, errFull) {
			t.Errorf("then: %v", err)
		}
		return nil
	}, "text/plain", "hello, world")
	if res.Err != nil {
		t.Error(res.Err)
	}
}

// A body that announces more than the limit is not touched, and can be had with a higher limit or
// as a stream.
func TestABodyThatWasNotReadForItsLength(t *testing.T) {
	res := pagitest.New(reading(func(r *request.Request) error {
		r.Limits.Body = 3
		if _, err := r.Bytes(); !errors.Is(err, request.ErrTooLarge) {
			t.Errorf("%v", err)
		}
		r.Limits.Body = 5
		if data, err := r.Bytes(); string(data) != "12345" || err != nil {
			t.Errorf("%q, %v", data, err)
		}
		return nil
	})).Post("/", pagitest.Body("12345"))
	if res.Err != nil {
		t.Error(res.Err)
	}
}

func TestStrictForms(t *testing.T) {
	for name, c := range map[string]struct {
		contentType, body string
		status            int
	}{
		"a form":                      {"application/x-www-form-urlencoded", "a=%C3%A9", 200},
		"malformed encoding":          {"application/x-www-form-urlencoded", "a=%zz", 400},
		"not UTF-8":                   {"application/x-www-form-urlencoded", "a=%E9", 400},
		"a multipart form":            {multi, finish(field("a", "é")), 200},
		"a multipart form, not UTF-8": {multi, finish(field("a", "\xe9")), 400},
	} {
		res := post(t, func(r *request.Request) error { _, err := r.FormStrict(); return err }, c.contentType, c.body)
		if res.Status != c.status {
			t.Errorf("%s: %d, %v", name, res.Status, res.Err)
		}
	}
}

// A character that NextText keeps back comes with the next bytes, whoever reads them.
func TestTextAndBytesOfOneStream(t *testing.T) {
	res := pagitest.New(reading(func(r *request.Request) error {
		s, err := r.BodyStream()
		if err != nil {
			return err
		}
		text, err := s.NextText()
		if text != "a" || err != nil {
			t.Errorf("%q, %v", text, err)
		}
		rest, err := io.ReadAll(s)
		if string(rest) != "\xc3\xa9b" || err != nil {
			t.Errorf("%q, %v", rest, err)
		}
		return nil
	})).Post("/", pagitest.Chunks("a\xc3", "\xa9b"))
	if res.Err != nil {
		t.Error(res.Err)
	}
}
