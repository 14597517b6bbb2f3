package apps_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func ExampleDirectory() {
	client := pagitest.New(&apps.Directory{File: apps.File{Root: "testdata/public"}})
	res := client.Get("/", pagitest.Header("accept", "application/json"))
	var entries []struct {
		Name string
		Size int
	}
	if err := res.JSON(&entries); err != nil {
		fmt.Println(err)
	}
	fmt.Println(entries)
	// Output: [{hello.txt 13}]
}

func listed(t *testing.T) (string, *pagitest.Client) {
	dir := testkit.Tree(t, map[string]string{
		"b.txt": "22", "A.txt": "333", "c.txt": "1", "zdir/": "", "Adir/x": "", ".hidden": "x", `<i>&"'.txt`: "x", "java:script": "x", "a b#?%.txt": "x",
		"out": "-> /etc", "in": "-> zdir", "dangling": "-> nowhere", `back\slash`: "x", "with/index.html": "index", "empty/": "",
	})
	for i, name := range []string{"c.txt", "b.txt", "A.txt"} {
		touch(t, filepath.Join(dir, name), day.Add(time.Duration(i)*time.Hour))
	}
	return dir, pagitest.New(&apps.Directory{File: apps.File{Root: dir}})
}

func names(t *testing.T, res *pagitest.Response) []string {
	t.Helper()
	var entries []struct{ Name string }
	if err := res.JSON(&entries); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name)
	}
	return all
}

func TestDirectorySorts(t *testing.T) {
	_, c := listed(t)
	dirs, reversed := []string{"Adir", "empty", "in", "with", "zdir"}, []string{"zdir", "with", "in", "empty", "Adir"}
	for query, want := range map[string][]string{
		"":                      append(dirs[:5:5], `<i>&"'.txt`, "a b#?%.txt", "A.txt", "b.txt", "c.txt", "java:script"),
		"sort=name&order=desc":  append(reversed[:5:5], "java:script", "c.txt", "b.txt", "A.txt", "a b#?%.txt", `<i>&"'.txt`),
		"sort=size&order=asc":   append(dirs[:5:5], `<i>&"'.txt`, "a b#?%.txt", "c.txt", "java:script", "b.txt", "A.txt"),
		"sort=nonsense&order=x": append(dirs[:5:5], `<i>&"'.txt`, "a b#?%.txt", "A.txt", "b.txt", "c.txt", "java:script"),
		"%zz":                   append(dirs[:5:5], `<i>&"'.txt`, "a b#?%.txt", "A.txt", "b.txt", "c.txt", "java:script"),
	} {
		res := c.Get("/?"+query, pagitest.Header("accept", "application/json"))
		if diff := cmp.Diff(want, names(t, res)); diff != "" || res.Err != nil {
			t.Errorf("?%s: %v %s", query, res.Err, diff)
		}
	}
	got := names(t, c.Get("/?sort=time", pagitest.Header("accept", "application/json")))
	if diff := cmp.Diff([]string{"c.txt", "b.txt", "A.txt"}, got[5:8]); diff != "" {
		t.Errorf("by time: %s", diff)
	}
}

func TestDirectoryChoosesTheForm(t *testing.T) {
	_, c := listed(t)
	for accept, want := range map[string]string{
		"":                                  "text/html; charset=utf-8",
		"*/*":                               "text/html; charset=utf-8",
		"application/json":                  "application/json",
		"text/html,application/json;q=0.9":  "text/html; charset=utf-8",
		"text/html;q=0.5, application/json": "application/json",
		"application/json;q=0":              "text/html; charset=utf-8",
		"text/html,application/xhtml+xml,*/*;q=0.8":     "text/html; charset=utf-8",
		"application/json, text/javascript, */*; q=0.1": "application/json",
	} {
		res := c.Get("/", pagitest.Header("accept", accept))
		if res.Err != nil || res.Status != 200 || res.Header("content-type") != want || res.Header("vary") != "accept" {
			t.Errorf("%q: %d %q %v", accept, res.Status, res.Header("content-type"), res.Err)
		}
	}
}

