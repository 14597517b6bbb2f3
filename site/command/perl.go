package command

import (
	"fmt"
	"os"
	"strings"

	"github.com/pagi-go/pagi-bridge/bridge/perlpagi"
	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/site"
)

// mountPerl serves a Perl file as a PSGI or as a PAGI application: as a flag says, else by what the file uses. A file
// that is called *.psgi is taken for PSGI.
func (o *options) mountPerl(s *site.Site, file string) error {
	o.asPAGI = o.pagi
	if !o.pagi && !o.psgi && !strings.HasSuffix(strings.ToLower(file), ".psgi") {
		why, err := perlpagi.Guess(file)
		if err != nil {
			return because(file, err)
		}
		if o.asPAGI = why != ""; o.asPAGI {
			o.guess = fmt.Sprintf("%s is taken for a PAGI application, because %s; otherwise say --psgi", file, why)
		}
	}
	m := site.NewMount(o.kind(), file)
	o.complete(m)
	s.Mounts = []*site.Mount{m}
	return nil
}

// mountCode serves what the Perl code of -e returns.
func (o *options) mountCode() *site.Mount {
	o.asPAGI = o.pagi || !o.psgi && perlpagi.GuessCode([]byte(o.code)) != ""
	m := site.NewMount(o.kind(), "")
	m.Source = "-e"
	switch options := m.Options.(type) {
	case *perlpagi.PAGI:
		options.Code = o.code
	case *psgi.PSGI:
		options.Code = o.code
	}
	o.complete(m)
	return m
}

// complete sets the options of a mount that both kinds have.
func (o *options) complete(m *site.Mount) {
	switch options := m.Options.(type) {
	case *perlpagi.PAGI:
		options.Modules = o.modules
		if o.loop != "true" { // it has a loop anyway
			options.Loop = o.loop
		}
	case *psgi.PSGI:
		options.Modules, options.Loop = o.modules, o.loop
	}
}

func (o *options) kind() string {
	if o.asPAGI {
		return site.KindPerlPAGI
	}
	return site.KindPSGI
}

// isModule reports whether an argument names a Perl module with a PAGI application: no file has this name, and it has
// colons, or --pagi is given.
func (o *options) isModule(arg string) bool {
	if _, err := os.Stat(arg); err == nil {
		return false
	}
	return perlpagi.IsModule(arg) && (strings.Contains(arg, "::") || o.pagi)
}

// mountModule serves a Perl module with arguments, each a name and a value as in root=/srv/www.
func (o *options) mountModule(s *site.Site, module string, args []string) error {
	o.asPAGI = true
	m := site.NewMount(site.KindPerlPAGI, module)
	o.complete(m)
	options := m.Options.(*perlpagi.PAGI)
	options.Args = map[string]string{}
	for _, arg := range args {
		name, value, is := strings.Cut(arg, "=")
		if !is || name == "" {
			return fmt.Errorf("unexpected argument %q: behind a module come its arguments, as in root=/srv/www", arg)
		}
		options.Args[name] = value
	}
	s.Mounts = []*site.Mount{m}
	return nil
}
