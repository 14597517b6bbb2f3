// Package docs has the pages whose tables describe the options of site files. They are embedded, so that the
// program itself can tell what a key means: in the schema for editors, and in its manual pages. Tests of package
// site compare the tables with the options that are declared.
package docs

import (
	"embed"
	"regexp"
	"strings"
	"sync"
)

//go:embed site.md middleware.md services.md isolation.md
var pages embed.FS

// Row describes a key of a site file. Its texts are Markdown without links.
type Row struct {
	// Type is what a value must be: "duration", or values in backquotes, "`auto`, `on`, `off`".
	Type string
	// Default is what counts without the key: "none", "required", "30s". A "*" in backquotes, which says that 0
	// means no limit, is left out.
	Default string
	// Meaning says what the key does. It may be empty.
	Meaning string
}

// Values returns the values that Type lists; none if Type is a word such as "text".
func (r Row) Values() []string {
	if !valueList.MatchString(r.Type) {
		return nil
	}
	var values []string
	for _, m := range quoted.FindAllStringSubmatch(r.Type, -1) {
		values = append(values, m[1])
	}
	return values
}

var (
	quoted    = regexp.MustCompile("`([^`]+)`")
	valueList = regexp.MustCompile("^`[^`]+`(?:,? (?:or )?`[^`]+`)+$")
	link      = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// Sentence returns the meaning and the default as sentences.
func (r Row) Sentence() string {
	text := upperFirst(r.Meaning)
	if text != "" && !strings.HasSuffix(text, ".") {
		text += "."
	}
	switch r.Default {
	case "", "none", "see below", "see right":
	case "required":
		text += " Required."
	default:
		text += " Default: " + strings.TrimSuffix(r.Default, ".") + "."
	}
	return strings.TrimSpace(text)
}

// upperFirst returns a text that begins with a capital letter, unless it begins with code.
func upperFirst(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// section is the text below a heading, without that of the headings below it.
type section struct {
	paragraph string // the first one
	rows      map[string]Row
}

// Names of parts of site files beside the kinds of mounts and the middleware.
const (
	Site       = ""           // the top
	Mount      = "mount"      // every mount
	Route      = "route"      // every route of a router
	Place      = "listen"     // a place to listen at
	Services   = "services"   // an item of the list
	Cron       = "cron"       // an item of the list, beside what a service has
	Isolate    = "isolate"    // the mapping
	Conditions = "conditions" // when and unless of a middleware
)

var headings = map[string]string{
	"site.md/Keys of the site": Site, "site.md/Keys of a mount": Mount, "site.md/Keys of a route": Route,
	"site.md/Places to listen at": Place, "services.md/Services": Services, "services.md/Cron": Cron,
	"isolation.md/Options": Isolate, "middleware.md/Conditions": Conditions,
}

// parts are the sections by the names of the parts that they describe.
var parts = sync.OnceValue(func() map[string]*section {
	all := map[string]*section{}
	for _, file := range []string{"site.md", "middleware.md", "services.md", "isolation.md"} {
		text, err := pages.ReadFile(file)
		if err != nil {
			panic(err) // it is embedded
		}
		read(all, file, string(text))
	}
	return all
})

// Find returns the row of a key in a part of site files: Find("psgi", "workers").
func Find(part, key string) (Row, bool) {
	if s := parts()[part]; s != nil {
		r, ok := s.rows[key]
		return r, ok
	}
	return Row{}, false
}

// Summary returns the first paragraph of the section on a part, "" if there is none.
func Summary(part string) string {
	if s := parts()[part]; s != nil {
		return s.paragraph
	}
	return ""
}

// read adds the sections of a page to all.
func read(all map[string]*section, file, text string) {
	var now *section
	var columns []string
	code, done := false, false // in a code block; the first paragraph is complete
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		title := strings.TrimLeft(line, "#")
		switch {
		case code:
			done = done || now != nil && now.paragraph != ""
		case title != line:
			now, columns, done = &section{rows: map[string]Row{}}, nil, false
			for part := range strings.SplitSeq(strings.TrimSpace(title), ", ") {
				if name, is := headings[file+"/"+strings.TrimSpace(title)]; is {
					part = name
				}
				if _, taken := all[part]; !taken {
					all[part] = now
				}
			}
		case now == nil:
		case strings.HasPrefix(line, "| "):
			done = true
			columns = now.row(columns, cells(line))
		default:
			columns = nil
			done = done || line == "" && now.paragraph != ""
			if !done {
				now.paragraph = strings.TrimSpace(now.paragraph + " " + plain(line))
			}
		}
	}
}

// row adds a row of a table. It returns the titles of the table's columns.
func (s *section) row(columns, cells []string) []string {
	if columns == nil {
		return cells
	}
	var keys, values []string
	for _, m := range quoted.FindAllStringSubmatch(cells[0], -1) {
		keys = append(keys, m[1])
	}
	var row Row
	for i, cell := range cells[1:] {
		if i+1 >= len(columns) {
			break
		}
		switch title := columns[i+1]; {
		case title == "type" || title == "value":
			row.Type = cell
		case title == "default":
			row.Default = strings.TrimSpace(strings.ReplaceAll(cell, "`*`", ""))
		case row.Meaning == "": // "meaning", "", "what it does", "a request matches"
			row.Meaning = cell
		}
	}
	values = strings.Split(row.Default, ", ")
	for i, key := range keys {
		one := row
		if len(values) == len(keys) {
			one.Default = values[i]
		}
		key, _, _ = strings.Cut(key, "=") // of an option of a place, "mode=0660"
		if _, taken := s.rows[key]; !taken {
			s.rows[key] = one
		}
	}
	return columns
}

// cells returns the cells of a table's row.
func cells(line string) []string {
	all := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), " | ")
	for i, cell := range all {
		all[i] = plain(strings.TrimSpace(cell))
	}
	return all
}

// plain returns Markdown without links.
func plain(text string) string { return link.ReplaceAllString(text, "$1") }
