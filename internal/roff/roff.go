// Package roff writes manual pages in the macros of man(7).
package roff

import (
	"fmt"
	"regexp"
	"strings"
)

// Page is a manual page that is being written.
type Page struct {
	b strings.Builder
}

// New begins a page: its name in capital letters, its section, the version of the program, and the title of the manual. The
// page has no date, so that the same program writes the same page.
func New(name string, section int, version, manual string) *Page {
	p := &Page{}
	fmt.Fprintf(&p.b, ".TH %s %d \"\" %q %q\n", escape(strings.ToUpper(name)), section, "pagi-bridge "+version, manual)
	p.b.WriteString(".nh\n.ad l\n") // long names of options are not hyphenated, and no line is stretched
	return p
}

// Section begins a section.
func (p *Page) Section(title string) { fmt.Fprintf(&p.b, ".SH %q\n", escape(strings.ToUpper(title))) }

// Subsection begins a part of a section.
func (p *Page) Subsection(title string) { fmt.Fprintf(&p.b, ".SS %q\n", escape(title)) }

// Text adds paragraphs. Empty lines are between them. Words in backquotes are bold, as Markdown has code.
func (p *Page) Text(text string) {
	for i, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			p.b.WriteString(".PP\n")
		}
		p.lines(inline(paragraph))
	}
}

// Paragraph adds paragraphs behind other text.
func (p *Page) Paragraph(text string) {
	p.b.WriteString(".PP\n")
	p.Text(text)
}

// Item adds an entry of a list: its tag, whose words in backquotes are bold and in underscores are in italics, and its text.
func (p *Page) Item(tag, text string) {
	p.b.WriteString(".TP\n")
	p.lines(inline(tag))
	if text == "" {
		text = "\\&"
		p.b.WriteString(text + "\n")
		return
	}
	p.lines(inline(text))
}

// Code adds lines as they are.
func (p *Page) Code(text string) {
	p.b.WriteString(".PP\n.nf\n.RS 4\n")
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		p.lines(escape(strings.TrimRight(line, "\n")))
	}
	p.b.WriteString(".RE\n.fi\n")
}

// String returns the page.
func (p *Page) String() string { return p.b.String() }

// lines writes text, whose lines must not be taken for requests.
func (p *Page) lines(text string) {
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimRight(line, " ")
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line
		}
		p.b.WriteString(line + "\n")
	}
}

// marked matches words in backquotes, and a placeholder such as _FILE_.
var marked = regexp.MustCompile("`[^`]*`|_[A-Z|.:]+_")

// inline escapes a text and sets what is marked in it.
func inline(text string) string {
	var b strings.Builder
	last := 0
	for _, m := range marked.FindAllStringIndex(text, -1) {
		b.WriteString(escape(text[last:m[0]]))
		font := `\fB`
		if text[m[0]] == '_' {
			font = `\fI`
		}
		b.WriteString(font + escape(text[m[0]+1:m[1]-1]) + `\fR`)
		last = m[1]
	}
	b.WriteString(escape(text[last:]))
	return strings.ReplaceAll(b.String(), "**", "")
}

var escapes = strings.NewReplacer(`\`, `\e`, "-", `\-`, "^", `\(ha`, "~", `\(ti`, "`", `\(ga`, "\u00b5", `\(mc`)

func escape(text string) string { return escapes.Replace(text) }
