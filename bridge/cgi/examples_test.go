//go:build unix

package cgi_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/cgi"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

const site = "../../examples/20-mixed-site"

func TestExampleScriptsLookTheSame(t *testing.T) {
	server := serve(t, cgi.CGI{Root: site + "/cgi-bin"})
	for script, runtime := range map[string]string{
		"form.cgi": `Answered by Perl 5\.\d+`, "env.sh": `Answered by sh`, "upload.py": `Answered by Python 3\.\d+`,
	} {
		status, headers, body := fetch(t, testkit.NewRequest(t, "GET", server.URL+"/cgi-bin/"+script, nil))
		if status != 200 || headers.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%s: %d %v", script, status, headers)
		}
		for _, want := range []string{
			"<!DOCTYPE html>", `<link rel="stylesheet" href="/static/style.css">`, `<a href="/">`, `<a href="/guestbook/">`,
			`<a href="/cgi-bin/form.cgi"`, `<a href="/cgi-bin/env.sh"`, `<a href="/cgi-bin/upload.py"`,
			`<a href="/cgi-bin/` + script + `" aria-current="page">`, "</html>",
		} {
			if !strings.Contains(body, want) {
				t.Errorf("%s has no %s", script, want)
			}
		}
		if !regexp.MustCompile(`<footer>` + runtime + `.*</footer>`).MatchString(body) {
			t.Errorf("%s does not say what answered", script)
		}
		if strings.Contains(body, "<script") {
			t.Errorf("%s needs JavaScript", script)
		}
	}
	if _, err := os.Stat(filepath.Join(site, "static", "style.css")); err != nil {
		t.Error(err)
	}
}

func TestExampleForm(t *testing.T) {
	server := serve(t, cgi.CGI{Root: site + "/cgi-bin"})
	address := server.URL + "/cgi-bin/form.cgi"
	post := func(body, contentType string, chunked bool) (int, string) {
		t.Helper()
		req := testkit.NewRequest(t, "POST", address, strings.NewReader(body))
		req.Header.Set("Content-Type", contentType)
		if chunked {
			req.ContentLength = -1
		}
		status, _, page := fetch(t, req)
		return status, page
	}
	const form = "application/x-www-form-urlencoded"
	values := url.Values{"name": {"Zoë & <b>co</b>"}, "words": {"a+b = \"c\""}}.Encode()
	for _, chunked := range []bool{false, true} {
		status, page := post(values, form, chunked)
		if status != 200 || !strings.Contains(page, "Zoë &amp; &lt;b&gt;co&lt;/b&gt;") || !strings.Contains(page, "a+b = &quot;c&quot;") || strings.Contains(page, "<b>co") {
			t.Errorf("chunked %v: %d\n%s", chunked, status, page)
		}
	}
	status, _, page := fetch(t, testkit.NewRequest(t, "GET", address+"?q=%3Cscript%3E;empty", nil))
	if status != 200 || !strings.Contains(page, "&lt;script&gt;") || !strings.Contains(page, ">empty<") {
		t.Errorf("a query: %d\n%s", status, page)
	}
	if status, _ := post("x", "text/plain", false); status != 415 {
		t.Errorf("another type: %d", status)
	}
	if status, _ := post("x="+strings.Repeat("y", 70_000), form, false); status != 413 {
		t.Errorf("too large: %d", status)
	}
	if status, _, _ := fetch(t, testkit.NewRequest(t, "DELETE", address, nil)); status != 405 {
		t.Errorf("DELETE: %d", status)
	}
}

func TestExampleEnvironmentEscapes(t *testing.T) {
	server := serve(t, cgi.CGI{Root: site + "/cgi-bin"})
	req := testkit.NewRequest(t, "GET", server.URL+"/cgi-bin/env.sh/some/path?a=b&c=d", nil)
	req.Header.Set("User-Agent", `<img src="x"> & 'co' \n %s $HOME $(id)`)
	status, _, page := fetch(t, req)
	if status != 200 {
		t.Errorf("status %d", status)
	}
	for _, want := range []string{
		`<th scope="row">PATH_INFO</th><td class="value">/some/path</td>`,
		`<th scope="row">QUERY_STRING</th><td class="value">a=b&amp;c=d</td>`,
		`&lt;img src=&quot;x&quot;&gt; &amp; &#39;co&#39; \n %s $HOME $(id)`,
		`<th scope="row">GATEWAY_INTERFACE</th><td class="value">CGI/1.1</td>`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in\n%s", want, page)
		}
	}
}

func TestExampleUpload(t *testing.T) {
	server := serve(t, cgi.CGI{Root: site + "/cgi-bin"})
	files := map[string][]byte{
		"größe <1>.txt": []byte("hello\r\n--not-a-boundary\r\n"),
		"empty.bin":     {},
		"large.bin":     bytes.Repeat([]byte("\r\n--\x00\xff"), 1<<20),
	}
	for _, chunked := range []bool{false, true} {
		var body bytes.Buffer
		w := multipart.NewWriter(&body)
		if err := w.WriteField("comment", "not a file"); err != nil {
			t.Fatal(err)
		}
		for name, content := range files {
			part, err := w.CreateFormFile("file", name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := part.Write(content); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		req := testkit.NewRequest(t, "POST", server.URL+"/cgi-bin/upload.py", &body)
		req.Header.Set("Content-Type", w.FormDataContentType())
		if chunked {
			req.ContentLength = -1
		}
		status, _, page := fetch(t, req)
		if status != 200 || strings.Contains(page, "not a file") {
			t.Errorf("status %d\n%s", status, page)
		}
		for name, content := range files {
			row := fmt.Sprintf(`<tr><th scope="row">%s</th><td>%d</td><td class="value">%x</td></tr>`,
				strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(name), len(content), sha256.Sum256(content))
			if !strings.Contains(page, row) {
				t.Errorf("chunked %v: no %s in\n%s", chunked, row, page)
			}
		}
	}
	for name, c := range map[string]struct {
		body, contentType string
		status            int
	}{
		"not a form":        {"x", "text/plain", http.StatusUnsupportedMediaType},
		"no boundary":       {"x", "multipart/form-data", http.StatusUnsupportedMediaType},
		"broken in a part":  {"--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\nabc", "multipart/form-data; boundary=b", http.StatusBadRequest},
		"without any part":  {"hello", "multipart/form-data; boundary=b", http.StatusBadRequest},
		"a form, no files":  {"--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nabc\r\n--b--\r\n", "multipart/form-data; boundary=b", http.StatusOK},
		"headers too large": {"--b\r\nX: " + strings.Repeat("y", 100_000) + "\r\n\r\nabc\r\n--b--\r\n", "multipart/form-data; boundary=b", http.StatusBadRequest},
	} {
		req := testkit.NewRequest(t, "POST", server.URL+"/cgi-bin/upload.py", strings.NewReader(c.body))
		req.Header.Set("Content-Type", c.contentType)
		if status, _, page := fetch(t, req); status != c.status {
			t.Errorf("%s: %d, want %d\n%s", name, status, c.status, page)
		}
	}
}
