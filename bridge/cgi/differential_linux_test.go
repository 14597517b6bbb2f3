//go:build amd64 || arm64 || riscv64

package cgi

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/perlfork"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// corpus is a directory of Perl scripts, each of which does one thing that could come
// out differently where a script is compiled once. Lines that begin with "#: " say
// how it is tested:
//
//	#: GET ?a=1                     a request; without any there is one, "GET"
//	#: POST /info?b=2 TYPE BODY     BODY is a Go string without its quotes
//	#: exec REGEXP                  it must be run by exec, for a reason that matches
//	#: persistent exec REGEXP       the same, for mode persistent alone
//	#: persistent differs WHY       mode persistent need not write the same
//	#: keep                         SCRATCH is emptied before the first request alone
//
// The environment variable CGI_CORPUS=full has each script asked ten times with each of several
// seeds of perl's hashes.
const corpus = "testdata/corpus"

type specimen struct {
	name           string
	requests       []ask
	exec           string // why it cannot be forked
	persistentExec string // why it cannot be persistent
	differs        bool   // where it is persistent
	keep           bool   // what is in SCRATCH
}

// specimens reads the corpus.
func specimens(t *testing.T) []specimen {
	t.Helper()
	files, err := filepath.Glob(corpus + "/*.cgi")
	if err != nil || len(files) < 60 {
		t.Fatalf("%d scripts in %s, %v", len(files), corpus, err)
	}
	var all []specimen
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s := specimen{name: filepath.Base(file)}
		for line := range strings.Lines(string(text)) {
			directive, ok := strings.CutPrefix(strings.TrimSpace(line), "#: ")
			if !ok {
				continue
			}
			if reason, ok := strings.CutPrefix(directive, "exec "); ok {
				s.exec = reason
			} else if directive == "keep" {
				s.keep = true
			} else if reason, ok := strings.CutPrefix(directive, "persistent exec "); ok {
				s.persistentExec = reason
			} else if strings.HasPrefix(directive, "persistent differs ") {
				s.differs = true
			} else {
				s.requests = append(s.requests, specimenRequest(t, s.name, directive))
			}
		}
		if s.requests == nil {
			s.requests = []ask{specimenRequest(t, s.name, "GET")}
		}
		all = append(all, s)
	}
	return all
}

func specimenRequest(t *testing.T, name, directive string) ask {
	t.Helper()
	words := strings.SplitN(directive, " ", 4)
	r := ask{method: words[0], target: "/" + name}
	if len(words) > 1 {
		r.target += words[1]
	}
	if len(words) == 4 {
		body, err := strconv.Unquote(`"` + words[3] + `"`)
		if err != nil {
			t.Fatalf("%s: %q: %v", name, words[3], err)
		}
		r.body, r.headers = body, pagi.NewHeaders("content-type", words[2])
	}
	r.headers = append(r.headers, pagi.NewHeaders("cookie", "flavour=oat; size=3", "accept-language", "de")...)
	return r
}

// outcome is what can be compared of a run.
type outcome struct {
	Status  int
	Headers []string
	Body    string
	Stderr  []string
	Error   string
}

// volatile matches what differs from run to run: pids, times, addresses.
var volatile = regexp.MustCompile(`\b(pid |process )[0-9]+|\w{3} \w{3} [ 0-9]\d \d\d:\d\d:\d\d \d{4}|0x[0-9a-f]{6,}|UNIQUE_ID=\S+|date: .*`)

// largeText is from where on a text is compared as it is: the expression takes a minute for a
// megabyte with the race detector. No script of the corpus writes so much of what is volatile.
const largeText = 64 << 10

func normal(s string) string {
	if len(s) >= largeText {
		return s
	}
	return volatile.ReplaceAllString(s, "~")
}

// run serves one request with an empty directory in SCRATCH, and tells what came of it.
func (d *directoryInMode) run(t *testing.T, r ask) outcome {
	t.Helper()
	d.clear(t)
	return d.ask(t, r)
}

// clear empties SCRATCH.
func (d *directoryInMode) clear(t *testing.T) {
	t.Helper()
	for _, name := range glob(t, filepath.Join(d.scratch, "*")) {
		if err := os.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
	}
}

