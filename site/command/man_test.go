package command

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/site"
)

// TestManualPages has groff format all pages with all its warnings, as lintian does by man, and looks for every flag, command and key.
func TestManualPages(t *testing.T) {
	dir := t.TempDir()
	if err := writePages(dir); err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.NewReplacer(`\-`, "-", `\fB`, "", `\fR`, "", `\fI`, "").Replace(string(text))
	}
	program := read("pagi-bridge.1")
	gatewayFlags().VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(program, "--"+f.Name) {
			t.Errorf("pagi-bridge.1 lacks --%s", f.Name)
		}
	})
	for _, name := range commandNames() {
		page := read("pagi-bridge-" + name + ".1")
		c := commands[name]()
		c.declareHelp()
		c.flags.VisitAll(func(f *pflag.Flag) {
			if !strings.Contains(page, "--"+f.Name) {
				t.Errorf("pagi-bridge-%s.1 lacks --%s", name, f.Name)
			}
		})
		if !strings.Contains(program, "pagi-bridge-"+name+"(1)") {
			t.Errorf("pagi-bridge.1 does not name %s", name)
		}
	}
	keys, g := read(sitePage+".5"), site.NewGrammar()
	for _, kind := range g.Kinds {
		for _, f := range kind.Options {
			if !strings.Contains(keys, "\n"+f.Name+" (") {
				t.Errorf("%s.5 lacks %s", sitePage, f.Name)
			}
		}
	}
	for name := range g.Middlewares {
		if !strings.Contains(keys, "\n.SS \""+name+"\"\n") {
			t.Errorf("%s.5 lacks the middleware %s", sitePage, name)
		}
	}

	groff := testkit.Tool(t, "groff", "groff-base")
	pages, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(pages) < 10 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, page := range pages {
		out, err := exec.Command(groff, "-man", "-ww", "-Tutf8", "-Kutf8", "-rLL=80n", "-z", page).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v %s", filepath.Base(page), err, out)
		}
	}
}

func TestAManualPageThatThereIsNot(t *testing.T) {
	if _, err := manPage("statsu"); err == nil || !strings.Contains(err.Error(), `did you mean "status"?`) {
		t.Errorf("got %v", err)
	}
	if err := writePages(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("pages were written into a directory that is not there")
	}
}
