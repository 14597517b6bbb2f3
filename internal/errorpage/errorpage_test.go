package errorpage

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

func render(t *testing.T, f Failure) string {
	t.Helper()
	page, err := Render(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

func TestRender(t *testing.T) {
	page := render(t, Failure{Status: 500, Message: "<script> & more", Stack: "at line 1\n"})
	for _, want := range []string{"<h1>500 Internal Server Error</h1>", "&lt;script&gt; &amp; more</pre>", "<h2>Stack</h2>\n<pre>at line 1</pre>"} {
		if !strings.Contains(page, want) {
			t.Errorf("%s lacks %q", page, want)
		}
	}
	page = render(t, Failure{Status: 599, Message: "x"})
	if !strings.Contains(page, "599 status 599") || strings.Contains(page, "Stack") || strings.Contains(page, "Source") || strings.Contains(page, "Request") {
		t.Errorf("without a stack: %s", page)
	}
}

func TestThePageShowsTheRequest(t *testing.T) {
	page := render(t, Failure{Status: 500, Message: "x", Scope: &pagi.Scope{
		Type: pagi.TypeHTTP, Method: "POST", Scheme: "https", HTTPVersion: "2", RootPath: "/app", Path: "/a b", RawPath: "/app/a%20b", QueryString: "q=<1>",
		Headers: pagi.NewHeaders("host", "x.example", "x-evil", "</table>"), Client: pagi.Addr{Host: "192.0.2.1"},
	}})
	for _, want := range []string{
		"<pre>POST /app/a%20b?q=&lt;1&gt;</pre>", "<th>scheme</th><td>https</td>", "<th>mounted at</th><td>/app</td>", "<th>path there</th><td>/a b</td>",
		"<th>client</th><td>192.0.2.1</td>", "<th>host</th><td>x.example</td>", "<th>x-evil</th><td>&lt;/table&gt;</td>",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%s lacks %q", page, want)
		}
	}
}

func TestThePageShowsSourceLines(t *testing.T) {
	text := ""
	for n := range 20 {
		text += fmt.Sprintf("code <%d>\n", n+1)
	}
	dir := testkit.Tree(t, map[string]string{"lib/A.pm": text, "app.psgi": text, "main.go": text, "secret.txt": text, "passwd": text})
	in := func(format string, args ...any) string {
		return strings.ReplaceAll(fmt.Sprintf(format, args...), "DIR", dir)
	}
	marked := func(n int) string { return fmt.Sprintf("<mark>code &lt;%d&gt;</mark>", n) }
	for _, tt := range []struct {
		name, message, stack string
		want                 []string
		not                  string
	}{
		{"of Perl", in("no luck at DIR/lib/A.pm line 6."), in("A::run called at DIR/app.psgi line 2\nmain called at DIR/app.psgi line 2"), []string{marked(6), marked(2), "code &lt;10&gt;"}, "code &lt;11&gt;"},
		{"of Go", "out of range", in("goroutine 1 [running]:\nmain.f(...)\n\tDIR/main.go:12 +0x1d\n"), []string{marked(12)}, "code &lt;7&gt;"},
		{"that are not there", in("x at DIR/gone.pm line 1"), in("y at DIR/lib/A.pm line 21, at (eval 5) line 3"), nil, "<h2>Source"},
		{"but not of other files", in("x at DIR/secret.txt line 1"), in("y called at DIR/passwd line 1"), nil, "<h2>Source"},
		{"but not of directories", "x", in("y called at DIR/lib line 1"), nil, "<h2>Source"},
		{"of the first places", "x", func() (s string) {
			for n := range 9 {
				s += in("f called at DIR/app.psgi line %d\n", n+1)
			}
			return s
		}(), []string{marked(5)}, marked(6)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			page := render(t, Failure{Status: 500, Message: tt.message, Stack: tt.stack})
			for _, want := range tt.want {
				if !strings.Contains(page, want) {
					t.Errorf("%s\nlacks %q", page, want)
				}
			}
			if strings.Contains(page, tt.not) {
				t.Errorf("%s\nhas %q", page, tt.not)
			}
		})
	}
	if read(filepath.Join(dir, "app.psgi"), 0) != nil {
		t.Error("there is no line 0")
	}
}
