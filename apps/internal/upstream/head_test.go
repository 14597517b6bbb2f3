package upstream

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi"
)

func TestHeadsThatAreRefused(t *testing.T) {
	for name, head := range map[string]string{
		"another protocol":                     "220 mail ESMTP\r\n",
		"another version":                      "HTTP/2.0 200 OK\r\n",
		"a version of two digits":              "HTTP/1.10 200 OK\r\n",
		"lower case":                           "http/1.1 200 OK\r\n",
		"no status":                            "HTTP/1.1\r\n",
		"a status of two digits":               "HTTP/1.1 20 OK\r\n",
		"a status with a sign":                 "HTTP/1.1 +20 OK\r\n",
		"a negative status":                    "HTTP/1.1 -20 OK\r\n",
		"a first header that is folded":        "HTTP/1.1 200 OK\r\n X: y\r\n",
		"a blank before the colon":             "HTTP/1.1 200 OK\r\nContent-Length : 3\r\n",
		"a header without a name":              "HTTP/1.1 200 OK\r\n: y\r\n",
		"a header without a colon":             "HTTP/1.1 200 OK\r\nX\r\n",
		"a carriage return before the name":    "HTTP/1.1 200 OK\r\n\rX: y\r\n",
		"two lengths":                          "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n",
		"a list of lengths":                    "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n",
		"a length with a sign":                 "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n",
		"a length of no digits":                "HTTP/1.1 200 OK\r\nContent-Length:\r\n",
		"a length in another base":             "HTTP/1.1 200 OK\r\nContent-Length: 0x3\r\n",
		"a length that is too large":           "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n",
		"another coding":                       "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n",
		"two codings":                          "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n",
		"the coding twice":                     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
		"a coding with a carriage return":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chun\rked\r\n",
		"a coding that is continued by a fold": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n , gzip\r\n",
	} {
		if r, err := parseHead(head+"\r\n", "GET"); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestFramesOfResponses(t *testing.T) {
	for _, tt := range []struct {
		name, method, head string
		body               bodyKind
		length             int64
		keep               bool
	}{
		{"a length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", lengthBody, 3, true},
		{"the same length twice", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n", lengthBody, 3, true},
		{"chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n", chunkedBody, -1, true},
		{"chunks and a length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n", chunkedBody, -1, false},
		{"chunks in HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n", chunkedBody, -1, false},
		{"neither", "GET", "HTTP/1.1 200 OK\r\n", endlessBody, -1, false},
		{"HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n", lengthBody, 3, false},
		{"the end of the connection", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: x, Close\r\n", lengthBody, 3, false},
		{"HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", noBody, 3, true},
		{"HEAD with chunks", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", noBody, -1, true},
		{"304 with a length", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n", noBody, 3, true},
		{"204", "GET", "HTTP/1.1 204 No Content\r\n", noBody, -1, true},
		{"204 with a length", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n", noBody, 3, false},
		{"204 with chunks", "GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n", noBody, -1, false},
		{"101", "GET", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n", noBody, -1, false},
		{"no reason", "GET", "HTTP/1.1 200\r\nContent-Length: 3\r\n", lengthBody, 3, true},
		{"lines without a carriage return", "GET", "HTTP/1.1 200 OK\nContent-Length: 3\n", lengthBody, 3, true},
	} {
		r, err := parseHead(tt.head+"\r\n", tt.method)
		if err != nil || r.body != tt.body || r.Length != tt.length || r.keep != tt.keep {
			t.Errorf("%s: %+v %v", tt.name, r, err)
		}
	}
}

func TestHeadersOfResponses(t *testing.T) {
	r, err := parseHead("HTTP/1.1 200 OK\r\nB: 1\r\nA:2\r\nX-Long:  a \r\n\t b\r\nB: \r\n\r\n", "GET")
	want := pagi.NewHeaders("b", "1", "a", "2", "x-long", "a b", "b", "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, r.Headers); diff != "" {
		t.Error(diff)
	}
}

// FuzzParseHead compares with net/http: what both take must have the same meaning.
func FuzzParseHead(f *testing.F) {
	for _, head := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: y\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n", "HTTP/1.0 404\r\nA:\r\n b\r\n",
		"HTTP/1.1 204 No Content\nX:y\n", "HTTP/1.1 304 x\r\nContent-Length: 3\r\n", "HTTP/1.1 200 OK\r\nConnection: close, x\r\n",
	} {
		f.Add(head, "GET")
		f.Add(head, "HEAD")
	}
	f.Fuzz(func(t *testing.T, head, method string) {
		if method != "HEAD" {
			method = "GET"
		}
		head += "\r\n\r\n"
		n := endOfHead([]byte(head), 0)
		ours, err := parseHead(head[:n], method)
		if err != nil || ours.isInterim() {
			return
		}
		theirs, err := http.ReadResponse(bufio.NewReader(strings.NewReader(head[:n])), &http.Request{Method: method})
		if err != nil {
			return
		}
		chunked := len(theirs.TransferEncoding) > 0
		if ours.Status != theirs.StatusCode || ours.body == lengthBody && ours.left != theirs.ContentLength ||
			ours.body == chunkedBody && !chunked && theirs.ProtoMinor > 0 || ours.body == endlessBody && theirs.ContentLength >= 0 {
			t.Errorf("%q: %+v, with net/http %+v", head, ours, theirs)
		}
		if ours.keep && theirs.Close {
			t.Errorf("%q: the connection is kept", head)
		}
		for _, h := range ours.Headers {
			if got := theirs.Header[http.CanonicalHeaderKey(h.Name)]; len(got) == 0 && !(h.Name == "connection" || h.Name == "content-length" || h.Name == "transfer-encoding" || h.Name == "trailer") {
				t.Errorf("%q: net/http has no %q", head, h.Name)
			}
		}
	})
}

// FuzzReadChunks compares with net/http, whatever the pieces in which the body comes.
func FuzzReadChunks(f *testing.F) {
	f.Add("5\r\nhello\r\n0\r\n\r\n", 3)
	f.Add("5;x=y\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 1)
	f.Add("5\r\nhello\r\n0\r\n bad\r\n\r\n", 7)
	f.Fuzz(func(t *testing.T, body string, size int) {
		const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		r, err := parseHead(head, "GET")
		if err != nil {
			t.Fatal(err)
		}
		r.direct, r.conn = &Direct{}, &directConn{Conn: &memory{text: body, size: max(1, size%100)}}
		r.conn.raw = r.conn.Conn
		got, err := io.ReadAll(r)
		res, theirs := http.ReadResponse(bufio.NewReader(strings.NewReader(head+body)), nil)
		if theirs != nil {
			t.Fatal(theirs)
		}
		want, theirs := io.ReadAll(res.Body)
		if err == nil && string(got) != string(want) {
			t.Errorf("%q: %q %v, with net/http %q %v", body, got, err, want, theirs)
		}
	})
}
