package arch

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	cgiTest    = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`")
	rfcSection = regexp.MustCompile(`\b[3-9](?:\.[0-9]+)+\b`)
)

// sectionsOfRFC3875 are the sections with requirements.
const sectionsOfRFC3875 = `3.1 3.2 3.3 3.4 4.1 4.1.1 4.1.2 4.1.3 4.1.4 4.1.5 4.1.6 4.1.7 4.1.8 4.1.9 4.1.10 4.1.11
	4.1.12 4.1.13 4.1.14 4.1.15 4.1.16 4.1.17 4.1.18 4.2 4.3 4.3.1 4.3.2 4.3.3 4.3.4 4.4 5.1 5.2 6.1 6.2 6.2.1 6.2.2
	6.2.3 6.2.4 6.3 6.3.1 6.3.2 6.3.3 6.3.4 6.3.5 6.4 7.1 7.2 7.3 8.1 8.2 9.1 9.2 9.3 9.4 9.5 9.6 9.7 9.8 9.9`

// Every test that docs/cgi.md names exists. Every section of RFC 3875 has a row. Every row has a
// test, except those with requirements for other systems or for scripts.
func TestCGIPageNamesWhatExists(t *testing.T) {
	page, err := os.ReadFile("../../docs/cgi.md")
	if err != nil {
		t.Fatal(err)
	}
	declared := declarations(t, "../../bridge/cgi")
	names := cgiTest.FindAllStringSubmatch(string(page), -1)
	if len(names) < 60 {
		t.Fatalf("only %d tests were found; has the page's form changed?", len(names))
	}
	for _, m := range names {
		if !declared["cgi."+m[1]] {
			t.Errorf("docs/cgi.md names %s, which does not exist", m[1])
		}
	}
	_, table, _ := strings.Cut(string(page), "## RFC 3875, section by section")
	table, _, _ = strings.Cut(table, "\n## ")
	rows := map[string]string{}
	for line := range strings.Lines(table) {
		first, rest, isRow := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		if !isRow || !strings.HasPrefix(line, "| ") {
			continue
		}
		for _, section := range rfcSection.FindAllString(first, -1) {
			rows[section] = rest
		}
	}
	for section := range strings.FieldsSeq(sectionsOfRFC3875) {
		row, there := rows[section]
		switch {
		case !there:
			t.Errorf("docs/cgi.md says nothing on section %s", section)
		case !strings.Contains(" 7.1 7.3 9.1 ", " "+section+" ") && !cgiTest.MatchString(row):
			t.Errorf("docs/cgi.md names no test for section %s", section)
		}
	}
}
