package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// TestTutorials does what the tutorials tell their reader to do, and compares what comes
// of it with what they show. docs/README.md describes how a page is written for that.
func TestTutorials(t *testing.T) {
	for page, tools := range map[string][]string{
		"tutorial-perl.md": {"perl", "curl"},
		"tutorial-go.md":   {"perl", "curl", "go"},
	} {
		t.Run(page, func(t *testing.T) {
			for _, tool := range tools {
				testkit.Tool(t, tool, tool)
			}
			newReader(t, t.TempDir()).read(filepath.Join(root, "docs", page), 5)
		})
	}
}

// A fence is a fenced block of a Markdown page.
type fence struct {
	line  int    // of the page, where it begins
	words string // behind the language: "file=NAME", "run", "run retry", "run fails" or "serve"
	text  string
}

func (f fence) has(word string) bool {
	for _, w := range strings.Fields(f.words) {
		if w == word {
			return true
		}
	}
	return false
}

// fences returns the blocks of a page.
func fences(page string) (all []fence) {
	var open *fence
	for i, line := range strings.Split(page, "\n") {
		info, marks := strings.CutPrefix(line, "```")
		switch {
		case marks && open == nil:
			_, words, _ := strings.Cut(info, " ")
			open = &fence{line: i + 1, words: words}
		case marks:
			all = append(all, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	return all
}

// reader follows pages in a directory.
type reader struct {
	t        *testing.T
	dir      string
	program  *testkit.Program // the server that the page has started last
	goRun    bool             // whether "go run" has started it
	env      []string         // of all commands, besides that of the test
	commands int
}

// shown is the address that pages show. Files get anyPort in its place. Commands and their
// output get the address at which the server then serves.
const (
	shown   = "127.0.0.1:5000"
	anyPort = "127.0.0.1:0"
)

func newReader(t *testing.T, dir string) *reader {
	return &reader{t: t, dir: dir}
}

// read follows a page, which has some commands to run.
func (r *reader) read(page string, commands int) {
	r.t.Helper()
	for _, f := range fences(readPage(r.t, page)) {
		r.follow(f)
	}
	r.stop()
	if r.commands < commands {
		r.t.Errorf("the page has %d commands to run; is its first line still a fence's?", r.commands)
	}
}

// here puts this test's directories, and address, in the place of those the page shows.
func (r *reader) here(text, address string) string {
	repository, err := filepath.Abs(root)
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.NewReplacer("/srv/shop", r.dir, "../pagi-bridge", repository, shown, address).Replace(text)
}

func (r *reader) follow(f fence) {
	r.t.Helper()
	name, file := strings.CutPrefix(f.words, "file=")
	switch {
	case file:
		r.write(name, r.here(f.text, anyPort))
	case f.has("serve"):
		r.stop()
		r.serve(f)
	case f.has("run"):
		all := steps(f.text)
		for i, s := range all {
			r.run(f, s, f.has("fails") && i == len(all)-1)
		}
		r.commands += len(all)
	case f.words != "":
		r.t.Errorf("line %d: unknown words %q", f.line, f.words)
	}
}

func (r *reader) write(name, text string) {
	path := filepath.Join(r.dir, name)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o644)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// A step is a command and the output that the page shows below it.
type step struct{ command, output string }

// steps reads a session: commands begin with "$ ".
func steps(text string) (all []step) {
	for line := range strings.Lines(text) {
		if command, is := strings.CutPrefix(line, "$ "); is {
			all = append(all, step{command: strings.TrimSuffix(command, "\n")})
		} else if len(all) > 0 {
			all[len(all)-1].output += line
		}
	}
	return all
}

func (r *reader) run(f fence, s step, mustFail bool) {
	r.t.Helper()
	address := r.address()
	var output string
	var err error
	try := func() bool {
		var text []byte
		text, err = r.output(r.here(s.command, address))
		output = strings.ReplaceAll(string(text), "\r\n", "\n")
		if output != "" && !strings.HasSuffix(output, "\n") {
			output += "\n" // a page cannot show that it is missing
		}
		return matches(r.here(s.output, address), output)
	}
	if f.has("retry") {
		defer func() {
			if r.t.Failed() {
				r.t.Logf("line %d: %s gave at last:\n%s", f.line, s.command, output)
			}
		}()
		testkit.Eventually(r.t, fmt.Sprintf("the output shown below %q", s.command), try)
	} else if !try() {
		r.t.Fatalf("line %d: %s\ngave:\n%s\nthe page shows:\n%s", f.line, s.command, output, s.output)
	}
	if failed := err != nil; failed != mustFail {
		r.t.Fatalf("line %d: %s: failed: %v (%v), want %v\n%s", f.line, s.command, failed, err, mustFail, output)
	}
}

// output runs a command, and ends it if it does not end by itself.
func (r *reader) output(command string) ([]byte, error) {
	cmd := r.shell(command)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	// A command may compile everything that a program needs, beside other tests.
	limit := time.AfterFunc(10*time.Minute, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }) // an error says that it has ended
	err := cmd.Wait()
	if !limit.Stop() {
		err = fmt.Errorf("it did not end: %w", err)
	}
	return text.Bytes(), err
}

// address is where the page's server serves.
func (r *reader) address() string {
	if r.program == nil {
		return shown
	}
	return r.program.Address()
}

// shell returns the command as a shell in the page's directory runs it, with the program
// under test in PATH.
func (r *reader) shell(command string) *exec.Cmd {
	cmd := testkit.Command(r.dir, "sh", "-c", command)
	cmd.Env = append(cmd.Env, "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"))
	cmd.Env = append(cmd.Env, r.env...)
	return cmd
}

func (r *reader) serve(f fence) {
	r.t.Helper()
	s := steps(f.text)
	if len(s) != 1 {
		r.t.Fatalf("line %d: %d commands; one can serve", f.line, len(s))
	}
	if dir, is := strings.CutPrefix(s[0].command, "go run "); is {
		// Compiling may take longer on a busy machine than a server may take to start.
		if text, err := r.output("go build -o " + os.DevNull + " " + dir); err != nil {
			r.t.Fatalf("line %d: %v\n%s", f.line, err, text)
		}
	}
	command := strings.ReplaceAll(s[0].command, "-p 5000", "-p 0")
	cmd := r.shell("exec " + command + " 1>&2")           // the log is standard error
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as a terminal does
	r.t.Cleanup(func() {                                  // what "go run" has left
		if cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // an error says that there is nothing
		}
	})
	r.program, r.goRun = testkit.StartAnyExit(r.t, cmd), strings.HasPrefix(s[0].command, "go run ")
	r.t.Cleanup(r.stop)
	if log := r.program.Log.String(); !matches(r.here(s[0].output, r.address()), log) {
		r.t.Errorf("line %d: %s\nwrote:\n%s\nthe page shows:\n%s", f.line, s[0].command, log, s[0].output)
	}
}

