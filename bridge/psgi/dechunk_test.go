package psgi

import (
	"errors"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
)

func TestDechunk(t *testing.T) {
	const coded = "5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n"
	for size := 1; size <= len(coded); size++ {
		var d dechunker
		got := ""
		for rest := coded; rest != ""; {
			n := min(size, len(rest))
			out, err := d.decode([]byte(rest[:n]))
			if err != nil {
				t.Fatalf("pieces of %d: %v", size, err)
			}
			got += string(out)
			rest = rest[n:]
		}
		if err := d.end(); err != nil || got != "hello world" {
			t.Errorf("pieces of %d: %q, %v", size, got, err)
		}
	}
	for name, coded := range map[string]string{
		"not chunked":     "hello\n",
		"a negative size": "-5\r\nhello\r\n",
		"a wrong size":    "4\r\nhello\r\n0\r\n\r\n",
		"cut in a chunk":  "5\r\nhel",
		"no last chunk":   "5\r\nhello",
		"something after": "0\r\n\r\nmore",
		"an endless line": string(make([]byte, maxChunkLine+1)),
	} {
		var d dechunker
		_, err := d.decode([]byte(coded))
		if err == nil {
			err = d.end()
		}
		if !errors.Is(err, errChunk) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestChunkedAnswer(t *testing.T) {
	for name, body := range map[string]string{
		"whole":    `["3\r\nabc\r\n0\r\n\r\n"]`,
		"streamed": `undef`,
	} {
		perl := `sub { [200, ['Transfer-Encoding' => 'chunked'], ` + body + `] }`
		if name == "streamed" {
			perl = `sub { sub { my $w = $_[0]->([200, ['Transfer-Encoding' => 'chunked']]); $w->write($_) for "3\r", "\nabc", "\r\n0\r\n\r\n"; $w->close } }`
		}
		r := code(t, perl).get("/")
		if r.err != nil || r.body != "abc" || !r.ended || r.headers.Has("transfer-encoding") {
			t.Errorf("%s: %+v", name, r)
		}
	}
	for _, broken := range []string{`"9\r\nabc"`, `"hello"`} {
		r := code(t, `sub { [200, ['Transfer-Encoding' => 'chunked'], [`+broken+`]] }`).get("/")
		var status *pagi.StatusError
		if !errors.Is(r.err, errChunk) || !errors.As(r.err, &status) || status.Status != 502 || r.status != 0 {
			t.Errorf("%s: %+v", broken, r)
		}
	}
	for _, headers := range []string{`'Transfer-Encoding' => 'gzip'`, `'Transfer-Encoding' => 'gzip, chunked'`, `'transfer-encoding' => 'chunked', 'Content-Length' => 3`} {
		r := code(t, `sub { [200, [`+headers+`], ["3\r\nabc\r\n0\r\n\r\n"]] }`).get("/")
		var status *pagi.StatusError
		if !errors.As(r.err, &status) || status.Status != 502 || r.status != 0 {
			t.Errorf("%s: %+v", headers, r)
		}
	}
	if r := code(t, `sub { [200, ['Transfer-Encoding' => 'identity'], ["abc"]] }`).get("/"); r.err != nil || r.body != "abc" || r.headers.Has("transfer-encoding") {
		t.Errorf("identity: %+v", r)
	}
}
