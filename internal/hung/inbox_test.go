package hung

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// stack is a line as the handler writes it.
func stack(fields ...string) string { return mark + strings.Join(fields, "\t") + "\t" }

func TestStacksAreReadable(t *testing.T) {
	for name, c := range map[string]struct {
		line string
		want []string
	}{
		"the eval around the handler is left out": {
			stack("a.pl", "2", "Stack::__ANON__", "a.pl", "2", "(eval)", "a.pl", "9", "main::inner", "a.pl", "12", "main::outer"),
			[]string{"a.pl:2 main::inner", "a.pl:9 main::outer", "a.pl:12"},
		},
		"an eval of the application stays": {
			stack("a.pl", "2", "Stack::__ANON__", "a.pl", "2", "(eval)", "a.pl", "2", "(eval)", "a.pl", "9", "main::f"),
			[]string{"a.pl:2 (eval)", "a.pl:2 main::f", "a.pl:9"},
		},
		"the runtime behind the application is left out": {
			stack("/srv/app.psgi", "3", "H", "/srv/app.psgi", "5", "PagiBridge::Loader::Sandbox12::f", "/tmp/x/lib/PagiBridge/PSGI.pm", "100", "(eval)", "/tmp/x/bin/pagi-worker.pl", "90", "X"),
			[]string{"/srv/app.psgi:3 f", "/srv/app.psgi:5 (eval)"},
		},
		"the runtime that the application has called stays": {
			stack("/tmp/x/lib/PagiBridge/Lock.pm", "7", "H", "/srv/app.psgi", "5", "PagiBridge::Lock::wait"),
			[]string{"/tmp/x/lib/PagiBridge/Lock.pm:7 PagiBridge::Lock::wait", "/srv/app.psgi:5"},
		},
		"one handler in the other": {
			stack("/x/lib/PagiBridge/Stack.pm", "62", "H", "/x/lib/PagiBridge/Stack.pm", "62", "(eval)", "a.pl", "2", "G", "a.pl", "2", "(eval)", "a.pl", "9", "main::f"),
			[]string{"a.pl:2 main::f", "a.pl:9"},
		},
		"only the runtime": {
			stack("/tmp/x/lib/PagiBridge/Worker.pm", "7", "H", "/tmp/x/bin/pagi-worker.pl", "90", "X"),
			[]string{"/tmp/x/lib/PagiBridge/Worker.pm:7 X", "/tmp/x/bin/pagi-worker.pl:90"},
		},
		"what is cut":              {mark + "a.pl\t2\tH\tb.pl\t3", []string{"a.pl:2"}},
		"what cannot be printed":   {stack("a\x1b[31m\xff.pl", "2", "H"), []string{"a?[31m?.pl:2"}},
		"what is no stack":         {mark + "the application's joke", nil},
		"a line that is no number": {stack("a.pl", "two", "H"), nil},
		"a long name":              {stack(strings.Repeat("x", 1000)+".pl", "2", "H"), []string{"..." + strings.Repeat("x", longestFrame-5) + ".pl:2"}},
	} {
		_, said, _ := strings.Cut(c.line, mark)
		if diff := cmp.Diff(c.want, parse(said)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	if n := len(parse(strings.Repeat("a.pl\t1\tf\t", 100))); n != mostFrames {
		t.Errorf("%d frames", n)
	}
}

func TestAStackIsTakenOutOfTheOutput(t *testing.T) {
	var i Inbox
	line := stack("a.pl", "2", "H")
	if got := i.Take("plain"); got != "plain" {
		t.Errorf("%q", got)
	}
	if got := i.Take(line); got != "Perl stack: a.pl:2" {
		t.Errorf("no one waits: %q", got)
	}
	answer := i.open()
	if got := i.Take(mark + "a joke"); strings.Contains(got, mark) || len(answer) != 0 {
		t.Errorf("%q is taken for a stack", got)
	}
	if got := i.Take("half a line" + line); got != "half a line" {
		t.Errorf("what stands before it: %q", got)
	}
	if got := <-answer; len(got) != 1 || got[0] != "a.pl:2" {
		t.Errorf("%q", got)
	}
	if got := i.Take(line); got != "Perl stack: a.pl:2" {
		t.Errorf("a second one: %q", got)
	}
	i.open()
	i.close()
	if got := i.Take(line); got == "" {
		t.Error("it is taken although no one waits any more")
	}
}

func TestSignals(t *testing.T) {
	for _, s := range []Signal{"", "ILL", "FPE", "BUS", "off"} {
		if err := s.Check(); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []Signal{"TERM", "ill", "4", "SEGV"} {
		if s.Check() == nil {
			t.Errorf("%q is allowed", s)
		}
	}
	if NoSignal.Configuration() != "" {
		t.Errorf("off: %q", NoSignal.Configuration())
	}
}
