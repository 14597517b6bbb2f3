package command

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/site"
)

// The example of a router in docs/site.md gives the table that stands there.
func TestRoutesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/site.md")
	if err != nil {
		t.Fatal(err)
	}
	between := func(begin, end string) string {
		_, text, _ := strings.Cut(string(page), begin)
		text, _, _ = strings.Cut(text, end)
		return text
	}
	example := between("which method and path:\n\n```yaml\n", "```")
	table := between("`mount`.\n\n```\n", "```")
	t.Chdir(testkit.Tree(t, map[string]string{"site.yaml": "mounts:\n" + example, "items.psgi": "", "shop.psgi": "", "pictures/": ""}))
	if code, stdout, stderr := routes(t, "-c", "site.yaml"); code != 0 || stdout != table || table == "" {
		t.Errorf("exit code %d, %s\ngot\n%s\nwant\n%s", code, stderr, stdout, table)
	}
}

func routes(t *testing.T, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	p := process(false)
	p.Stdout, p.Stderr = &out, &errs
	code = Run(t.Context(), append([]string{"routes"}, args...), p)
	return code, out.String(), errs.String()
}

func TestRoutes(t *testing.T) {
	t.Chdir(testkit.Tree(t, map[string]string{
		"site.yaml": `
mounts:
  - {host: example.org, file: public}
  - path: /live
    router: [{path: /ws, type: websocket, name: chat, not_found: x}, {path: /events, type: sse, not_found: "a\eb"}]
`,
		"wrong.yaml": "mounts: [{router: [{path: x, redirect: /}]}]", "public/": "",
	}))
	code, stdout, stderr := routes(t, "--config=site.yaml")
	want := `METHOD     HOST         PATH          KIND       SOURCE  NAME
*          example.org  /*            file       public
websocket  *            /live/ws      not_found  x       chat
sse        *            /live/events  not_found  a\x1bb
`
	if diff := cmp.Diff(want, stdout); code != 0 || diff != "" {
		t.Errorf("exit code %d, %s %s", code, stderr, diff)
	}
	var list []site.Route
	code, stdout, stderr = routes(t, "-c", "site.yaml", "--json")
	if err := json.Unmarshal([]byte(stdout), &list); code != 0 || err != nil || len(list) != 3 || list[1].Name != "chat" || list[1].Type != "websocket" {
		t.Errorf("exit code %d, %s %v %+v", code, stderr, err, list)
	}
	for line, want := range map[string]string{"": "give -c FILE", "x": `unexpected argument "x"`, "--jsno": "unknown flag", "-c none.yaml": "none.yaml: no such file", "-c wrong.yaml": `1:27: path: "x": must begin`} {
		if code, _, stderr := routes(t, strings.Fields(line)...); code != ExitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%q: exit code %d, %q", line, code, stderr)
		}
	}
	if code, stdout, _ := routes(t, "--help"); code != 0 || !strings.Contains(stdout, "--json") {
		t.Errorf("help: %d %q", code, stdout)
	}
}
