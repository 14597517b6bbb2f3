package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/plugin/adapters"
	"github.com/pagi-go/pagi-bridge/site"
	"github.com/pagi-go/pagi-bridge/site/importer"
)

// ExitIncomplete is the exit code of "pagi-bridge import" if the site file lacks something that the
// configuration has, or is not right on this machine.
const ExitIncomplete = 3

// importNotes are in the help of the command.
const importNotes = `Several files make one site: a proxy to the port of an application becomes the application if the command
that starts it is given, too. What is not carried over is listed on standard error, by file and line, and at
the top of the site file.

Formats: apache, htaccess, nginx, uwsgi (ini), unit (JSON), command (plackup, starman, units of systemd),
procfile. Without --from the text of each file tells.

Exit codes: 0 all was carried over, 1 failed, 2 wrong flags or a file that cannot be read, 3 something was
left out or is missing on this machine.`

// importCommand is the command "pagi-bridge import".
func importCommand() *command {
	c := newCommand("import", "FILE...", "Make a site file of the configuration of another server.")
	c.usage, c.notes, c.reads = []string{
		"pagi-bridge import /etc/apache2 -o site.yaml", "pagi-bridge import /etc/nginx/sites-enabled/shop shop.service", "pagi-bridge import .htaccess",
	}, importNotes, true
	from := c.flags.String("from", "", "read all files as this `FORMAT`")
	output := c.flags.StringP("output", "o", "", "write the site file to `FILE`, which must not exist; without it to standard output")
	c.run = func(_ context.Context, p Process) int {
		switch {
		case c.flags.NArg() == 0:
			return complain(p, ExitUsage, errors.New("name the files or the directory of a configuration"))
		case *from != "" && !slices.Contains(importer.Formats, importer.Format(*from)):
			return complain(p, ExitUsage, fmt.Errorf("--from %s: there is no such format; there are %s", *from, strings.Trim(fmt.Sprint(importer.Formats), "[]")))
		}
		return importConfiguration(c.flags.Args(), importer.Format(*from), *output, p)
	}
	return c
}

func importConfiguration(files []string, from importer.Format, output string, p Process) int {
	result, err := importer.Import(files, from)
	if err != nil {
		return complain(p, ExitUsage, err)
	}
	name := output
	if name == "" {
		name = "site.yaml"
	} else if err := writeNew(name, result.Site); err != nil {
		return complain(p, ExitFailure, err)
	}
	if output == "" {
		if code := say(p, result.Site); code != ExitOK {
			return code
		}
	}
	var text strings.Builder
	for _, n := range result.Notes {
		fmt.Fprintf(&text, "pagi-bridge: %s\n", n)
	}
	problem, err := testImported(result.Site, name, p)
	if err != nil {
		return complain(p, ExitFailure, err)
	}
	if problem != nil {
		fmt.Fprintf(&text, "pagi-bridge: the site file is not right on this machine:\n%v\n", problem)
	}
	if text.Len() == 0 {
		return ExitOK
	}
	if _, err := io.WriteString(p.Stderr, text.String()); err != nil {
		return ExitFailure
	}
	return ExitIncomplete
}

// writeNew writes a file that does not exist yet.
func writeNew(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s: is there already; name another file, or remove it", name)
	}
	if err != nil {
		return because(name, err)
	}
	if _, err := io.Copy(f, bytes.NewBufferString(text)); err != nil {
		return errors.Join(because(name, err), f.Close())
	}
	return f.Close()
}

// testImported does with a site file what -t does. The problem has the name that the file has for the
// user. The error is that the test was not possible.
func testImported(text, name string, p Process) (problem, err error) {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, ".import-*.yaml")
	if err != nil { // the directory may be read-only; names in the file are absolute nearly always
		if f, err = os.CreateTemp("", "import-*.yaml"); err != nil {
			return nil, err
		}
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	if _, err := f.WriteString(text); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	problem = loads(f.Name(), p)
	if problem != nil {
		problem = errors.New(strings.ReplaceAll(problem.Error(), f.Name(), name))
	}
	return problem, nil
}

func loads(file string, p Process) error {
	s, err := site.Loader{LookupEnv: p.LookupEnv}.Load(file)
	if err != nil {
		return err
	}
	if s.Settings.Environment == "" {
		s.Settings.Environment = defaultEnvironment(p)
	}
	s.Logger = slog.New(slog.DiscardHandler)
	s.Adapters = p.newAdapters(adapters.Options{})
	if _, err := s.Build(); err != nil {
		return err
	}
	return s.CheckPlaces()
}
