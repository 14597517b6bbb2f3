package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// comparison is a case in which two revisions of pagi-bridge can be compared.
type comparison struct {
	title       string
	start       contestant
	app         func(*bench) (string, error) // writes or finds what is served; nil: the contestant knows
	path        string                       // what is asked for
	connections int                          // 0: as the options say
	preload     bool
}

// comparisons are the cases by name.
var comparisons = map[string]comparison{
	"hello":    {title: "a small PSGI answer", start: ours, app: writes("hello.psgi", helloApp)},
	"dancer2":  {title: "a page of Dancer2", start: dancer2.served(ours), app: dancer2.app, preload: true},
	"catalyst": {title: "a page of Catalyst", start: catalyst.served(ours), app: catalyst.app, preload: true},
	"pagi": {title: "a small answer of PAGI in Perl", start: oursPAGI,
		app: writes("pagi.pl", pagiApp)},
	"cgi-exec": {title: "a plain Perl script, mode exec", start: oursCGI, app: (*bench).cgiDirectory, path: "/cgi-bin/plain.cgi", connections: cgiConnections},
	"cgi-fork": {title: "a script with CGI.pm, mode fork", start: using("CGI", oursFork),
		app: (*bench).cgiDirectory, path: "/cgi-bin/module.cgi", connections: cgiConnections},
	"cgi-persistent": {title: "a script with CGI.pm, mode persistent", start: using("CGI", oursPersistent),
		app: (*bench).cgiDirectory, path: "/cgi-bin/module.cgi", connections: cgiConnections},
	"native": {title: "an application in Go", start: nativeGo},
	"file":   {title: "a file of 1 KiB", start: oursFiles, path: "/files/1k"},
	"file1m": {title: "a file of 1 MiB", start: oursFiles, path: "/files/1m"},
}

// guarded are the cases that are compared without names, those that matter most.
var guarded = []string{"hello", "dancer2", "cgi-fork", "native", "file"}

func writes(name, content string) func(*bench) (string, error) {
	return func(b *bench) (string, error) { return b.write(name, content) }
}

// compare measures the working tree against a revision: compare REV [CASE...]. The two run in turn, within each round in the
// order A, B, B, A.
func (b *bench) compare() (err error) {
	if len(b.args) == 0 {
		return fmt.Errorf("compare needs a revision: go run ./bench compare REV [CASE...]\n\nCases (%s without any):\n  %s",
			strings.Join(guarded, ", "), strings.Join(slices.Sorted(maps.Keys(comparisons)), "\n  "))
	}
	names := b.args[1:]
	if len(names) == 0 {
		names = guarded
	}
	for _, name := range names {
		if _, known := comparisons[name]; !known {
			return fmt.Errorf("there is no case %q; there are %s", name, strings.Join(slices.Sorted(maps.Keys(comparisons)), ", "))
		}
	}
	then, remove, err := b.revision(b.args[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	for _, side := range []*bench{b, then} {
		if _, err := side.files(); err != nil {
			return err
		}
	}
	fmt.Printf("The working tree against %s: %d rounds of twice %d s each, wrk -t1; medians, and in brackets the rounds' range\n\n", b.args[0], b.rounds, b.seconds)
	fmt.Println("| | connections | then | now | rate | CPU per request |")
	fmt.Println("| --- | ---: | ---: | ---: | ---: | ---: |")
	var slower []string
	for _, name := range names {
		is, err := b.compareCase(name, then)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if is {
			slower = append(slower, name)
		}
	}
	if len(slower) > 0 && b.failBelow > 0 {
		return fmt.Errorf("slower than %s, below %.2fx in the median and in every round below 1: %s", b.args[0], b.failBelow, strings.Join(slower, ", "))
	}
	return nil
}

// revision checks out a revision of this repository and builds it. remove takes the checkout away.
func (b *bench) revision(rev string) (then *bench, remove func() error, err error) {
	tree := filepath.Join(b.dir, "tree")
	if err := git("worktree", "add", "--detach", tree, rev); err != nil {
		return nil, nil, err
	}
	remove = func() error { return git("worktree", "remove", "--force", tree) }
	then = &bench{options: b.options, dir: filepath.Join(b.dir, "then"), tree: tree, report: b.report}
	then.binary = filepath.Join(then.dir, "pagi-bridge")
	if err = os.Mkdir(then.dir, 0o711); err == nil {
		err = then.build(then.binary, "./cmd/pagi-bridge")
	}
	if err != nil {
		return nil, nil, errors.Join(err, remove())
	}
	return then, remove, nil
}

func git(args ...string) error {
	cmd := exec.Command("git", args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// compareCase measures one case and prints its line. It reports whether the working tree is slower.
func (b *bench) compareCase(name string, then *bench) (slower bool, err error) {
	c := comparisons[name]
	if !b.isHere(c.start) {
		return false, nil
	}
	x := bout{contestant: c.start, workers: b.workers, connections: c.connections, preload: c.preload}
	if x.connections == 0 {
		x.connections = b.conns
	}
	if c.app != nil {
		if x.app, err = c.app(b); err != nil {
			return false, err
		}
	}
	earlier := x
	earlier.name, x.name = b.args[0], "the working tree"
	earlier.contestant.start = func(_ *bench, s setup) ([]*exec.Cmd, error) { return c.start.start(then, s) }
	results, err := abba(b.rounds, fresh(b, [2]bout{earlier, x}, func(x *bout, url string, processes []*exec.Cmd) (load, error) {
		return b.throughput(x, url+c.path, processes)
	}), meanLoad)
	if err != nil {
		return false, err
	}
	rate := b.duel(name, c.title, [2]bout{earlier, x}, results)
	if n := sumErrors(results[1]); n > 0 {
		return false, fmt.Errorf("%.0f requests failed", n)
	}
	return median(rate, itself) < b.failBelow && slices.Max(rate) < 1, nil
}

// duel prints how the second of two bouts compares with the first, and returns the rounds' ratios of their rates.
func (b *bench) duel(name, title string, both [2]bout, results [2][]load) (rate []float64) {
	rate = ratios(results[1], results[0], func(l load) float64 { return l.rate })
	cpu := ratios(results[1], results[0], func(l load) float64 { return float64(l.cpu) })
	fmt.Printf("| %s | %d | %.0f/s, %v | %.0f/s, %v | %s | %s |\n", title, both[1].connections,
		median(results[0], func(l load) float64 { return l.rate }), medianTime(results[0], func(l load) time.Duration { return l.cpu }),
		median(results[1], func(l load) float64 { return l.rate }), medianTime(results[1], func(l load) time.Duration { return l.cpu }),
		spread(rate), spread(cpu))
	b.report.add(row{Case: name, Name: both[0].title(), Connections: both[0].connections, Workers: both[0].workers}, results[0], nil)
	b.report.add(row{Case: name, Name: both[1].title(), Connections: both[1].connections, Workers: both[1].workers, Rival: both[0].title()}, results[1], results[0])
	return rate
}

func sumErrors(list []load) (n float64) {
	for _, l := range list {
		n += l.errors
	}
	return n
}

// spread says a median and the range around it.
func spread(list []float64) string {
	return fmt.Sprintf("%.2fx (%.2f to %.2f)", median(list, itself), slices.Min(list), slices.Max(list))
}

func itself(x float64) float64 { return x }
