package middleware_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func ExampleXSendfile() {
	app := answering(pagi.HTTPResponseStart{Status: 200}, pagi.HTTPResponseBody{File: "/srv/files/report 1.pdf", Length: pagi.ToEnd})
	m := middleware.XSendfile{Type: "X-Accel-Redirect", Mapping: map[string]string{"/srv/files": "/protected"}}
	res := pagitest.New(m.Wrap(app)).Get("/")
	fmt.Println(res.Header("x-accel-redirect"), len(res.Body))
	// Output: /protected/report%201.pdf 0
}

func TestXSendfile(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"a.txt": "content", "sub/ü 1.txt": "content", "line\nbreak": "content"})
	name := func(rel string) string { return filepath.Join(dir, rel) }
	open := func(rel string) *os.File {
		f, err := os.Open(name(rel))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	removed := open("a.txt")
	if err := os.Rename(name("a.txt"), name("b.txt")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name("a.txt"), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	accel := middleware.XSendfile{Type: "X-Accel-Redirect", Mapping: map[string]string{dir: "/p", name("sub") + "/": "/sub/"}}
	apache := middleware.XSendfile{Type: "X-Sendfile", Variation: "X-Sendfile-Type"}
	lighttpd := middleware.XSendfile{Type: "X-Lighttpd-Send-File"}
	start := pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-length", "7", "content-type", "text/plain")}
	for what, tc := range map[string]struct {
		m    middleware.XSendfile
		app  pagi.App
		want string // of the header; "": the file is sent
	}{
		"a file":                         {accel, answering(start, pagi.HTTPResponseBody{File: name("a.txt"), Length: pagi.ToEnd}), "/p/a.txt"},
		"to its end":                     {accel, answering(start, pagi.HTTPResponseBody{File: name("a.txt"), Length: pagi.ToEnd}), "/p/a.txt"},
		"of the longest directory":       {accel, answering(start, pagi.HTTPResponseBody{File: name("sub/ü 1.txt"), Length: pagi.ToEnd}), "/sub/%C3%BC%201.txt"},
		"an open file":                   {accel, answering(start, pagi.HTTPResponseBody{FH: open("b.txt"), Length: pagi.ToEnd}), "/p/b.txt"},
		"the first bytes of a file":      {accel, answering(pagi.HTTPResponseStart{Status: 200}, pagi.HTTPResponseBody{File: name("a.txt"), Length: 6}), ""},
		"a file of its own length":       {accel, answering(start, pagi.HTTPResponseBody{File: name("a.txt"), Length: 7}), "/p/a.txt"},
		"an open file that has its name": {accel, answering(start, pagi.HTTPResponseBody{FH: open("a.txt"), Length: pagi.ToEnd}), "/p/a.txt"},
		"an open file of another name":   {accel, answering(start, pagi.HTTPResponseBody{FH: removed, Length: pagi.ToEnd}), ""},
		"a reader without a name":        {accel, answering(start, pagi.HTTPResponseBody{FH: strings.NewReader("content"), Length: pagi.ToEnd}), ""},
		"a part of a file":               {accel, answering(pagi.HTTPResponseStart{Status: 200}, pagi.HTTPResponseBody{File: name("a.txt"), Offset: 1, Length: pagi.ToEnd}), ""},
		"another status":                 {accel, answering(pagi.HTTPResponseStart{Status: 404}, pagi.HTTPResponseBody{File: name("a.txt"), Length: pagi.ToEnd}), ""},
		"a text":                         {accel, answering(start, pagi.HTTPResponseBody{Body: []byte("content")}), ""},
		"no body at all":                 {accel, answering(pagi.HTTPResponseStart{Status: 200}), ""},
		"with Apache":                    {apache, answering(start, pagi.HTTPResponseBody{File: name("line\nbreak"), Length: pagi.ToEnd}), dir + "/line%0Abreak"},
		"with lighttpd":                  {lighttpd, answering(start, pagi.HTTPResponseBody{File: name("sub/ü 1.txt"), Length: pagi.ToEnd}), name("sub/ü 1.txt")},
		"a name that no header can have": {lighttpd, answering(start, pagi.HTTPResponseBody{File: name("line\nbreak"), Length: pagi.ToEnd}), ""},
		"a file that is in no directory": {middleware.XSendfile{Type: "X-Accel-Redirect", Mapping: map[string]string{name("sub"): "/p"}}, answering(start, pagi.HTTPResponseBody{File: name("a.txt"), Length: pagi.ToEnd}), ""},
		"a directory of a similar name":  {middleware.XSendfile{Type: "X-Accel-Redirect", Mapping: map[string]string{name("su"): "/p"}}, answering(start, pagi.HTTPResponseBody{File: name("sub/ü 1.txt"), Length: pagi.ToEnd}), ""},
	} {
		if err := tc.m.Check(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		res := pagitest.New(tc.m.Wrap(tc.app)).Get("/")
		if got := res.Header(tc.m.Type); got != tc.want || tc.want != "" && (len(res.Body) > 0 || res.Headers.Has("content-length") || res.Header("vary") != tc.m.Variation || res.Err != nil) {
			t.Errorf("%s: %q, want %q; %v %q %v", what, got, tc.want, res.Headers, res.Text(), res.Err)
		}
		if tc.want == "" && what != "no body at all" && what != "nothing of a file" && len(res.Body) < 6 {
			t.Errorf("%s: the body is %q", what, res.Text())
		}
	}
	for want, m := range map[string]middleware.XSendfile{
		`type: "X-Send" is none of X-Accel-Redirect, X-Sendfile, X-Lighttpd-Send-File`: {Type: "X-Send"},
		`mapping: belongs to X-Accel-Redirect, which needs it`:                         {Type: "x-accel-redirect"},
		`mapping: "x": "/y" must be an absolute directory and a path`:                  {Type: "x-accel-redirect", Mapping: map[string]string{"x": "/y"}},
		`variation: "a\n" must not contain control characters`:                         {Type: "x-sendfile", Variation: "a\n"},
	} {
		checkFails(t, m, want)
	}
	checkFails(t, middleware.XSendfile{Type: "x-sendfile", Mapping: map[string]string{"/x": "/y"}}, `mapping: belongs to X-Accel-Redirect, which needs it`)
}
