package importer

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// nginxParser reads directives of nginx into the same form as those of Apache.
type nginxParser struct {
	conf *conf
	includes
}

type nginxToken struct {
	text   string
	line   int
	quoted bool
}

// nginxTokens splits a text into words, braces and semicolons.
func nginxTokens(file, text string) (tokens []nginxToken, err error) {
	line := 1
	for i := 0; i < len(text); {
		switch ch := text[i]; {
		case ch == '\n':
			line++
			i++
		case ch == ' ' || ch == '\t' || ch == '\r':
			i++
		case ch == '#':
			for i < len(text) && text[i] != '\n' {
				i++
			}
		case ch == '{' || ch == '}' || ch == ';':
			tokens = append(tokens, nginxToken{string(ch), line, false})
			i++
		case ch == '"' || ch == '\'':
			begin := line
			var b strings.Builder
			for i++; i < len(text) && text[i] != ch; i++ {
				if text[i] == '\\' && i+1 < len(text) && (text[i+1] == ch || text[i+1] == '\\') {
					i++
				}
				if text[i] == '\n' {
					line++
				}
				b.WriteByte(text[i])
			}
			if i >= len(text) {
				return nil, fmt.Errorf("%s:%d: a quote is not closed", file, begin)
			}
			i++
			tokens = append(tokens, nginxToken{b.String(), begin, true})
		default:
			begin := i
			for i < len(text) && !strings.ContainsRune(" \t\r\n;", rune(text[i])) {
				if text[i] == '\\' && i+1 < len(text) {
					i++
				} else if text[i] == '{' && (i == begin || text[i-1] != '$') {
					break
				} else if text[i] == '{' {
					for i < len(text) && text[i] != '}' {
						i++
					}
				}
				i++
			}
			i = min(i, len(text))
			tokens = append(tokens, nginxToken{text[begin:i], line, false})
		}
	}
	return tokens, nil
}

func (p *nginxParser) file(name string) ([]*directive, error) {
	text, err := p.open(name)
	if err != nil {
		return nil, err
	}
	return p.parse(name, text)
}

func (p *nginxParser) parse(name, text string) ([]*directive, error) {
	defer p.begin(name)()
	tokens, err := nginxTokens(name, text)
	if err != nil {
		return nil, err
	}
	list, next, err := p.block(name, tokens, 0, false)
	if err == nil && next < len(tokens) {
		err = fmt.Errorf("%s:%d: } closes nothing", name, tokens[next].line)
	}
	return list, err
}

func (p *nginxParser) block(file string, tokens []nginxToken, i int, inner bool) (list []*directive, next int, err error) {
	var d *directive
	for ; i < len(tokens); i++ {
		t := tokens[i]
		isMark := !t.quoted && (t.text == ";" || t.text == "{" || t.text == "}")
		switch {
		case isMark && t.text == "}":
			if d != nil {
				return nil, i, fmt.Errorf("%s:%d: %s has no semicolon", file, d.at.line, d.name)
			}
			return list, i, nil
		case isMark && d == nil:
			if t.text == "{" {
				return nil, i, fmt.Errorf("%s:%d: a block without a name", file, t.line)
			}
		case isMark:
			d.rest = strings.Join(d.args, " ")
			d.at.text = strings.TrimSpace(d.name + " " + d.rest)
			if t.text == "{" {
				d.section = true
				d.children, i, err = p.block(file, tokens, i+1, true)
				if err == nil && i >= len(tokens) {
					err = fmt.Errorf("%s:%d: %s is not closed", file, d.at.line, d.name)
				}
				if err != nil {
					return nil, i, err
				}
			}
			more := []*directive{d}
			if d.name == "include" {
				if more, err = p.include(d); err != nil {
					return nil, i, err
				}
			}
			list = append(list, more...)
			d = nil
		case d == nil:
			d = &directive{name: strings.ToLower(t.text), at: place{file: file, line: t.line}}
		default:
			d.args = append(d.args, t.text)
		}
	}
	if d != nil {
		return nil, i, fmt.Errorf("%s:%d: %s has no semicolon", file, d.at.line, d.name)
	}
	return list, i, nil
}

// known are the files that nginx brings. A site needs none of what they say.
var known = []string{"fastcgi_params", "fastcgi.conf", "uwsgi_params", "scgi_params", "proxy_params", "mime.types", "fastcgi-php.conf"}

func (p *nginxParser) include(d *directive) (list []*directive, err error) {
	pattern := d.arg(0)
	if base := filepath.Base(pattern); slices.Contains(known, base) {
		return []*directive{{name: "included", args: []string{base}, at: d.at}}, nil
	}
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(p.root, pattern)
	}
	names, err := glob(pattern)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 && !strings.ContainsAny(pattern, "*?[") {
		p.conf.leave(d.at, "the file is not there; import it together with this one")
	}
	for _, name := range names {
		more, err := p.file(name)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	return list, nil
}
