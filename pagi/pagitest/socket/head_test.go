package socket

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// answered returns what a client reads from a server that sends text and closes.
func answered(method, text string) (events []string, err error) {
	client, srv := net.Pipe()
	go func() {
		_, _ = io.WriteString(srv, text)
		_ = srv.Close()
	}()
	w := newWire(client, method)
	defer func() { _ = w.Close() }()
	for {
		ev, err := w.Next()
		if err == io.EOF {
			return events, nil
		}
		if err != nil {
			return events, err
		}
		switch e := ev.(type) {
		case pagi.HTTPResponseBody:
			events = append(events, fmt.Sprintf("%q %t", e.Body, e.More))
		default:
			events = append(events, fmt.Sprint(e))
		}
	}
}

func TestResponsesOnTheWire(t *testing.T) {
	for name, tt := range map[string]struct {
		method, text, want string
		err                string
	}{
		"of known length":       {"GET", "HTTP/1.1 200 OK\r\nB: 1\r\na:  2 \r\ncontent-length: 2\r\n\r\nhi", `[{200 [{b 1} {a 2} {content-length 2}] false} "hi" false]`, ""},
		"chunked with trailers": {"GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx: 1\r\na: 2\r\n\r\n", `[{200 [] false} "hi" false {[{a 2} {x 1}]}]`, ""},
		"interim ones first":    {"GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 204 None\r\n\r\n", `[{103 [{link x}]} {204 [] false} "" false]`, ""},
		"to a HEAD":             {"HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", `[{200 [{content-length 9}] false} "" false]`, ""},
		"until the end":         {"GET", "HTTP/1.1 200 OK\r\n\r\nhi", `[{200 [] false} "hi" true "" false]`, ""},
		"none":                  {"GET", "", "[]", "unexpected EOF"},
		"half a head":           {"GET", "HTTP/1.1 200 OK\r\nx: ", "[]", "unexpected EOF"},
		"no status":             {"GET", "HTTP/1.1 abc\r\n\r\n", "[]", "begins with"},
		"of another protocol":   {"GET", "SSH-2.0 200 x\r\n\r\n", "[]", "begins with"},
		"a line without colon":  {"GET", "HTTP/1.1 200 OK\r\nbad\r\n\r\n", "[]", "header line"},
		"cut in the body":       {"GET", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi", `[{200 [{content-length 3}] false} "hi" true]`, "unexpected EOF"},
		"cut in a chunk":        {"GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhi", `[{200 [] false} "hi" true]`, "unexpected EOF"},
		"two lengths":           {"GET", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nhi", "[]", "Content-Length"},
	} {
		t.Run(name, func(t *testing.T) {
			events, err := answered(tt.method, tt.text)
			if got := fmt.Sprint(events); got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s, %v; want %s, %q", got, err, tt.want, tt.err)
			}
		})
	}
	if _, err := readHead(bufio.NewReader(strings.NewReader("HTTP/1.1 200 OK\r\n" + strings.Repeat("x: 1\r\n", maxHead/5)))); err == nil {
		t.Error("a head without end was read")
	}
}

func TestWaysToRun(t *testing.T) {
	t.Cleanup(func() { pagitest.DefaultVia = nil })
	var via pagitest.Carrier
	tests := func() int {
		via = nil
		if pagitest.DefaultVia != nil {
			via = pagitest.DefaultVia()
		}
		return 3
	}
	for way, want := range map[string]int{"": 3, "socket": 3, "sokcet": 2} {
		t.Setenv(Variable, way)
		if code := run(tests, way); code != want || (via != nil) != (way == "socket") && want == 3 {
			t.Errorf("%q: code %d, %v", way, code, via)
		}
	}
}