// stop stops the server that serves, as the reader does with Ctrl-C. "go run" leaves that signal to the
// program that it has started. It exits with 1 then, and tells the exit code of the program.
func (r *reader) stop() {
	if r.program == nil {
		return
	}
	program := r.program
	r.program = nil
	if err := syscall.Kill(-program.Process.Pid, syscall.SIGINT); err != nil {
		r.t.Errorf("stop the server: %v", err)
	}
	code, goRun := program.Wait(), r.goRun
	if !goRun && code != 0 || goRun && strings.Contains(program.Log.String(), "exit status") {
		r.t.Errorf("the server ended with code %d:\n%s", code, &program.Log)
	}
}

// matches reports whether output is what a page shows, where "..." stands for anything.
func matches(shown, output string) bool {
	if shown == "" {
		return output == ""
	}
	pattern := strings.ReplaceAll(regexp.QuoteMeta(shown), `\.\.\.`, `.*?`)
	return regexp.MustCompile(`(?s)^` + pattern + `$`).MatchString(output)
}

func TestMatchesIsStrict(t *testing.T) {
	for _, c := range []struct {
		name, shown, output string
		want                bool
	}{
		{"the same text", "a\nb\n", "a\nb\n", true},
		{"no output, and none is shown", "", "", true},
		{"output that the page does not show", "", "a\n", false},
		{"a line more", "a\n", "a\nb\n", false},
		{"a line less", "a\nb\n", "a\n", false},
		{"dots within a line", "pid=... ok\n", "pid=12 ok\n", true},
		{"dots for lines", "a\n...\nd\n", "a\nb\nc\nd\n", true},
		{"dots and another end", "a\n...\nd\n", "a\nb\ne\n", false},
		{"a point is a point", "a.b\n", "axb\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := matches(c.shown, c.output); got != c.want {
				t.Errorf("matches(%q, %q) is %v", c.shown, c.output, got)
			}
		})
	}
}
