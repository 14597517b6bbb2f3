package perlpagi

import (
	"bytes"
	"errors"
	"io"
	"os"
	"regexp"
)

// signs are what only PAGI applications have, each with the words for it.
var signs = []struct {
	pattern *regexp.Regexp
	words   string
}{
	{regexp.MustCompile(`(?m)^\s*(?:use|require)\s+(PAGI(?:::\w+)*)\b`), "it uses "},
	{regexp.MustCompile(`(?m)^\s*(?:use|require)\s+(Future::AsyncAwait)\b`), "it uses "},
	{regexp.MustCompile(`(?m)^[^#'"\n]*\b(async\s+sub)\b`), "it has an "},
	{regexp.MustCompile(`(?m)^[^#'"\n]*\b(PAGI(?:::\w+)+)->`), "it uses "},
}

// Guess looks into a Perl file and returns why it is a PAGI application: "it uses Future::AsyncAwait". It returns ""
// for any other file, which may still be one. It reads the first megabyte. Both PAGI and PSGI applications are code
// references, and only calling them tells more.
func Guess(file string) (why string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err = errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	return GuessCode(text), nil
}

var documentation = regexp.MustCompile(`(?ms)^=[a-zA-Z].*?(?:^=cut\b[^\n]*$|\z)`)

// GuessCode is Guess for the text of a file.
func GuessCode(text []byte) (why string) {
	if at := regexp.MustCompile(`(?m)^__(?:END|DATA)__$`).FindIndex(text); at != nil {
		text = text[:at[0]]
	}
	text = documentation.ReplaceAll(text, nil)
	for _, sign := range signs {
		if m := sign.pattern.FindSubmatch(text); m != nil {
			return sign.words + string(bytes.Join(bytes.Fields(m[1]), []byte(" ")))
		}
	}
	return ""
}
