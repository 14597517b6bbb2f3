package conformance

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/site"
)

// recipe holds the requests to an application that a recipe serves.
type recipe struct {
	application string
	needs       []string // packages
	requests    []recipeRequest
}

// recipeRequest is a request and its answer. Status 0 accepts any: an application that is installed
// but not set up answers with a page that says so.
type recipeRequest struct {
	path   string
	status int
	holds  string // in the body, or in the Location of a redirect
}

var recipes = []recipe{
	{"smokeping", []string{"smokeping"}, []recipeRequest{
		{"/smokeping/smokeping.cgi", 0, "moke"},
		{"/smokeping/css/smokeping-screen.css", 200, "{"},
	}},
	{"gitweb", []string{"gitweb"}, []recipeRequest{
		{"/gitweb", 301, "gitweb/"},
		{"/gitweb/", 0, "git web interface"},
		{"/gitweb/static/gitweb.css", 200, "body"},
		{"/cgi-bin/gitweb.cgi", 0, "git web interface"},
	}},
	{"nagios4", []string{"nagios4-cgi", "php-cgi"}, []recipeRequest{
		{"/nagios4", 301, "nagios4/"},
		{"/nagios4/", 200, "Nagios"},
		{"/nagios4/stylesheets/common.css", 200, "{"},
		{"/nagios4/js/jquery-1.12.4.min.js", 200, "jQuery"},
		{"/cgi-bin/nagios4/config.cgi?type=hosts", 200, "Configuration"},
	}},
	{"backuppc", []string{"backuppc"}, []recipeRequest{
		{"/backuppc/", 200, "BackupPC"},
		{"/backuppc/image/BackupPC_stnd.css", 200, "{"},
	}},
	{"cvsweb", []string{"cvsweb"}, []recipeRequest{
		{"/cgi-bin/cvsweb/", 0, "CVSweb"},
		{"/cvsweb/css/cvsweb.css", 200, "{"},
		{"/cvsweb/icons/dir.gif", 200, "GIF"},
	}},
	{"request-tracker5", []string{"request-tracker5", "rt5-db-sqlite"}, []recipeRequest{
		{"/rt", 200, "Login"},
		{"/rt/", 200, "Login"},
		{"/rt/static/images/bpslogo.png", 200, "PNG"},
	}},
}

// TestRecipes serves each recipe of docs/recipes.md whose package is installed.
func TestRecipes(t *testing.T) {
	page, err := os.ReadFile("../../docs/recipes.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, section := range strings.Split(string(page), "\n## ")[1:] {
		name, text, _ := strings.Cut(section, "\n")
		told[name] = true
		for _, r := range recipes {
			if r.application == name {
				t.Run(name, func(t *testing.T) { r.serve(t, text) })
				delete(told, name)
			}
		}
	}
	if len(told) > 0 {
		t.Errorf("recipes without a test: %v", told)
	}
}

func (r recipe) serve(t *testing.T, text string) {
	for _, pkg := range r.needs {
		status, _ := exec.Command("dpkg-query", "-W", "-f", "${Status}", pkg).Output()
		if !strings.HasSuffix(string(status), " installed") {
			t.Skipf("the package %s is not installed (apt-get install %s)", pkg, pkg)
		}
	}
	file := filepath.Join(t.TempDir(), "site.yaml")
	mounts := "mounts:\n"
	for _, block := range regexp.MustCompile("(?s)```yaml\nmounts:\n(.*?)```").FindAllStringSubmatch(text, -1) {
		mounts += block[1]
	}
	if err := os.WriteFile(file, []byte(mounts), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := site.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	log := &testkit.Log{}
	s.Logger = log.Logger()
	app, err := s.Build()
	if err != nil {
		t.Fatal(err)
	}
	c := pagitest.New(app)
	c.Timeout = 2 * time.Minute // Request Tracker takes seconds to load
	if err := c.Startup(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	for _, q := range r.requests {
		res := c.Get(q.path)
		text := res.Text()
		if q.status == 301 {
			text = res.Header("location")
		}
		if res.Err != nil || q.status != 0 && res.Status != q.status || !strings.Contains(text, q.holds) {
			t.Errorf("%s: %d %v %.400q, want %d with %q", q.path, res.Status, res.Err, text, q.status, q.holds)
		}
	}
	if t.Failed() {
		t.Logf("the log:\n%s", log)
	}
}