func (d *directoryInMode) ask(t *testing.T, r ask) outcome {
	t.Helper()
	d.log.reset()
	res := do(t, d.app, r)
	o := outcome{Status: res.status, Body: normal(res.body), Stderr: d.log.stderr()}
	for _, h := range res.headers {
		o.Headers = append(o.Headers, normal(h.Name+": "+h.Value))
	}
	if res.err != nil {
		o.Error = normal(res.err.Error())
	}
	return o
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// directoryInMode is the corpus, served in one mode.
type directoryInMode struct {
	app     *app
	log     *runLog
	scratch string
}

func serveIn(t *testing.T, mode, scratch string, options CGI) *directoryInMode {
	t.Helper()
	d := &directoryInMode{log: &runLog{}, scratch: scratch}
	if options.Root == "" {
		options.Root = corpus
	}
	options.Mode, options.Logger = mode, d.log.Logger()
	env := map[string]string{"SCRATCH": scratch}
	maps.Copy(env, options.Env)
	options.Env = env
	options.DocumentRoot = corpus
	d.app = build(t, options).(*app)
	if err := d.app.startup(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.app.shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return d
}

// runLog is a log of which one run's part can be looked at.
type runLog struct {
	testkit.Log
	from int
}

func (l *runLog) reset() { l.from = len(l.String()) }

var stderrRecord = regexp.MustCompile(`msg="script stderr" .*line=(.*)\n`)

func (l *runLog) stderr() []string {
	var lines []string
	for _, m := range stderrRecord.FindAllStringSubmatch(l.String()[l.from:], -1) {
		lines = append(lines, normal(m[1]))
	}
	return lines
}

// settle waits until it is known how a script is run, and returns why by exec, or "".
func (d *directoryInMode) settle(t *testing.T, name string) string {
	t.Helper()
	file, err := filepath.Abs(filepath.Join(d.app.Root, name))
	if err != nil {
		t.Fatal(err)
	}
	var why string
	testkit.Eventually(t, name+" to be compiled, or not", func() bool {
		s := d.status(file)
		why = s.Reason
		return s.State == perlfork.Compiled || s.State == perlfork.Refused || time.Now().Before(s.Again) // its files change too often
	})
	return why
}

// full is whether the corpus is run at length.
var full = os.Getenv("CGI_CORPUS") == "full"

// rounds returns how often each request of the corpus is made.
func rounds() int {
	if full {
		return 10
	}
	return perlfork.Worthwhile + 2
}

// TestEveryModeGivesTheSame runs the corpus in all modes.
func TestEveryModeGivesTheSame(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	seeds := []string{"random"}
	if full {
		seeds = append(seeds, "0", "1")
	}
	for _, seed := range seeds {
		t.Run("seed "+seed, func(t *testing.T) { everyModeGivesTheSame(t, seed) })
	}
}

func everyModeGivesTheSame(t *testing.T, seed string) {
	options := CGI{}
	if seed != "random" {
		options.Env = map[string]string{"PERL_HASH_SEED": seed, "PERL_PERTURB_KEYS": "0"}
	}
	scratch := t.TempDir()
	exec := serveIn(t, ModeExec, scratch, options)
	modes := []string{ModeAuto, ModePersistent} // auto forks once a script is compiled
	if full {
		modes = append(modes, ModeFork)
	}
	others := map[string]*directoryInMode{}
	for _, mode := range modes {
		others[mode] = serveIn(t, mode, scratch, options)
	}
	for _, s := range specimens(t) {
		t.Run(s.name, func(t *testing.T) {
			if s.name == "begincalendar.cgi" {
				skipAtNewYear(t)
			}
			wants := exec.series(t, s)
			for _, mode := range modes {
				t.Run(mode, func(t *testing.T) { others[mode].compare(t, s, mode, wants) })
			}
		})
	}
}

// series runs a script by exec: what comes of each request in each round.
func (d *directoryInMode) series(t *testing.T, s specimen) [][]outcome {
	t.Helper()
	var all [][]outcome
	d.clear(t)
	for round := range rounds() {
		if round > 0 && !s.keep && !full { // each is like the first
			all = append(all, all[0])
			continue
		}
		var those []outcome
		for _, r := range s.requests {
			those = append(those, d.next(t, s, r))
		}
		all = append(all, those)
	}
	return all
}

func (d *directoryInMode) next(t *testing.T, s specimen, r ask) outcome {
	t.Helper()
	if s.keep {
		return d.ask(t, r)
	}
	return d.run(t, r)
}

// compare runs a script until it is known how it is run, and then some times more.
func (d *directoryInMode) compare(t *testing.T, s specimen, mode string, wants [][]outcome) {
	d.clear(t)
	for round := range rounds() {
		for i, r := range s.requests {
			want, got := wants[round][i], d.next(t, s, r)
			if s.differs && mode == ModePersistent {
				want, got = outcome{Status: want.Status, Error: want.Error}, outcome{Status: got.Status, Error: got.Error}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("round %d, %s %s: differs from exec:\n%s", round, r.method, r.target, diff)
			}
		}
		if round+1 < perlfork.Worthwhile {
			continue
		}
		why := d.settle(t, s.name)
		want := s.exec
		if want == "" && mode == ModePersistent {
			want = s.persistentExec
		}
		if want == "" && why != "" || want != "" && why == "" || !regexp.MustCompile(want).MatchString(why) {
			t.Fatalf("it is run by exec because of %q, want %q", why, want)
		}
	}
}
