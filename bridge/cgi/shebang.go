//go:build unix

package cgi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"
)

// interpreter is what a script's first line asks for.
type interpreter struct {
	path string // absolute, or a name to be looked up in PATH
	args []string
	// interpreted says that the operator has chosen it, and not the script.
	interpreted bool
}

// isPerl matches the names under which perl is installed: perl, perl5, perl5.36.0.
var isPerl = regexp.MustCompile(`^perl(5[.0-9]*)?$`)

var errNotPerl = errors.New("it is no Perl script")

// perlOf returns the perl that a script asks for. The error says, for people, why it
// does not, or not in a way that compiling it once would allow.
func perlOf(s script) (interpreter, error) {
	line, err := firstLine(s.file)
	if err != nil {
		return interpreter{}, err
	}
	rest, ok := strings.CutPrefix(line, "#!")
	if s.interpreter != "" {
		// perl reads the line too, and runs another program if that is what it asks for.
		if !ok {
			rest = s.interpreter
		}
		perl, err := parse(rest)
		perl.path, perl.args, perl.interpreted = s.interpreter, nil, true
		if err == nil && !isPerl.MatchString(path.Base(s.interpreter)) {
			err = fmt.Errorf("%w: %s runs it", errNotPerl, path.Base(s.interpreter))
		}
		return perl, err
	}
	if !ok {
		return interpreter{}, fmt.Errorf("%w: it has no #! line", errNotPerl)
	}
	return parse(rest)
}

// parse reads what follows the #!.
func parse(rest string) (interpreter, error) {
	// What the kernel does: a program, and all else is one argument.
	words := strings.FieldsFunc(rest, func(r rune) bool { return r == ' ' || r == '\t' })
	switch {
	case len(words) == 0:
		return interpreter{}, errors.New("its #! line names no program")
	case strings.ContainsRune(rest, '\r'):
		return interpreter{}, errors.New("its #! line ends with CR LF")
	}
	if path.Base(words[0]) == "env" && len(words) > 1 {
		if words = words[1:]; len(words) > 1 {
			return interpreter{}, fmt.Errorf("its #! line has env look for a program called %q", strings.Join(words, " "))
		}
	} else if !path.IsAbs(words[0]) {
		return interpreter{}, fmt.Errorf("its #! line names %s without a path", words[0])
	}
	perl := interpreter{path: words[0], args: words[1:]}
	if !isPerl.MatchString(path.Base(perl.path)) {
		return interpreter{}, fmt.Errorf("%w: %s runs it", errNotPerl, path.Base(perl.path))
	}
	if len(perl.args) > 1 || len(perl.args) == 1 && perl.args[0] != "-w" {
		return interpreter{}, fmt.Errorf("its #! line has switches other than -w: %s", strings.Join(perl.args, " "))
	}
	return perl, nil
}

// firstLine returns it without its end.
func firstLine(file string) (string, error) {
	f, err := openPlain(file, 0)
	if err != nil {
		return "", err
	}
	defer f.Close() // opened for reading
	start := make([]byte, 256)
	n, err := io.ReadFull(f, start)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", err
	}
	line, _, whole := bytes.Cut(start[:n], []byte("\n"))
	if !whole {
		return "", errors.New("its first line is very long, or the only one")
	}
	return string(line), nil
}
