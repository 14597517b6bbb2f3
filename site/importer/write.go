package importer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// writer writes YAML in blocks.
type writer struct{ strings.Builder }

func (w *writer) line(indent int, format string, args ...any) {
	w.WriteString(strings.Repeat(" ", indent))
	fmt.Fprintf(w, format, args...)
	w.WriteByte('\n')
}

// comment writes a comment of one line.
func (w *writer) comment(indent int, text string) {
	w.line(indent, "# %s", strings.Join(strings.Fields(text), " "))
}

var (
	plainText = regexp.MustCompile(`^[A-Za-z/_][A-Za-z0-9/_.+@:-]*$`)
	reserved  = []string{"true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"}
)

// scalar writes a value of one line.
func scalar(v any) string {
	switch v := v.(type) {
	case raw:
		return strconv.Quote(string(v))
	case int:
		return strconv.Itoa(v)
	case bool:
		return strconv.FormatBool(v)
	case string:
		v = strings.ReplaceAll(v, "${", "$${")
		switch {
		case plainText.MatchString(v) && !strings.HasSuffix(v, ":") && !slices.Contains(reserved, strings.ToLower(v)):
			return v
		case strings.Contains(v, `\`) && !strings.ContainsFunc(v, func(r rune) bool { return r < ' ' }):
			return "'" + strings.ReplaceAll(v, "'", "''") + "'"
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(v); err != nil {
			return strconv.Quote(v)
		}
		return strings.TrimSpace(b.String())
	case []string:
		parts := make([]string, len(v))
		for i, s := range v {
			parts[i] = scalar(s)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case fields:
		parts := make([]string, len(v))
		for i, f := range v {
			parts[i] = scalar(f.name) + ": " + scalar(f.value)
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case []fields:
		parts := make([]string, len(v))
		for i, f := range v {
			parts[i] = scalar(f)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprint(v)
}

// longest is from how many bytes on a mapping or a list is written in a block.
const longest = 70

func (w *writer) field(indent int, f field) {
	line := scalar(f.name) + ": " + scalar(f.value)
	inner, isMap := f.value.(fields)
	list, isList := f.value.([]fields)
	words, isWords := f.value.([]string)
	switch {
	case isList:
		w.line(indent, "%s:", scalar(f.name))
		for _, e := range list {
			w.line(indent+2, "- %s", scalar(e))
		}
	case isMap && len(line) > longest:
		w.line(indent, "%s:", scalar(f.name))
		for _, e := range inner {
			w.field(indent+2, e)
		}
	case isWords && len(line) > longest:
		w.line(indent, "%s:", scalar(f.name))
		for _, e := range words {
			w.line(indent+2, "- %s", scalar(e))
		}
	default:
		w.line(indent, "%s", line)
	}
}

func (w *writer) layers(indent int, layers []layer) {
	if len(layers) == 0 {
		return
	}
	w.line(indent, "middleware:")
	for _, l := range layers {
		if len(l.options) == 0 {
			w.line(indent+2, "- %s", l.name)
			continue
		}
		w.line(indent+2, "- %s:", l.name)
		for _, f := range l.options {
			w.field(indent+6, f)
		}
	}
}

// mount writes a mount, or a part of a cascade, whose first line begins with a dash at indent.
func (w *writer) mount(indent int, m *mount, isPart bool) {
	var head fields
	if !isPart {
		switch {
		case len(m.also) > 0:
			head = append(head, field{"host", append([]string{m.host}, m.also...)})
		case m.host != "":
			head = append(head, field{"host", m.host})
		}
		head = append(head, field{"path", m.path})
	}
	options := m.options
	if m.kind != "cascade" && m.source != "" {
		head = append(head, field{m.kind, m.source})
	}
	var b writer
	for _, f := range head {
		b.field(indent+2, f)
	}
	if m.kind != "cascade" && m.source == "" { // the main value is one of the options: to, code
		b.line(indent+2, "%s:", m.kind)
		for _, f := range options {
			b.field(indent+4, f)
		}
		options = nil
	}
	for _, f := range options {
		b.field(indent+2, f)
	}
	if m.kind == "cascade" {
		b.line(indent+2, "cascade:")
		for _, p := range m.parts {
			b.mount(indent+4, p, true)
		}
	}
	b.layers(indent+2, m.around())
	text := b.String()
	w.WriteString(text[:indent] + "-" + text[indent+1:])
}

// text is the site file.
func (c *conf) text(paths []string) string {
	var w writer
	w.comment(0, "Made by pagi-bridge import of "+strings.Join(paths, ", ")+".")
	if len(c.notes) > 0 {
		w.comment(0, "What is not carried over, and what to do:")
		for _, n := range c.notes {
			w.comment(0, "- "+n.String())
		}
	}
	w.WriteByte('\n')
	if len(c.listen) > 0 {
		w.line(0, "listen:")
		for _, l := range c.listen {
			w.line(2, "- %s", l.text(len(c.certificates) > 0))
		}
	}
	if len(c.certificates) > 0 {
		w.line(0, "tls:")
		w.line(2, "cert: %s", scalar(c.certificates[0].cert))
		w.line(2, "key: %s", scalar(c.certificates[0].key))
		if more := c.certificates[1:]; len(more) > 0 {
			w.line(2, "certificates:")
			for _, p := range more {
				w.line(4, "- %s", scalar(fields{{"cert", p.cert}, {"key", p.key}}))
			}
		}
		for _, f := range c.tls {
			w.field(2, f)
		}
	}
	for _, f := range c.top {
		w.field(0, f)
	}
	w.layers(0, c.layers)
	w.line(0, "mounts:")
	for i, m := range c.mounts {
		if i > 0 {
			w.WriteByte('\n')
		}
		for _, line := range m.from {
			w.comment(2, line)
		}
		if m.remark != "" {
			w.comment(2, m.remark)
		}
		w.mount(2, m, false)
	}
	return w.String()
}

// text is an address with its options. Where the site has a certificate, TCP addresses speak TLS unless
// they say otherwise.
func (l listener) text(certificate bool) string {
	isSocket := strings.Contains(l.address, "/")
	word := l.address
	switch {
	case l.redirect && certificate:
		word += ",redirect"
	case l.tls && certificate:
		word += ",tls"
	case certificate && !isSocket:
		word += ",plain"
	}
	if strings.Contains(word, "${") {
		return scalar(raw(word))
	}
	return scalar(word)
}
