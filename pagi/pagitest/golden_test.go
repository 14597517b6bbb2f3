package pagitest_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// tester is a testing.TB that collects failures.
type tester struct {
	testing.TB
	failures []string
}

func (t *tester) Helper() {}
func (t *tester) Errorf(format string, a ...any) {
	t.failures = append(t.failures, fmt.Sprintf(format, a...))
}

func ExampleGolden() {
	t := &tester{} // in a test: func TestHome(t *testing.T)
	client := pagitest.New(pagi.AppFunc(sending(
		pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "application/json", "etag", `"5f3a"`)},
		pagi.HTTPResponseBody{Body: []byte(`{"name":"Ann","n":[1,2]}`)})))
	pagitest.Golden{}.Response(t, "example", client.Get("/"))

	text, _ := os.ReadFile("testdata/example.golden")
	fmt.Printf("%s%q\n", text, t.failures)
	// Output:
	// 200
	// content-type: application/json
	// etag: *
	//
	// {
	//   "name": "Ann",
	//   "n": [
	//     1,
	//     2
	//   ]
	// }
	// []
}

func ExampleResponse_Expect() {
	t := &tester{} // in a test: func TestHello(t *testing.T)
	client := pagitest.New(pagi.AppFunc(sending(start("x", "y"), body("Hello, Ann"))))
	client.Get("/").Expect(t, 200, "Hello", "Ann")
	client.Get("/").Expect(t, 404, "Hello", "Bob")
	fmt.Println(strings.Join(t.failures, "\n"))
	// Output:
	// got status 200, want 404; the body lacks "Bob"; error: <nil>
	// x: y
	//
	// Hello, Ann
}

func TestGoldenFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	trailed := start("content-type", "text/plain", "date", "today", "x", "1")
	trailed.Trailers = true
	events := []pagi.Event{
		pagi.HTTPResponseInformational{Status: 103, Headers: pagi.NewHeaders("link", "<a>")},
		trailed, more("one\n"), pagi.HTTPFullFlush{}, body("two"), pagi.HTTPResponseTrailers{Headers: pagi.NewHeaders("sum", "9")},
	}
	res := client(sending(events...)).Get("/")
	for name, tt := range map[string]struct {
		golden pagitest.Golden
		res    *pagitest.Response // nil: the events
		want   string
		other  string // what is no longer the same
	}{
		"a/response": {pagitest.Golden{}, res, "103\nlink: <a>\n\n200\ncontent-type: text/plain\ndate: *\nx: 1\n\none\ntwo\n\nsum: 9\n", "x: 2"},
		"chosen":     {pagitest.Golden{Headers: []string{"X", "sum"}, Volatile: []string{"X"}}, res, "103\n\n200\nx: *\n\none\ntwo\n\nsum: 9\n", ""},
		"replaced":   {pagitest.Golden{Headers: []string{}, Replace: func(s string) string { return strings.ReplaceAll(s, "two", "N") }}, res, "103\n\n200\n\none\nN\n\n", ""},
		"events": {pagitest.Golden{}, nil, `http.response.informational status=103 headers=[link: "<a>"]
http.response.start status=200 headers=[content-type: "text/plain", date: "*", x: "1"] trailers=true
http.response.body body="one\n" more=true
http.fullflush
http.response.body body="two"
http.response.trailers headers=[sum: "9"]
`, ""},
		"binary": {pagitest.Golden{}, &pagitest.Response{Status: 200, Body: []byte("\x00\xff")}, "200\n\n\"\\x00\\xff\"\n\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			compare := func() []string {
				collect := &tester{}
				if tt.res == nil {
					tt.golden.Events(collect, name, events)
				} else {
					tt.golden.Response(collect, name, tt.res)
				}
				return collect.failures
			}
			if f := compare(); len(f) != 1 || !strings.Contains(f[0], "does not exist") || !strings.Contains(f[0], tt.want) {
				t.Errorf("without a file: %q", f)
			}
			t.Setenv(pagitest.UpdateVariable, "1")
			if f := compare(); f != nil {
				t.Errorf("update: %q", f)
			}
			t.Setenv(pagitest.UpdateVariable, "")
			file := "testdata/" + name + ".golden"
			got, err := os.ReadFile(file)
			if string(got) != tt.want || err != nil {
				t.Errorf("%v\n%s\nwant\n%s", err, got, tt.want)
			}
			if f := compare(); f != nil {
				t.Errorf("unchanged: %q", f)
			}
			if err := os.WriteFile(file, []byte(strings.ReplaceAll(tt.want, "x: 1\n", "x: 2\n")+"more\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if f := compare(); len(f) != 1 || !strings.Contains(f[0], "PAGITEST_UPDATE=1") || !strings.Contains(f[0], "more") || !strings.Contains(strings.ReplaceAll(f[0], "\u00a0", " "), tt.other) {
				t.Errorf("changed: %q", f)
			}
		})
	}
	collect := &tester{}
	pagitest.Golden{}.Response(collect, "events", &pagitest.Response{Err: errors.New("boom")})
	if len(collect.failures) != 2 || !strings.Contains(collect.failures[0], "boom") {
		t.Errorf("an error: %q", collect.failures)
	}
}
