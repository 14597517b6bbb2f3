package command

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func runImport(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	p := process(false)
	p.Stdout, p.Stderr = &out, &errs
	code = Run(t.Context(), append([]string{"import"}, args...), p)
	return code, out.String(), errs.String()
}

func TestImport(t *testing.T) {
	t.Chdir(testkit.Tree(t, map[string]string{
		"right.conf":   "Alias /a " + os.TempDir() + "\n",
		"some.conf":    "Alias /a " + os.TempDir() + "\nFilterDeclare X\n",
		"missing.conf": "Alias /a /nowhere/at/all\n",
		"wrong.conf":   "<Directory /a>\n",
		"there.yaml":   "mine",
		"README":       "Read this.\n",
	}))
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"right.conf", ExitOK, "file: " + os.TempDir(), ""},
		{"some.conf", ExitIncomplete, "file: ", "pagi-bridge: some.conf:2: FilterDeclare X: there is nothing like it in a site file\n"},
		{"missing.conf", ExitIncomplete, "file: /nowhere/at/all", "site.yaml:6:11: root: stat /nowhere/at/all"},
		{"wrong.conf", ExitUsage, "", "wrong.conf:1: <directory> is not closed"},
		{"README", ExitUsage, "", "README: cannot tell whose configuration this is; say it by --from"},
		{"none.conf", ExitUsage, "", "no such file"},
		{"--from lighttpd right.conf", ExitUsage, "", "--from lighttpd: there is no such format; there are apache htaccess nginx"},
		{"right.conf -o there.yaml", ExitFailure, "", "there.yaml: is there already"},
		{"right.conf -o new.yaml", ExitOK, "", ""},
		{"", ExitUsage, "", "name the files or the directory"},
		{"--help", ExitOK, "Exit codes: 0 all was carried over", ""},
	} {
		code, stdout, stderr := runImport(t, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) || c.stderr == "" && stderr != "" || c.stdout == "" && stdout != "" {
			t.Errorf("import %s: exit code %d, standard output %q, standard error %q", c.args, code, stdout, stderr)
		}
	}
	if text, err := os.ReadFile("there.yaml"); err != nil || string(text) != "mine" {
		t.Errorf("there.yaml: %q, %v", text, err)
	}
	var out, errs bytes.Buffer
	p := process(false)
	p.Stdout, p.Stderr = &out, &errs
	if code := Run(t.Context(), []string{"-t", "-c", "new.yaml"}, p); code != ExitOK {
		t.Errorf("-t of the written file: %d %s", code, errs.String())
	}
	entries, err := os.ReadDir(".")
	if err != nil || len(entries) != 7 {
		t.Errorf("files are left over: %v %v", entries, err)
	}
}

// The example of docs/import.md gives the site file that stands there.
func TestImportIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/import.md")
	if err != nil {
		t.Fatal(err)
	}
	block := func(language string) string {
		_, text, _ := strings.Cut(string(page), "```"+language+"\n")
		text, _, _ = strings.Cut(text, "```")
		return text
	}
	t.Chdir(testkit.Tree(t, map[string]string{"backuppc.conf": block("apache")}))
	code, stdout, stderr := runImport(t, "backuppc.conf")
	if diff := cmp.Diff(block("yaml"), stdout); code != ExitIncomplete || diff != "" {
		t.Errorf("exit code %d, %s (-documented +got)\n%s", code, stderr, diff)
	}
}
