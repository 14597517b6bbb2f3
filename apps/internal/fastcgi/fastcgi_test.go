package fastcgi

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
)

// record makes a record as an application does.
func record(kind byte, content string, padding int) string {
	out := appendRecord(nil, kind, []byte(content))
	out[6] = byte(padding)
	return string(out) + strings.Repeat("p", padding)
}

const over = "\x00\x00\x00\x00\x00\x00\x00\x00"

func TestReader(t *testing.T) {
	management := record(10, "x", 3)
	management = management[:3] + "\x00" + management[4:]
	long := strings.Repeat("x", MaxContent)
	for name, tt := range map[string]struct{ text, want, stderr, err string }{
		"one record":           {record(typeStdout, "hello", 3) + record(typeEnd, over, 5), "hello", "", ""},
		"pieces":               {record(typeStdout, "hel", 0) + record(typeStderr, "oh", 6) + management + record(typeStdout, "lo", 255) + record(typeStdout, "", 8) + record(typeStderr, " no", 0) + record(typeEnd, over, 0), "hello", "oh no", ""},
		"long records":         {record(typeStdout, long, 1) + record(typeStderr, long, 2) + record(typeEnd, over, 0), long, long[:maxStderr], ""},
		"nothing":              {record(typeEnd, over, 0), "", "", ""},
		"no connection":        {"", "", "", "ended before the request"},
		"an end too early":     {record(typeStdout, "hello", 3), "hello", "", "EOF"},
		"an end in a record":   {record(typeStdout, "hello", 0)[:10], "he", "", "unexpected EOF"},
		"an end in a head":     {record(typeStdout, "hello", 0)[:5], "", "", "unexpected EOF"},
		"an end in the end":    {record(typeEnd, over, 0)[:10], "", "", "unexpected EOF"},
		"a refusal":            {record(typeEnd, "\x00\x00\x00\x00\x02\x00\x00\x00", 0), "", "", "overloaded"},
		"a short end":          {record(typeEnd, "", 0), "", "", "out of place"},
		"another protocol":     {"HTTP/1.1 200 OK\r\n\r\n", "", "", "malformed"},
		"another request":      {"\x01\x06\x00\x02\x00\x00\x00\x00", "", "", "malformed"},
		"a record of a server": {record(typeStdin, "x", 0), "", "", "out of place"},
	} {
		for kind, in := range map[string]io.Reader{"whole": strings.NewReader(tt.text), "by bytes": iotest.OneByteReader(strings.NewReader(tt.text))} {
			r := NewReader(in)
			got, err := io.ReadAll(r)
			if string(got) != tt.want || r.Stderr() != tt.stderr || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s, %s: %q %q %v", name, kind, got, r.Stderr(), err)
			}
		}
	}
}

// hesitant returns its text byte by byte, with an error of a deadline before each byte.
type hesitant struct {
	text   string
	waited bool
}

func (h *hesitant) Read(p []byte) (int, error) {
	if h.waited = !h.waited; h.waited {
		return 0, os.ErrDeadlineExceeded
	}
	if h.text == "" {
		return 0, io.EOF
	}
	n := copy(p[:1], h.text)
	h.text = h.text[n:]
	return n, nil
}

// A Read that a deadline has ended may be repeated, wherever the deadline has struck.
func TestReaderGoesOnAfterADeadline(t *testing.T) {
	management := record(10, "xy", 3)
	management = management[:3] + "\x00" + management[4:]
	r := NewReader(&hesitant{text: record(typeStdout, "hel", 3) + record(typeStderr, "oh no", 6) + management + record(typeStdout, "lo", 2) + record(typeEnd, over, 5)})
	var got []byte
	for {
		p := make([]byte, 10)
		n, err := r.Read(p)
		got = append(got, p[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("after %q: %v", got, err)
		}
	}
	if string(got) != "hello" || r.Stderr() != "oh no" || r.in.Buffered() != 0 {
		t.Errorf("%q %q, %d bytes are left", got, r.Stderr(), r.in.Buffered())
	}
}

// The error of a faulty record comes again.
func TestReaderDoesNotPassAFaultyRecord(t *testing.T) {
	for name, text := range map[string]string{
		"a record of a server": record(typeStdin, record(typeStdout, "inner", 0), 0),
		"a refusal":            record(typeEnd, "\x00\x00\x00\x00\x02\x00\x00\x00", 0) + record(typeStdout, "inner", 0),
	} {
		r := NewReader(strings.NewReader(text))
		_, first := r.Read(make([]byte, 10))
		n, second := r.Read(make([]byte, 10))
		if first == nil || second == nil || n != 0 || first.Error() != second.Error() {
			t.Errorf("%s: %v, then %d bytes and %v", name, first, n, second)
		}
	}
}

// The applications of net/http/fcgi understand the requests.
func TestAgainstNetHTTP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		_ = fcgi.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // until the listener is closed
			body, err := io.ReadAll(r.Body)
			w.Header().Set("X-Saw", r.Method+" "+r.Header.Get("X-Long")[:3]+" "+r.URL.String())
			if err == nil {
				_, _ = w.Write(body)
			}
		}))
	}()
	for _, size := range []int{0, 1, MaxContent, 200_000} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		var pairs []byte
		for name, value := range map[string]string{
			"REQUEST_METHOD": "POST", "SERVER_PROTOCOL": "HTTP/1.1", "REQUEST_URI": "/x?y", "HTTP_HOST": "x", "HTTP_X_LONG": strings.Repeat("long", 40_000), "CONTENT_LENGTH": "0",
		} {
			if name == "CONTENT_LENGTH" {
				value = strconv.Itoa(size)
			}
			pairs = AppendPair(pairs, name, value)
		}
		out := AppendParams(AppendBegin(nil), pairs)
		body := bytes.Repeat([]byte("b"), size)
		for rest := body; len(rest) > 0; {
			n := min(len(rest), MaxContent)
			piece := append(make([]byte, HeadSize), rest[:n]...)
			PutStdin(piece)
			out, rest = append(out, piece...), rest[n:]
		}
		if _, err := conn.Write(AppendStdinEnd(out)); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(NewReader(conn))
		if err != nil || !strings.Contains(string(got), "X-Saw: POST lon http://x/x?y\r\n") || !strings.HasSuffix(string(got), "\r\n\r\n"+string(body)) {
			t.Errorf("%d: %.200q %v", size, got, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte(record(typeStdout, "hello", 3) + record(typeStderr, "x", 0) + record(typeEnd, over, 5)))
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := NewReader(bytes.NewReader(text))
		got, err := io.ReadAll(r)
		if len(got)+len(r.Stderr()) > len(text) || err == nil && len(text) < 16 {
			t.Errorf("%d bytes of %d: %v", len(got), len(text), err)
		}
	})
}