func TestDirectoryPage(t *testing.T) {
	_, c := listed(t)
	res := c.Get("/?sort=size")
	page := res.Text()
	for _, want := range []string{
		"<title>Index of /</title>",
		`href="./%3Ci%3E&amp;%22%27.txt">&lt;i&gt;&amp;&#34;&#39;.txt</a>`,
		`href="./java:script">java:script</a>`,
		`href="./a%20b%23%3F%25.txt">`,
		`<a class="dir" href="./zdir/">zdir/</a>`,
		`<span title="3 bytes">3 B</span>`,
		`<time datetime="2024-02-29T12:00:00Z">2024-02-29 12:00</time>`,
		`class="size" aria-sort="ascending"><a href="?sort=size&amp;order=desc">Size</a>`,
		`class="name"><a href="?sort=name&amp;order=asc">Name</a>`,
		"prefers-color-scheme: dark",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	for _, no := range []string{".hidden", "dangling", "slash", "/etc", ">out", "<script", `href="../"`, "ZgotmplZ", "<i>"} {
		if strings.Contains(page, no) {
			t.Errorf("the page has %s", no)
		}
	}
	if !strings.Contains(c.Get("/?sort=size&order=desc").Text(), `aria-sort="descending"><a href="?sort=size&amp;order=asc">`) {
		t.Error("a column sorted downward does not offer the other way")
	}
	// Every link of the page leads somewhere.
	for _, m := range regexp.MustCompile(`href="\./([^"]*)"`).FindAllStringSubmatch(page, -1) {
		target := "/" + strings.NewReplacer("&amp;", "&", "&#39;", "'").Replace(m[1])
		if res := c.Get(target); res.Status != 200 || res.Err != nil {
			t.Errorf("%s: %d %v", target, res.Status, res.Err)
		}
	}
}

func TestDirectoryBelowAMount(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"one/two/f": "x"})
	c := pagitest.New(&apps.URLMap{Mounts: []apps.Mount{{Path: "/files", App: &apps.Directory{File: apps.File{Root: dir}}}}})
	page := c.Get("/files/one/two/").Text()
	for _, want := range []string{"<title>Index of /files/one/two/</title>", `<a href="../../">files</a>`, `<a href="../">one</a>`, `<span class="sep">/</span>two</h1>`, `href="../">..</a>`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if page := c.Get("/files/").Text(); strings.Contains(page, `href="../"`) {
		t.Error("the mount's root links above itself")
	}
	if res := c.Get("/files/one"); res.Status != 301 || res.Header("location") != "one/" {
		t.Errorf("%d %q", res.Status, res.Header("location"))
	}
}

func TestDirectoryIsAFileOtherwise(t *testing.T) {
	dir, c := listed(t)
	if got := c.Get("/with/").Text(); got != "index" {
		t.Errorf("an index file: %q", got)
	}
	if res := c.Get("/empty/"); !strings.Contains(res.Text(), "This directory is empty.") {
		t.Error("an empty directory does not say so")
	}
	for target, status := range map[string]int{"/b.txt": 200, "/absent": 404, "/../": 403, "/.hidden": 403, "/out/": 403} {
		if res := c.Get(target); res.Status != status || res.Err != nil {
			t.Errorf("%s: %d %v", target, res.Status, res.Err)
		}
	}
	if res := c.Post("/"); res.Status != 405 {
		t.Errorf("POST: %d", res.Status)
	}
	if res := c.Head("/"); res.Err != nil || res.Status != 200 || res.Header("content-length") == "" {
		t.Errorf("HEAD: %d %v", res.Status, res.Err)
	}
	hidden := pagitest.New(&apps.Directory{File: apps.File{Root: dir, ShowHidden: true}})
	if res := hidden.Get("/"); !strings.Contains(res.Text(), ">.hidden</a>") {
		t.Error("show_hidden does not list dotfiles")
	}
	if err := (&apps.Directory{File: apps.File{Root: dir + "/absent"}}).Check(); err == nil {
		t.Error("Check accepts an absent root")
	}
}
