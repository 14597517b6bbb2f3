package e2e

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

const requestTracker = "/usr/share/request-tracker5/libexec/rt-server"

// TestRequestTracker serves Debian's Request Tracker 5 with the site file of docs/recipes.md and a database of its own:
// login, a ticket with an attachment, the attachment's bytes, a search, a static file.
func TestRequestTracker(t *testing.T) {
	if _, err := os.Stat(requestTracker); err != nil {
		t.Skip("Request Tracker is not installed (apt-get install request-tracker5 rt5-db-sqlite)")
	}
	setUp := testkit.Tool(t, "rt-setup-database-5", "request-tracker5")
	dir := testkit.Tree(t, map[string]string{
		"RT_SiteConfig.pm": `
			Set($rtname, 'test'); Set($Organization, 'test'); Set($WebPath, '/rt'); Set($WebBaseURL, 'http://127.0.0.1');
			Set($DatabaseType, 'SQLite'); Set($DatabaseName, $ENV{RT_TEST_DATABASE});
			Set($LogToSyslog, undef); Set($LogToSTDERR, 'warning'); Set($MailCommand, 'testfile'); Set($RestrictReferrer, 0);
			Set($MasonDataDir, $ENV{RT_TEST_DATA}); Set($MasonSessionDir, $ENV{RT_TEST_DATA}); 1;`,
		"site.yaml": `
listen: ["127.0.0.1:0"]
mounts:
  - path: /rt
    psgi: ` + requestTracker + `
    workers: 2
    preload: true
    start_timeout: 2m
  - path: /rt/static
    file: /usr/share/request-tracker5/static
`,
	})
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	environment := append(os.Environ(), "RT_SITE_CONFIG="+filepath.Join(dir, "RT_SiteConfig.pm"), "RT_SITE_CONFIG_DIR="+data,
		"RT_TEST_DATABASE="+filepath.Join(dir, "rt.sqlite"), "RT_TEST_DATA="+data)
	init := exec.Command(setUp, "--action", "init", "--skip-create")
	init.Env = environment
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := testkit.Command("", program, "-c", filepath.Join(dir, "site.yaml"))
	cmd.Env = environment
	p := testkit.Start(t, cmd)

	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	visitor := &http.Client{Jar: jar}
	send := func(method, path, kind string, body []byte) (*http.Response, string) {
		t.Helper()
		req := testkit.NewRequest(t, method, p.URL+path, bytes.NewReader(body))
		if kind != "" {
			req.Header.Set("Content-Type", kind)
		}
		return testkit.Do(t, visitor, req)
	}

	if res, body := send("GET", "/rt", "", nil); res.StatusCode != 200 || !strings.Contains(body, "<title>Login</title>") {
		t.Fatalf("the login page: %d %.300q", res.StatusCode, body)
	}
	login := url.Values{"user": {"root"}, "pass": {"password"}}.Encode()
	send("POST", "/rt/NoAuth/Login.html", "application/x-www-form-urlencoded", []byte(login))
	if res, body := send("GET", "/rt/", "", nil); res.StatusCode != 200 || !strings.Contains(body, "RT at a glance") {
		t.Fatalf("after the login: %d at %s, %.300q", res.StatusCode, res.Request.URL, body)
	}

	attachment := make([]byte, 300_000)
	for i := range attachment {
		attachment[i] = byte(i * 7 >> 3)
	}
	kind, form := ticket(t, "Grüße from a test", attachment)
	res, page := send("POST", "/rt/Ticket/Create.html", kind, form)
	if res.StatusCode != 200 || !strings.Contains(page, "Grüße from a test") {
		t.Fatalf("the new ticket: %d at %s, %.300q", res.StatusCode, res.Request.URL, page)
	}
	link := regexp.MustCompile(`/rt/Ticket/Attachment/\d+/\d+/bytes\.bin`).FindString(page)
	if link == "" {
		t.Fatalf("the ticket's page has no link to the attachment: %s", page)
	}
	if res, body := send("GET", link, "", nil); res.StatusCode != 200 || body != string(attachment) {
		t.Errorf("the attachment: %d, %d bytes, want %d", res.StatusCode, len(body), len(attachment))
	}
	if res, body := send("GET", "/rt/Search/Results.html?Query="+url.QueryEscape("Subject LIKE 'Grüße'"), "", nil); res.StatusCode != 200 || !strings.Contains(body, "Grüße from a test") {
		t.Errorf("the search: %d, %.300q", res.StatusCode, body)
	}
	if res, _ := send("GET", "/rt/static/images/bpslogo.png", "", nil); res.StatusCode != 200 || res.Header.Get("Content-Type") != "image/png" || res.Header.Get("ETag") == "" {
		t.Errorf("a static file: %d %v", res.StatusCode, res.Header)
	}
}

// ticket returns the form with which the test makes a ticket with one attachment, bytes.bin.
func ticket(t *testing.T, subject string, attachment []byte) (contentType string, form []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for name, value := range map[string]string{
		"id": "new", "Queue": "1", "Owner": "1", "Status": "new", "Subject": subject, "Content": "The first lines.",
		"ContentType": "text/plain", "Requestors": "visitor@example.org", "SubmitTicket": "Create",
	} {
		if err := w.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	part, err := w.CreateFormFile("Attach", "bytes.bin")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(attachment); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.Bytes()
}
