package command

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/site"
)

// words maps commands that are written without dashes to the flags that do the same.
var words = map[string]string{"help": "--help", "version": "--version", "check": "--test"}

// mountArgument chooses the kind of a mount by the file's name and type. It runs only files named
// *.cgi as scripts. Another Perl program with an execute bit is loaded, because it may start a
// server of its own when it is run.
func (o *options) mountArgument(s *site.Site, arg string) error {
	info, err := os.Stat(arg)
	if err != nil {
		return because(arg, err)
	}
	extension := strings.ToLower(filepath.Ext(arg))
	if info.IsDir() {
		s.Mounts = []*site.Mount{{Path: "/", Kind: site.KindDirectory, Source: arg, Options: &apps.Directory{File: apps.File{Root: arg}}}}
		return nil
	}
	switch extension {
	case ".yaml", ".yml":
		return fmt.Errorf("%s: a site file is given with -c", arg)
	case ".cgi":
		return o.mountCGI(s, arg)
	}
	interpreter, err := shebang(arg)
	switch {
	case err != nil:
		return because(arg, err)
	case extension == ".psgi", extension == ".pl", isPerl(interpreter):
		o.loaded = arg
		return o.mountPerl(s, arg)
	case info.Mode().Perm()&0o111 != 0:
		return fmt.Errorf("%s: only a name that ends in .cgi is taken for a CGI script; use --cgi %s to run this program for each request", arg, arg)
	}
	return fmt.Errorf("%s: cannot tell what this is; use --app %s for a PSGI or PAGI application, or --cgi %s for a script", arg, arg, arg)
}

// because makes an error of a system error about a file.
func because(file string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("%s: %w", file, err)
}

// readable reports why a file cannot be read.
func readable(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return because(file, err)
	}
	return f.Close()
}

// shebang returns the name of the program in a script's first line, or "".
func shebang(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close() // opened for reading only
	const longest = 256
	line, err := bufio.NewReader(io.LimitReader(f, longest)).ReadBytes('\n')
	if err != nil && err != io.EOF {
		return "", err
	}
	rest, is := bytes.CutPrefix(line, []byte("#!"))
	if !is {
		return "", nil
	}
	for _, word := range strings.Fields(string(rest)) {
		name := filepath.Base(word)
		if name != "env" && !strings.HasPrefix(word, "-") && !strings.Contains(word, "=") {
			return name, nil
		}
	}
	return "", nil
}

// isPerl reports whether an interpreter runs Perl, or is a server for PSGI applications.
func isPerl(interpreter string) bool {
	return interpreter == "perl" || strings.HasPrefix(interpreter, "perl5") ||
		slices.Contains([]string{"plackup", "starman", "starlet", "twiggy", "feersum", "morbo", "hypnotoad"}, interpreter)
}

// hints returns what else the argument may have meant, for a person whose application cannot be
// loaded.
func (o *options) hints() []string {
	if o.loaded == "" || strings.ToLower(filepath.Ext(o.loaded)) == ".psgi" {
		return nil
	}
	if o.asPAGI {
		return []string{fmt.Sprintf("%s was loaded as a PAGI application. If it is a PSGI application, say --psgi.", o.loaded)}
	}
	return []string{fmt.Sprintf("%s was loaded as a PSGI application. If it is a PAGI application, say --pagi; if it is a CGI script, say --cgi %s.", o.loaded, o.loaded)}
}
