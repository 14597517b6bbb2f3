package engine_test

import (
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

func TestAppendSSE(t *testing.T) {
	for _, tt := range []struct {
		name  string
		event pagi.SSESend
		want  string
	}{
		{"data alone", pagi.SSESend{Data: "x"}, "data: x\n\n"},
		{"no data", pagi.SSESend{}, "data: \n\n"},
		{"all fields", pagi.SSESend{Event: "tick", ID: "7", Data: "x", Retry: 1500 * time.Millisecond}, "event: tick\nid: 7\nretry: 1500\ndata: x\n\n"},
		{"a retry of none", pagi.SSESend{Data: "x", HasRetry: true}, "retry: 0\ndata: x\n\n"},
		{"lines that end in LF", pagi.SSESend{Data: "a\nb"}, "data: a\ndata: b\n\n"},
		{"lines that end in CR", pagi.SSESend{Data: "a\rb"}, "data: a\ndata: b\n\n"},
		{"lines that end in CRLF", pagi.SSESend{Data: "a\r\nb"}, "data: a\ndata: b\n\n"},
		{"line ends of every kind", pagi.SSESend{Data: "a\n\r\n\rb\r"}, "data: a\ndata: \ndata: \ndata: b\ndata: \n\n"},
		{"a line end at the end", pagi.SSESend{Data: "a\n"}, "data: a\ndata: \n\n"},
		{"what looks like a field", pagi.SSESend{Data: "a\nid: 8"}, "data: a\ndata: id: 8\n\n"},
		{"a leading space", pagi.SSESend{Data: " a"}, "data:  a\n\n"},
	} {
		if got := string(engine.AppendSSE([]byte("."), &tt.event)); got != "."+tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	for comment, want := range map[string]string{
		"": ":\n\n", "ping": ":ping\n\n", ":ping": ":ping\n\n", " a": ": a\n\n",
		"a\nb": ":a\n:b\n\n", "a\r:b\r\nc": ":a\n:b\n:c\n\n", "a\n": ":a\n:\n\n", "\n\r": ":\n:\n:\n\n",
		"a\n\ndata: b": ":a\n:\n:data: b\n\n",
	} {
		if got := string(engine.AppendSSEComment(nil, comment)); got != want {
			t.Errorf("comment %q: %q, want %q", comment, got, want)
		}
	}
}

func TestAcceptsEvents(t *testing.T) {
	for _, tt := range []struct {
		accept []string
		want   bool
	}{
		{nil, false},
		{[]string{"text/event-stream"}, true},
		{[]string{"Text/Event-Stream"}, true},
		{[]string{"text/html, text/event-stream;q=0.1"}, true},
		{[]string{"text/html", "text/event-stream"}, true},
		{[]string{"application/json,  text/event-stream ; charset=utf-8"}, true},
		{[]string{"*/*"}, false},
		{[]string{"text/*;q=0.9, */*;q=0.8"}, false},
		{[]string{"text/event-stream;q=0"}, false},
		{[]string{"text/event-stream; q=0.000, text/html"}, false},
		{[]string{"text/event-stream-like"}, false},
		{[]string{"application/text/event-stream"}, false},
	} {
		headers := pagi.NewHeaders("host", "x")
		for _, v := range tt.accept {
			headers.Add("accept", v)
		}
		if got := engine.AcceptsEvents(headers); got != tt.want {
			t.Errorf("%q: %v", tt.accept, got)
		}
	}
}
