package http1

import (
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func TestWhatIsAmbiguous(t *testing.T) {
	refused := make(chan Refusal, 1)
	addr := launch(t, &Server{Handler: echo, Refused: func(r *Refusal) { refused <- *r }})
	for _, tt := range []struct {
		headers   string
		status    int
		ambiguous bool
	}{
		{"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", 400, true},
		{"Content-Length: 3\r\nContent-Length: 3\r\n", 400, true},
		{"Content-Length: x\r\n", 400, false},
		{"Host: x\r\n", 400, true},
		{"A: b\r\n c\r\n", 400, true},
		{"Transfer-Encoding:\r\n", 400, true},
		{"Transfer-Encoding: identity\r\n", 400, true},
		{"Transfer-Encoding: gzip, Identity\r\n", 400, true},
		{"Transfer-Encoding: Chunked, identity\r\n", 400, true},
		{"Transfer-Encoding: chunked, gzip\r\n", 400, true},
		{"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n", 400, true},
		{"Transfer-Encoding: gzip, chunked\r\n", 501, false},
		{"Transfer-Encoding: xchunked\r\n", 501, false},
	} {
		t.Run(tt.headers, func(t *testing.T) {
			c := testkit.Dial(t, addr)
			c.Say("POST / HTTP/1.1\r\nHost: x\r\n" + tt.headers + "\r\n")
			if r := testkit.Await(t, refused); r.Status != tt.status || r.Ambiguous != tt.ambiguous {
				t.Errorf("%d, ambiguous %v: %s", r.Status, r.Ambiguous, r.Reason)
			}
		})
	}
}
