//go:build unix

package perlfork

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
	path string // an absolute path, or a name that is looked up in PATH
	args []string
	// taints says that perl is told to distrust its input (-T, -t). Such a perl ignores PERL5OPT.
	taints bool
	// name is the name that the kernel gives to a process that runs the script.
	name string
	// interpreted says that the operator has chosen the interpreter.
	interpreted bool
}

// isPerl matches the names under which perl is installed: perl, perl5, perl5.36.0.
var isPerl = regexp.MustCompile(`^perl(5[.0-9]*)?$`)

var errNotPerl = errors.New("it is no Perl script")

// perlOf returns the perl that a script asks for, or by which the operator has it run. The error says, for people, why
// there is none, or not in a way that compiling the script once would allow.
func perlOf(file, interpretedBy string) (interpreter, error) {
	line, err := firstLine(file)
	if err != nil {
		return interpreter{}, err
	}
	rest, ok := strings.CutPrefix(line, "#!")
	if interpretedBy != "" {
		// perl reads the line too, and runs another program if that is what it asks for.
		if !ok {
			rest = interpretedBy
		}
		_, err := parse(rest)
		perl := interpreter{path: interpretedBy, interpreted: true, name: path.Base(interpretedBy)}
		if err == nil && !isPerl.MatchString(path.Base(interpretedBy)) {
			err = fmt.Errorf("%w: %s runs it", errNotPerl, path.Base(interpretedBy))
		}
		return perl, err
	}
	if !ok {
		return interpreter{}, fmt.Errorf("%w: it has no #! line", errNotPerl)
	}
	perl, err := parse(rest)
	perl.name = path.Base(perl.path)
	if path.IsAbs(perl.path) {
		perl.name = path.Base(file) // the kernel was told to run that
	}
	return perl, err
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
		words = words[1:]
		switch {
		case words[0] == "-S" && len(words) > 1:
			words = words[1:]
		case len(words) > 1:
			return interpreter{}, fmt.Errorf("its #! line has env look for a program called %q", strings.Join(words, " "))
		}
	} else if !path.IsAbs(words[0]) {
		return interpreter{}, fmt.Errorf("its #! line names %s without a path", words[0])
	} else if len(words) > 1 {
		words = []string{words[0], strings.Trim(strings.TrimLeft(rest, " \t")[len(words[0]):], " \t")}
	}
	perl := interpreter{path: words[0], args: words[1:]}
	if !isPerl.MatchString(path.Base(perl.path)) {
		return interpreter{}, fmt.Errorf("%w: %s runs it", errNotPerl, path.Base(perl.path))
	}
	for _, arg := range perl.args {
		if !plainSwitches.MatchString(arg) {
			return interpreter{}, fmt.Errorf("its #! line has switches other than -w, -W, -X, -t, -T, -U, -I and --: %s", strings.Join(perl.args, " "))
		}
		perl.taints = perl.taints || taintSwitch.MatchString(arg)
	}
	return perl, nil
}

// plainSwitches matches arguments of perl that do not change how a program is read, taintSwitch
// those among them that have perl distrust its environment.
var (
	plainSwitches = regexp.MustCompile(`^(--|(-[wWXtTU]+|-I[ \t]*\S+)([ \t]+(-[wWXtTU]+|-I[ \t]*\S+))*)$`)
	taintSwitch   = regexp.MustCompile(`(^|\s)-[wWXU]*[tT]`)
)

// firstLine returns the first line of a file without its end.
func firstLine(file string) (string, error) {
	f, err := openPlain(file)
	if err != nil {
		return "", err
	}
	defer f.Close() // opened for reading
	start := make([]byte, 256)
	n, err := io.ReadFull(f, start)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", err
	}
	if bytes.HasPrefix(start[:n], []byte("\x7fELF")) {
		return "", fmt.Errorf("%w: it is a program", errNotPerl)
	}
	line, _, whole := bytes.Cut(start[:n], []byte("\n"))
	if !whole {
		return "", errors.New("its first line is very long, or the only one")
	}
	return string(line), nil
}
