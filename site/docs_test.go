package site_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/server"
	"github.com/pagi-go/pagi-bridge/site"
	"github.com/pagi-go/pagi-bridge/site/command"
)

// page is docs/site.md by its headings, each with the text down to the next one.
// What stands in a code block is no heading.
func page(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../docs/site.md")
	if err != nil {
		t.Fatal(err)
	}
	sections, heading, code := map[string]string{}, "", false
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		if title := strings.TrimLeft(line, "#"); title != line && !code {
			heading = strings.TrimSpace(title)
			if _, twice := sections[heading]; twice {
				t.Errorf("two sections are called %q", heading)
			}
		}
		sections[heading] += line
	}
	return sections
}

var quoted = regexp.MustCompile("`([^`]+)`")

// firstColumn returns what is in backquotes in the first cells of a section's tables.
func firstColumn(section string) []string {
	var names []string
	for line := range strings.Lines(section) {
		if cell, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " |"); ok && strings.HasPrefix(line, "| `") {
			for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
				names = append(names, m[1])
			}
		}
	}
	return names
}

// same reports what is missing on the page (-) and what is there but not real (+).
func same(t *testing.T, where string, real, documented []string) {
	t.Helper()
	real, documented = slices.Clone(real), slices.Clone(documented)
	slices.Sort(real)
	slices.Sort(documented)
	if diff := cmp.Diff(real, documented); diff != "" {
		t.Errorf("docs/site.md, %s: what there is (-) and what is documented (+):\n%s", where, diff)
	}
}

// TestEveryKeyIsDocumented compares the keys the decoder knows with the tables.
func TestEveryKeyIsDocumented(t *testing.T) {
	sections := page(t)
	headings := map[string]string{"": "Keys of the site", "mount": "Keys of a mount"}
	for heading := range sections {
		for part := range strings.SplitSeq(heading, ", ") { // "file, directory" have the same keys
			if _, known := headings[part]; !known {
				headings[part] = heading
			}
		}
	}
	for part, keys := range site.DocumentedKeys() {
		heading, ok := headings[part]
		section, there := sections[heading]
		if !ok || !there {
			t.Errorf("docs/site.md has no section on %s", part)
			continue
		}
		same(t, heading, keys, firstColumn(section))
	}
}

// TestEveryFlagIsDocumented compares the flags of --help with the table.
func TestEveryFlagIsDocumented(t *testing.T) {
	var help bytes.Buffer
	if code := command.Run(t.Context(), []string{"--help"}, command.Process{Stdout: &help, Stderr: &help}); code != 0 {
		t.Fatalf("exit code %d: %s", code, help.String())
	}
	flags := []string{"--lib"} // another name of --include
	for _, m := range regexp.MustCompile(`(?m)^ +(-\w, )? *(--[\w-]+)`).FindAllStringSubmatch(help.String(), -1) {
		if m[1] != "" {
			flags = append(flags, strings.TrimSuffix(m[1], ", "))
		}
		flags = append(flags, m[2])
	}
	if len(flags) < 40 {
		t.Fatalf("found only %q in\n%s", flags, help.String())
	}
	var documented []string
	for _, name := range firstColumn(page(t)["Command line"]) {
		name, _, _ = strings.Cut(name, " ")
		documented = append(documented, name)
	}
	same(t, "Command line", flags, documented)
}

// TestEveryAtomIsDocumented tries what may follow a percent sign.
func TestEveryAtomIsDocumented(t *testing.T) {
	var real, documented []string
	for c := byte('!'); c <= '~'; c++ {
		if _, err := server.ParseAccessFormat("%" + string(c)); err == nil {
			real = append(real, "%"+string(c))
		}
		for _, name := range []string{"X", "ms", "us", "s"} {
			atom := "%{" + name + "}" + string(c)
			if _, err := server.ParseAccessFormat(atom); err == nil && (name == "X" || c == 'T') {
				real = append(real, atom)
			}
		}
	}
	real = append(real, "%>s", "common", "clf", "combined", "tiny", "json")
	for _, name := range firstColumn(page(t)["Access log"]) {
		if _, err := server.ParseAccessFormat(name); err != nil {
			t.Error(err)
		}
		documented = append(documented, name)
	}
	same(t, "Access log", real, documented)
}

// block returns the n-th code block of a section.
func block(t *testing.T, section string, n int) string {
	t.Helper()
	blocks := regexp.MustCompile("(?s)```\\w+\n(.*?)```").FindAllStringSubmatch(section, -1)
	if n >= len(blocks) {
		t.Fatalf("there are %d code blocks in\n%s", len(blocks), section)
	}
	return blocks[n][1]
}

func TestTheDocumentedSiteIsRight(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	dir := testkit.Tree(t, map[string]string{
		"site.yaml": block(t, page(t)["A complete example"], 0),
		"app.psgi":  "sub { [200, [], []] }", "cgi-bin/": "", "public/": "", "pub/": "",
	})
	s, err := site.Load(filepath.Join(dir, "site.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Build(); err != nil {
		t.Error(err)
	}
}

func TestTheDocumentedMistakeIsFound(t *testing.T) {
	section := page(t)["Checking a site file"]
	t.Chdir(testkit.Tree(t, map[string]string{"site.yaml": block(t, section, 0)}))
	var out, errs bytes.Buffer
	code := command.Run(t.Context(), []string{"-t", "-c", "site.yaml"}, command.Process{Stdout: &out, Stderr: &errs})
	if want := block(t, section, 1); code != command.ExitUsage || errs.String() != want || out.Len() > 0 {
		t.Errorf("exit code %d, %q, %q; want %q", code, out.String(), errs.String(), want)
	}
}
