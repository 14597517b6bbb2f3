package site_test

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/server"
	"github.com/pagi-go/pagi-bridge/site"
	"github.com/pagi-go/pagi-bridge/site/command"
)

// page returns the sections of docs/site.md and docs/middleware.md by their headings. Lines in code
// blocks are not headings.
func page(t *testing.T) map[string]string {
	t.Helper()
	sections, heading, code := map[string]string{}, "", false
	var text []byte
	for _, name := range []string{"../docs/site.md", "../docs/middleware.md"} {
		more, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, bytes.Replace(more, []byte("# Middleware\n"), nil, 1)...)
	}
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

// firstColumn returns the quoted words in the first cells of a section's tables.
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

// same reports names that the page lacks (-) and names that only the page has (+).
func same(t *testing.T, where string, real, documented []string) {
	t.Helper()
	real, documented = slices.Clone(real), slices.Clone(documented)
	slices.Sort(real)
	slices.Sort(documented)
	if diff := cmp.Diff(real, documented); diff != "" {
		t.Errorf("docs/site.md, %s: what there is (-) and what is documented (+):\n%s", where, diff)
	}
}

// sectionOf returns the section of the page on each part of a site file.
func sectionOf(t *testing.T) func(part string) (heading, section string) {
	t.Helper()
	sections := page(t)
	headings := map[string]string{"": "Keys of the site", "mount": "Keys of a mount", "route": "Keys of a route"}
	for heading := range sections {
		for part := range strings.SplitSeq(heading, ", ") { // "file, directory" have the same keys
			if _, known := headings[part]; !known {
				headings[part] = heading
			}
		}
	}
	return func(part string) (heading, section string) {
		if section = sections[headings[part]]; section == "" {
			t.Errorf("docs/site.md has no section on %s", part)
		}
		return headings[part], section
	}
}

// TestEveryKeyIsDocumented compares the keys the decoder knows with the tables.
func TestEveryKeyIsDocumented(t *testing.T) {
	sectionOn := sectionOf(t)
	for part, keys := range site.DocumentedKeys() {
		heading, section := sectionOn(part)
		same(t, heading, keys, firstColumn(section))
	}
}

// row is the row of an option in a table.
type row struct{ form, value, meaning string }

// rows returns the row of each option in a section's tables. A row may list several options, with
// their defaults in the same order.
func rows(section string) map[string]row {
	all := map[string]row{}
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if len(cells) != 4 || !strings.HasPrefix(line, "| `") {
			continue
		}
		names := quoted.FindAllStringSubmatch(cells[0], -1)
		values := strings.Split(cells[2], ", ")
		for i, m := range names {
			value := cells[2]
			if len(names) == len(values) {
				value = values[i]
			}
			all[m[1]] = row{cells[1], value, strings.TrimSuffix(cells[3], "|")}
		}
	}
	return all
}

// TestEveryOptionIsDocumentedAsItIsDeclared compares form, default and former names of
// each option with its row.
func TestEveryOptionIsDocumentedAsItIsDeclared(t *testing.T) {
	sectionOn := sectionOf(t)
	defaults := 0
	for part, fields := range site.DocumentedOptions() {
		heading, section := sectionOn(part)
		table := rows(section)
		for _, f := range fields {
			r, there := table[f.Name]
			if !there {
				continue // TestEveryKeyIsDocumented reports it
			}
			if strings.Trim(r.meaning, " ") == "" && heading != "security_headers" {
				t.Errorf("docs/site.md, %s: %s has no meaning", heading, f.Name)
			}
			form := map[string]string{option.SizeForm: "size", option.DurationForm: "duration", option.NumberForm: "number"}[f.Form()]
			if form != "" && r.form != form {
				t.Errorf("docs/site.md, %s: %s is a %s, the table says %s", heading, f.Name, form, r.form)
			}
			if form == "" && (r.form == "size" || r.form == "duration") {
				t.Errorf("docs/site.md, %s: %s is no %s", heading, f.Name, r.form)
			}
			if want := f.Tag.Get("default"); want != "" {
				defaults++
				if !saysDefault(f, r.value, want) {
					t.Errorf("docs/site.md, %s: the default of %s is %s, the table says %s", heading, f.Name, want, r.value)
				}
			}
			for _, old := range f.OldNames() {
				if !strings.Contains(r.meaning, "Formerly `"+old+"`") {
					t.Errorf("docs/site.md, %s: %s does not say that it was formerly %s", heading, f.Name, old)
				}
			}
			if turnsOff := strings.Contains(r.value, "`*`"); turnsOff != (f.Tag.Get("zero") == "off") {
				t.Errorf("docs/site.md, %s: %s: a 0 turns it off: %v, the table says %s", heading, f.Name, !turnsOff, r.value)
			}
		}
	}
	if defaults < 12 {
		t.Errorf("only %d defaults were looked at", defaults)
	}
}

// saysDefault reports whether a cell contains the default, alone or at the end as in "the site's,
// 5".
func saysDefault(f option.Field, cell, want string) bool {
	read := func(text string) any {
		f.Value = reflect.New(f.Value.Type()).Elem()
		if f.Set(text) != nil {
			return nil
		}
		return f.Value.Interface()
	}
	for part := range strings.SplitSeq(cell, ", ") {
		word, _, _ := strings.Cut(strings.ReplaceAll(part, "`", ""), " ")
		if got := read(strings.TrimSuffix(word, ":")); got != nil && got == read(want) {
			return true
		}
	}
	return false
}

// TestEveryFlagIsDocumented compares the flags of --help with the table.
func TestEveryFlagIsDocumented(t *testing.T) {
	var help bytes.Buffer
	if code := command.Run(t.Context(), []string{"--help"}, command.Process{Stdout: &help, Stderr: &help}); code != 0 {
		t.Fatalf("exit code %d: %s", code, help.String())
	}
	flags := []string{"--lib"} // another name of --include
	for _, m := range regexp.MustCompile(`(?m)^ {2,6}(-\w, )?(--[\w-]+)`).FindAllStringSubmatch(help.String(), -1) {
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

// TestEveryAtomIsDocumented tries every character after a percent sign.
func TestEveryAtomIsDocumented(t *testing.T) {
	var real, documented []string
	for c := byte('!'); c <= '~'; c++ {
		if _, err := server.ParseAccessFormat("%" + string(c)); err == nil {
			real = append(real, "%"+string(c))
		}
		for _, name := range []string{"X", "ms", "us", "s", "c"} {
			atom := "%{" + name + "}" + string(c)
			if _, err := server.ParseAccessFormat(atom); err == nil && (name == "X" || c == 'T' && name != "c" || c == 'a') {
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

// TestServicesAndJobsAreDocumented compares the options of both with the tables of docs/services.md.
func TestServicesAndJobsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/services.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n## Services\n")
	services, jobs, _ := strings.Cut(rest, "\n## Cron\n")
	names := func(options any) (all []string) {
		for _, f := range option.Fields(options) {
			all = append(all, f.Name)
		}
		return all
	}
	documented := firstColumn(services)
	same(t, "services.md, Services", names(&site.ServiceOptions{}), documented)
	same(t, "services.md, Cron", names(&site.CronOptions{}), append(documented, firstColumn(jobs)...))
}
