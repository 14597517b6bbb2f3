// Package importer makes a site file of the configuration of another server: Apache, nginx, uWSGI, NGINX
// Unit, or the command line of a PSGI server. Each format has a file of its own here, which fills the model
// of model.go. write.go turns the model into the text of a site file.
//
// The package reads configurations and what they include, and starts nothing. What it cannot carry over is
// a Note. A restriction of access that it cannot carry over closes the place to all but this machine.
package importer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// Format is the kind of a configuration.
type Format string

// The formats that Import reads.
const (
	Apache   Format = "apache"
	Htaccess Format = "htaccess"
	Nginx    Format = "nginx"
	UWSGI    Format = "uwsgi"
	Unit     Format = "unit"
	Command  Format = "command" // a command line of plackup, starman and others, also in a unit of systemd
	Procfile Format = "procfile"
)

// Formats lists all formats.
var Formats = []Format{Apache, Htaccess, Nginx, UWSGI, Unit, Command, Procfile}

// Note tells of a part of a configuration that the site file does not have.
type Note struct {
	File string
	Line int
	// Text is the part as the file has it.
	Text string
	// Advice says what to do about it.
	Advice string
}

func (n Note) String() string { return fmt.Sprintf("%s:%d: %s: %s", n.File, n.Line, n.Text, n.Advice) }

// Result is a site file and what it lacks.
type Result struct {
	// Site is the text of the site file, with the notes as comments.
	Site  string
	Notes []Note
}

// ErrNothing is the error for configurations that serve nothing.
var ErrNothing = errors.New("there is nothing in it that a site could serve")

// Import reads the files and directories and makes one site file of all. The format of each file is
// guessed if from is empty. Of a directory with an apache2.conf, httpd.conf or nginx.conf that file is read,
// of any other all files whose format can be guessed. The error names a file that cannot be read or parsed,
// or is ErrNothing.
func Import(paths []string, from Format) (*Result, error) {
	c := &conf{applications: map[string]*mount{}}
	var files []string
	for _, p := range paths {
		more, err := filesOf(p, from)
		if err != nil {
			return nil, err
		}
		files = append(files, more...)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		format := from
		if format == "" {
			if format = Guess(file, string(text)); format == "" {
				return nil, fmt.Errorf("%s: cannot tell whose configuration this is; say it by --from", file)
			}
		}
		if err := c.read(format, file, string(text)); err != nil {
			return nil, err
		}
	}
	c.finish()
	if len(c.mounts) == 0 {
		return nil, fmt.Errorf("%s: %w", strings.Join(paths, ", "), ErrNothing)
	}
	return &Result{Site: c.text(paths), Notes: c.notes}, nil
}

func (c *conf) read(format Format, file, text string) error {
	switch format {
	case Apache:
		return c.apache(file, text)
	case Htaccess:
		return c.htaccess(file, text)
	case Nginx:
		return c.nginx(file, text)
	case UWSGI:
		return c.uwsgi(file, text)
	case Unit:
		return c.unit(file, text)
	case Command:
		return c.commands(file, text)
	case Procfile:
		return c.procfile(file, text)
	}
	return fmt.Errorf("%q is not a format; there are %s", format, formatNames())
}

func formatNames() string {
	names := make([]string, len(Formats))
	for i, f := range Formats {
		names[i] = string(f)
	}
	return strings.Join(names, ", ")
}

// filesOf returns the files to read for an argument.
func filesOf(path string, from Format) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	for _, name := range []string{"apache2.conf", "httpd.conf", "nginx.conf"} {
		if _, err := os.Stat(filepath.Join(path, name)); err == nil {
			return []string{filepath.Join(path, name)}, nil
		}
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		file := filepath.Join(path, e.Name())
		if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if guess := Guess(file, string(text)); guess != "" && (from == "" || guess == from) {
			files = append(files, file)
		}
	}
	sort.Strings(files)
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: no file in it is a known configuration", path)
	}
	return files, nil
}

var (
	nginxForm   = regexp.MustCompile(`(?m)^\s*((server|http|events|location\s+[^{\n]*|upstream\s+\S+)\s*\{|(proxy_pass|fastcgi_pass|uwsgi_pass)\s[^\n]*;)`)
	apacheForm  = regexp.MustCompile(`(?mi)^\s*(<(VirtualHost|Directory|DirectoryMatch|Location|LocationMatch|IfModule|IfDefine|Files|FilesMatch|Proxy)\b|(ScriptAlias|ScriptAliasMatch|Alias|DocumentRoot|ProxyPass|ServerName|Redirect|RedirectMatch|RewriteRule|AddHandler|Listen|LoadModule|SetHandler|PerlModule|AuthType)\s)`)
	commandForm = regexp.MustCompile(`(?m)(^|[\s/=])(plackup|starman|starlet|twiggy|feersum|gazelle|uwsgi|corona)(\s|$)`)
	procForm    = regexp.MustCompile(`(?m)^[A-Za-z0-9_-]+:\s*\S`)
)

// Guess returns the format of a configuration by its name and its text, "" if it is none of them.
func Guess(file, text string) Format {
	base := filepath.Base(file)
	switch trimmed := strings.TrimSpace(text); {
	case base == ".htaccess":
		return Htaccess
	case strings.HasPrefix(base, "Procfile"):
		return Procfile
	case strings.HasPrefix(trimmed, "{") && (strings.Contains(text, `"listeners"`) || strings.Contains(text, `"applications"`)):
		return Unit
	case regexp.MustCompile(`(?m)^\s*\[uwsgi\]`).MatchString(text):
		return UWSGI
	case nginxForm.MatchString(text):
		return Nginx
	case apacheForm.MatchString(text):
		return Apache
	case strings.HasSuffix(base, "Procfile") && procForm.MatchString(text):
		return Procfile
	case commandForm.MatchString(text):
		return Command
	}
	return ""
}

// glob returns the files that an include stands for, in the order of their names.
func glob(pattern string) ([]string, error) {
	names, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", pattern, err)
	}
	names = slices.DeleteFunc(names, func(n string) bool {
		info, err := os.Stat(n)
		return err != nil || info.IsDir()
	})
	return names, nil
}
