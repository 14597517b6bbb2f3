package command

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/perlpagi"
	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/site"
)

// A Perl file is one of PSGI or of PAGI: as a flag says, else by its name or its text.
func TestKindsOfPerlApplications(t *testing.T) {
	t.Chdir(testkit.Tree(t, map[string]string{
		"pagi.pl":   "use Future::AsyncAwait;\nasync sub app { }\n\\&app;\n",
		"pagi.psgi": "use Future::AsyncAwait;\nasync sub app { }\n\\&app;\n",
		"psgi.pl":   "sub { [200, [], ['hello']] }\n",
		"A::B":      "a file\n",
	}))
	for line, want := range map[string]string{
		"pagi.pl":               "perlpagi app=pagi.pl",
		"--psgi pagi.pl":        "psgi app=pagi.pl",
		"pagi.psgi":             "psgi app=pagi.psgi",
		"--pagi pagi.psgi":      "perlpagi app=pagi.psgi",
		"psgi.pl":               "psgi app=psgi.pl",
		"--pagi psgi.pl":        "perlpagi app=psgi.pl",
		"-a pagi.pl":            "perlpagi app=pagi.pl",
		"-a psgi.pl":            "psgi app=psgi.pl",
		"--pagi -a psgi.pl":     "perlpagi app=psgi.pl",
		"-e async_sub{}":        "psgi code=async_sub{}",
		"--pagi -e 1":           "perlpagi code=1",
		"My::App":               "perlpagi module=My::App",
		"My::App a=b c=d=e":     "perlpagi module=My::App a=b c=d=e",
		"-a My::App a=b":        "perlpagi module=My::App a=b",
		"--pagi App root=.":     "perlpagi module=App root=.",
		"--pagi A::B":           "error A::B: cannot tell what this is; use --app A::B for a PSGI or PAGI application, or --cgi A::B for a script",
		"--loop psgi.pl":        "psgi app=psgi.pl loop=true",
		"--loop=Mojo -e 1":      "psgi code=1 loop=Mojo",
		"--loop pagi.pl":        "perlpagi app=pagi.pl",
		"--loop=EV My::App a=b": "perlpagi module=My::App loop=EV a=b",
		"--loop -c a.yaml":      `error --loop belongs to an application; in a site file write it as "loop" of the mount`,
		"--loop --cgi .":        "error --loop is for a PSGI application, or a PAGI application in Perl",
		"--pagi --psgi psgi.pl": "error --psgi and --pagi exclude one another",
		"My::App other":         `error unexpected argument "other": behind a module come its arguments, as in root=/srv/www`,
		"psgi.pl other":         `error unexpected argument "other": only one application can be given; a site file (-c) can mount several`,
	} {
		if got := kindOf(made(strings.Fields(line)...)); got != want {
			t.Errorf("%q: %s\nwant: %s", line, got, want)
		}
	}
}

// kindOf describes the only mount of a site.
func kindOf(s *site.Site, err error) string {
	if err != nil {
		return "error " + err.Error()
	}
	m := s.Mounts[0]
	text := m.Kind
	add := func(name, value string) {
		if value != "" {
			text += " " + name + "=" + value
		}
	}
	switch o := m.Options.(type) {
	case *perlpagi.PAGI:
		add("app", o.App)
		add("module", o.Module)
		add("code", o.Code)
		add("loop", o.Loop)
		for _, name := range []string{"a", "c", "root"} {
			add(name, o.Args[name])
		}
	case *psgi.PSGI:
		add("app", o.App)
		add("code", o.Code)
		add("loop", o.Loop)
	}
	return text
}

// The banner says what was guessed.
func TestTheBannerNamesTheGuess(t *testing.T) {
	t.Chdir(testkit.Tree(t, map[string]string{"app.pl": "use PAGI;\n"}))
	o, err := parseFlags([]string{"app.pl"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := o.site(process(false))
	if err != nil {
		t.Fatal(err)
	}
	s.Mounts[0].Workers = 2
	var text bytes.Buffer
	banner(&text, s, o.guess, nil, nil)
	want := "  /   app.pl   PAGI in Perl, 2 workers\n  (app.pl is taken for a PAGI application, because it uses PAGI; otherwise say --psgi)\n"
	if !strings.HasSuffix(text.String(), want) {
		t.Errorf("%s\nwant: %s", text.String(), want)
	}
	if hints := o.hints(); len(hints) != 1 || !strings.Contains(hints[0], "say --psgi") {
		t.Errorf("%q", hints)
	}
}
