package errorpage

import (
	"strings"
	"testing"
)

func TestRender(t *testing.T) {
	page, err := Render(500, "<script> & more", "at line 1\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<h1>500 Internal Server Error</h1>", "&lt;script&gt; &amp; more</pre>", "<h2>Stack</h2>\n<pre>at line 1</pre>"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("%s lacks %q", page, want)
		}
	}
	page, err = Render(599, "x", "")
	if err != nil || !strings.Contains(string(page), "599 status 599") || strings.Contains(string(page), "Stack") {
		t.Errorf("without a stack: %s, %v", page, err)
	}
}
