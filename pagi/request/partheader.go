package request

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/pagi-go/pagi-bridge/internal/headername"
)

// maxPartHeaders is how many headers a part may have.
const maxPartHeaders = 100

// newPart reads the headers of a part.
func newPart(s *MultipartStream, header []byte) (*Part, error) {
	p := &Part{stream: s}
	for len(header) > 0 {
		var line []byte
		line, header, _ = bytes.Cut(header, []byte("\r\n"))
		name, value, ok := strings.Cut(string(line), ":")
		if !ok || !headername.IsToken(name) {
			return nil, malformed("a part has a malformed header", nil)
		}
		if len(p.Headers) == maxPartHeaders {
			return nil, tooLarge("a part", maxPartHeaders, "headers")
		}
		p.Headers.Add(name, strings.Trim(value, " \t"))
	}
	if err := p.Headers.Validate("part"); err != nil {
		return nil, malformed("a part has a malformed header", err)
	}
	p.Name, p.Filename, p.file = parseDisposition(p.Headers.Get("content-disposition"))
	return p, nil
}

// parseDisposition reads a Content-Disposition header as browsers send it (RFC 7578 section 4.2,
// and the HTML standard, section 4.10.21.8): the name of a field, and the name of a file, if it has
// one.
func parseDisposition(header string) (name, filename string, isFile bool) {
	_, rest := cutUnquoted(header, ';')
	extended := ""
	for rest != "" {
		var param string
		param, rest = cutDisposition(rest)
		key, value, ok := strings.Cut(param, "=")
		if !ok {
			continue
		}
		value = strings.Trim(value, " \t")
		switch key := strings.ToLower(strings.Trim(key, " \t")); {
		case key == "name" && name == "":
			name = unquoteName(value)
		case key == "filename" && !isFile:
			filename, isFile = unquoteName(value), true
		case key == "filename*" && extended == "":
			extended = decodeExtended(value)
		}
	}
	if extended != "" {
		filename, isFile = extended, true
	}
	return name, cleanFilename(filename), isFile
}

// cutDisposition cuts s at the first semicolon outside quotes. Unlike in other headers a backslash
// hides only a quote, and only if the quoted text goes on: old browsers send paths as they are,
// "C:\photos\".
func cutDisposition(s string) (param, rest string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"' && quoted && s[i-1] == '\\' && strings.Contains(s[i+1:], `"`) && !endsParam(s[i+1:]):
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ';' && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// endsParam reports whether what follows a quote is the end of a parameter.
func endsParam(s string) bool {
	s = strings.TrimLeft(s, " \t")
	return s == "" || s[0] == ';'
}

// percentNames are what browsers percent-encode in a name, and nothing else (the HTML standard).
var percentNames = strings.NewReplacer("%22", `"`, "%0D", "\r", "%0A", "\n", "%0d", "\r", "%0a", "\n", `\"`, `"`)

// unquoteName decodes the value of a name or filename parameter.
func unquoteName(value string) string {
	if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	return percentNames.Replace(value)
}

// decodeExtended decodes an extended value (RFC 8187): charset, language, percent-encoded text. It
// returns "" for one that is malformed.
func decodeExtended(value string) string {
	charset, rest, ok := strings.Cut(strings.Trim(value, `"`), "'")
	if !ok {
		return ""
	}
	_, text, ok := strings.Cut(rest, "'")
	if !ok {
		return ""
	}
	decoded, whole := unescapeValue(strings.ReplaceAll(text, "+", "%2B"))
	switch charset := strings.ToLower(charset); {
	case !whole:
		return ""
	case charset == "utf-8" && utf8.ValidString(decoded):
		return decoded
	case charset == "iso-8859-1":
		return fromLatin1([]byte(decoded))
	}
	return ""
}

// cleanFilename removes what must not be in a file's name: directories, with either slash, and
// control characters. A name of dots only is none.
func cleanFilename(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, "\uFFFD"))
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	if len(name) > 1 && name[1] == ':' && ('a' <= name[0]|0x20 && name[0]|0x20 <= 'z') {
		name = name[2:] // a drive of Windows
	}
	if strings.Trim(name, ". ") == "" {
		return ""
	}
	return name
}
