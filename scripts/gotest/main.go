// Command gotest runs "go test" with its arguments, prints one line per package and
// the output of what failed, and collects what was skipped: to the end of its own
// output and, one line each, to the file that $SKIPPED names.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
)

func main() {
	code, err := run(os.Args[1:], os.Stdout, os.Getenv("SKIPPED"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		code = 1
	}
	os.Exit(code)
}

// run returns go test's exit code.
func run(args []string, out io.Writer, skippedFile string) (int, error) {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	r := newReport(out)
	readErr := r.read(stdout)
	waitErr := cmd.Wait()
	if readErr != nil {
		return 0, readErr
	}
	if err := r.finish(skippedFile); err != nil {
		return 0, err
	}
	if _, exited := waitErr.(*exec.ExitError); waitErr != nil && !exited {
		return 0, waitErr
	}
	return cmd.ProcessState.ExitCode(), nil
}

// event is a line of "go test -json" (go doc test2json).
type event struct {
	Action, Package, ImportPath, Test, Output string
	Elapsed                                   float64
}

// report follows the events of a run.
type report struct {
	out     io.Writer
	output  map[string][]string // by package and test
	skipped []string
	count   map[string]int // of tests, by how they ended
}

func newReport(out io.Writer) *report {
	return &report{out: out, output: map[string][]string{}, count: map[string]int{}}
}

func (r *report) read(from io.Reader) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(r.out, lines.Text()) // go's own words, about a build that failed
			continue
		}
		r.event(e)
	}
	return lines.Err()
}

func (r *report) event(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		r.output[key] = append(r.output[key], e.Output)
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "skip":
		if e.Test != "" {
			r.skipped = append(r.skipped, short(e.Package)+" "+e.Test+": "+reason(r.output[key]))
		}
	case "fail":
		fmt.Fprint(r.out, strings.Join(r.output[key], ""))
		if e.Test == "" {
			r.unfinished(e.Package)
			fmt.Fprintf(r.out, "FAIL  %s (%.1fs)\n", short(e.Package), e.Elapsed)
		}
	case "pass":
		if e.Test == "" {
			fmt.Fprintf(r.out, "ok    %s (%.1fs)\n", short(e.Package), e.Elapsed)
		}
	}
	if e.Action == "pass" || e.Action == "fail" || e.Action == "skip" {
		delete(r.output, key)
		if e.Test != "" {
			r.count[e.Action]++
		}
	}
}

// unfinished prints the output of a failed package's tests that have not ended: a test that ran
// into the time limit is among them.
func (r *report) unfinished(pkg string) {
	for _, key := range slices.Sorted(maps.Keys(r.output)) {
		if strings.HasPrefix(key, pkg+" Test") {
			fmt.Fprint(r.out, strings.Join(r.output[key], ""))
			delete(r.output, key)
		}
	}
}

// short leaves out the module's host and owner.
func short(pkg string) string {
	if i := strings.Index(pkg, "pagi-bridge"); i >= 0 {
		return pkg[i:]
	}
	return pkg
}

// reason finds what a test gave to Skip: "    file_test.go:12: the reason".
func reason(output []string) string {
	for _, line := range output {
		if _, text, ok := strings.Cut(line, ".go:"); ok {
			if _, why, ok := strings.Cut(text, ": "); ok {
				return strings.TrimSpace(why)
			}
		}
	}
	return "no reason given"
}

func (r *report) finish(file string) error {
	slices.Sort(r.skipped)
	fmt.Fprintf(r.out, "\n%d passed, %d failed, %d skipped\n", r.count["pass"], r.count["fail"], r.count["skip"])
	if file == "" {
		for _, s := range r.skipped {
			fmt.Fprintln(r.out, " ", s)
		}
		return nil
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	for _, s := range r.skipped {
		if _, err := fmt.Fprintln(f, s); err != nil {
			f.Close()
			return err
		}
	}
	return f.Close()
}
