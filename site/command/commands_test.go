package command

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestEveryCommandHasHelp asks each command for its help, and looks for it in that of the program.
func TestEveryCommandHasHelp(t *testing.T) {
	main := usage()
	for _, name := range commandNames() {
		var out, errs bytes.Buffer
		if code := Run(t.Context(), []string{name, "--help"}, Process{Stdout: &out, Stderr: &errs}); code != ExitOK || errs.Len() > 0 {
			t.Errorf("%s --help: exit code %d: %s", name, code, errs.String())
		}
		c := commands[name]()
		for _, part := range []string{c.does, "Usage:\n  pagi-bridge " + name, "Options:\n", "print this help"} {
			if !strings.Contains(out.String(), part) {
				t.Errorf("%s --help lacks %q:\n%s", name, part, out.String())
			}
		}
		if s := c.summary(); s == "" || strings.Contains(s, "\n") || len(s) > 100 {
			t.Errorf("%s: the summary is %q", name, s)
		}
		if !strings.Contains(main, name) {
			t.Errorf("--help does not name %s", name)
		}
	}
}

// TestCommandsAreDeclared looks for commands that Run treats on its own. They would have no manual page and no completion.
func TestCommandsAreDeclared(t *testing.T) {
	text, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), `args[0] == "`) {
		t.Error("main.go compares the first argument with a name: declare the command in commands.go")
	}
}
