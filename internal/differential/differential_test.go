package differential_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/bridge/perlpagi"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/internal/testkit/upstream"
	"github.com/pagi-go/pagi-bridge/server"
)

var update = flag.Bool("update", false, "write the answers, and the differences if the references are there")

// unfinished is how long a reference may leave a case without anything new. Some cases it never finishes.
const unfinished = 1500 * time.Millisecond

func cases() []test { return slices.Concat(httpCases, bodyCases, orderCases, sseCases, websocketCases) }

func TestNamesOfCases(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range cases() {
		if c.name == "" || seen[c.name] {
			t.Errorf("the name %q is given twice", c.name)
		}
		seen[c.name] = true
	}
	if len(seen) < 170 {
		t.Errorf("%d cases, want 170 or more", len(seen))
	}
}

// contestant is a server that the cases are put to.
type contestant struct {
	address  func() string // starts the server, if it has ended
	trace    string        // the directory of the logs
	patience time.Duration
	ended    func() bool // whether the server has ended by itself
	strict   bool        // whether a case that is not finished in time is an error
}

// scratch makes a directory for logs, with the files that scripts name.
func scratch(t *testing.T) string {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "data"), []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "large"), bytes.Repeat([]byte("0123456789"), 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// bridge is pagi-bridge: a server with the application, speaking a version of the specification.
func bridge(t *testing.T, spec string) *contestant {
	dir := scratch(t)
	log := new(testkit.Log)
	o := perlpagi.PAGI{App: "testdata/script.pl", Lib: []string{"testdata/lib"}, Spec: spec, Env: map[string]string{"TRACE": dir}, Logger: log.Logger()}
	o.Workers = 1
	app, err := o.Build()
	if err != nil {
		t.Fatal(err)
	}
	addrs := make(chan []net.Addr, 1)
	s := &server.Server{App: app, Listen: []string{"127.0.0.1:0"}, Logger: log.Logger(), Ready: func(a []net.Addr) error { addrs <- a; return nil }}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := testkit.Await(t, ended); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", log)
		}
	})
	select {
	case a := <-addrs:
		return &contestant{address: a[0].String, trace: dir, patience: testkit.Patience, ended: func() bool { return false }, strict: true}
	case err := <-ended:
		t.Fatalf("%v\n%s", err, log)
		return nil
	}
}

// reference is a reference server. It is started again where a case has ended it.
func reference(t *testing.T, r *upstream.Release) *contestant {
	dir := scratch(t)
	var s *upstream.Server
	return &contestant{trace: dir, patience: unfinished, ended: func() bool { return s.HasEnded() }, address: func() string {
		if s == nil || s.HasEnded() {
			s = r.Start(t, "testdata/script.pl", "TRACE="+dir)
		}
		u, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		return u.Host
	}}
}

// put puts a case to a server, and returns the transcript.
func (c *contestant) put(t *testing.T, number string, one *test) []string {
	t.Helper()
	cl, err := dial(c.address(), c.patience)
	if errors.Is(err, syscall.ECONNREFUSED) {
		testkit.Eventually(t, "the end of the server", c.ended) // it is ending because of the case before
		cl, err = dial(c.address(), c.patience)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer cl.conn.Close()
	cl.traced = func(text string) error {
		for deadline := time.Now().Add(c.patience); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
			lines, _ := c.logged(number)
			if strings.Contains(strings.Join(lines, "\n"), text) {
				return nil
			}
		}
		return errHangs
	}
	err = cl.converse(one, number)
	lines := cl.transcript(one)
	if errors.Is(err, errHangs) {
		lines = append(lines, "the server leaves it unfinished")
	} else if err != nil {
		t.Fatal(err)
	}
	// The application ends at the latest when its client has gone.
	_ = cl.conn.Close() // it may be closed already
	log, ended := c.log(number)
	if !ended {
		log = append(log, "app: it goes on")
	}
	if c.ended() || cl.ended && cl.got.Len() == 0 && c.ends() {
		log = append(log, "the server has ended")
	}
	if one.racy || !slices.ContainsFunc(log, func(l string) bool {
		return strings.HasPrefix(l, "app: send ") && strings.HasSuffix(l, "response.start")
	}) {
		// The server answers itself. The words are its own: PAGI::Spec::Www, "Server-Supplied Headers and Behaviors".
		for i, line := range lines {
			if strings.HasPrefix(line, "header content-") || strings.HasPrefix(line, "body ") {
				lines[i] = "~ " + line
			}
		}
	}
	if !one.racy {
		lines = append(lines, log...)
	}
	if c.strict && (err != nil || !ended) {
		t.Errorf("it is not finished in time:\n%s", strings.Join(lines, "\n"))
	}
	return lines
}

// ends reports whether a server that has closed a connection without a word ends soon.
func (c *contestant) ends() bool {
	for deadline := time.Now().Add(c.patience / 3); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if c.ended() {
			return true
		}
	}
	return false
}

// log returns what the application has logged, once it has ended, or after patience.
func (c *contestant) log(number string) (lines []string, ended bool) {
	for deadline := time.Now().Add(c.patience); ; time.Sleep(2 * time.Millisecond) {
		if lines, ended = c.logged(number); ended || time.Now().After(deadline) {
			return lines, ended
		}
	}
}

// logged returns what the application has logged by now, and whether it has ended. The bodies of events that follow one
// another are put together: how a body is divided into events does not matter.
func (c *contestant) logged(number string) (lines []string, ended bool) {
	text, err := os.ReadFile(filepath.Join(c.trace, number))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return []string{err.Error()}, false
	}
	begun := 0
	for line := range strings.Lines(string(text)) {
		lines = append(lines, "app: "+strings.TrimSuffix(line, "\n"))
		if strings.HasPrefix(line, "scope ") {
			begun++
		} else if strings.HasPrefix(line, "end: ") {
			begun--
		}
	}
	return merged(lines), begun == 0
}

var (
	requestEvent = regexp.MustCompile(`^(app: receive (?:http|sse)\.request) body=(?:"(.*)"|\((\d+) of .*\)) more="([01])"$`)
	escaped      = regexp.MustCompile(`\\x\{[0-9a-f]+\}`)
)

// merged puts the bodies of events together that follow one another.
func merged(lines []string) (out []string) {
	var label, text string
	total, pending := 0, false
	flush := func(more string) {
		if !pending {
			return
		}
		body := `body="` + text + `"`
		if total > 200 {
			body = fmt.Sprintf("body of %d bytes", total)
		}
		out = append(out, fmt.Sprintf("%s %s more=%q", label, body, more))
		text, total, pending = "", 0, false
	}
	for _, line := range lines {
		m := requestEvent.FindStringSubmatch(line)
		if m == nil {
			flush("1")
			out = append(out, line)
			continue
		}
		size := len(escaped.ReplaceAllString(m[2], "?"))
		if m[3] != "" {
			size, _ = strconv.Atoi(m[3]) // digits alone match
		}
		label, text, total, pending = m[1], text+m[2], total+size, true
		if m[4] == "0" {
			flush("0")
		}
	}
	flush("1")
	return out
}

// run puts all cases to a server. It returns the transcripts by the names of the cases.
func run(t *testing.T, c *contestant) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for i, one := range cases() {
		t.Run(one.name, func(t *testing.T) { all[one.name] = c.put(t, strconv.Itoa(i), &one) })
	}
	return all
}

func needs(t *testing.T) {
	t.Helper()
	for _, module := range []string{"IO::Async::Loop", "Future::AsyncAwait"} {
		if exec.Command(testkit.Tool(t, "perl", "perl"), "-M"+module, "-e", "1").Run() != nil {
			t.Skipf("perl has no module %s", module)
		}
	}
}

// pagi-bridge answers each case as it did before, by both versions of the specification.
func TestAnswers(t *testing.T) {
	needs(t)
	var first map[string][]string
	for _, spec := range []string{"0.3", "0.1"} {
		t.Run(spec, func(t *testing.T) {
			got := run(t, bridge(t, spec))
			path := "testdata/answers-" + spec + ".txt"
			if first == nil {
				first = got
			} else {
				for name := range got {
					if slices.Equal(got[name], first[name]) {
						got[name] = nil // the file has what differs
					}
				}
			}
			if *update {
				write(t, path, got)
				return
			}
			want := read(t, path)
			for name := range got {
				if diff := cmp.Diff(want[name], got[name]); diff != "" {
					t.Errorf("%s: the answer is not that of %s:\n%s", name, path, diff)
				}
			}
		})
	}
}

func write(t *testing.T, path string, all map[string][]string) {
	t.Helper()
	var text strings.Builder
	for _, one := range cases() {
		if lines := all[one.name]; lines != nil {
			fmt.Fprintf(&text, "== %s\n%s\n", one.name, strings.Join(lines, "\n"))
		}
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil { //nolint:gosec // a file of the tree
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for _, part := range strings.Split("\n"+string(text), "\n== ")[1:] {
		lines := strings.Split(strings.TrimSuffix(part, "\n"), "\n")
		all[lines[0]] = lines[1:]
	}
	return all
}

// differences are what the references do otherwise.
type differences struct {
	// Reasons are by a short name.
	Reasons map[string]reason `json:"reasons"`
	// Cases are by the names of the cases, and then by that of the release.
	Cases map[string]map[string]difference `json:"cases"`
}

// reason says why servers differ, and who is right.
type reason struct {
	// Right is "pagi-bridge", "the reference", or "both" where the specification leaves it open.
	Right string `json:"right"`
	// Section is where the specification says so, or the RFC.
	Section string `json:"section"`
	Why     string `json:"why"`
}

// difference is how the transcript of a reference differs from pagi-bridge's: lines that begin with "-" are
// pagi-bridge's, with "+" the reference's.
type difference struct {
	Reasons []string `json:"reasons"`
	Lines   []string `json:"lines"`
}

const differencesFile = "testdata/differences.json"

func known(t *testing.T) *differences {
	t.Helper()
	text, err := os.ReadFile(differencesFile)
	if err != nil {
		t.Fatal(err)
	}
	d := &differences{}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(d); err != nil {
		t.Fatal(err)
	}
	if d.Cases == nil {
		d.Cases = map[string]map[string]difference{}
	}
	return d
}

// The reference servers give the same answers, but for the differences that are known. A difference that no longer
// exists is an error, too.
func TestReferences(t *testing.T) {
	releases := upstream.Releases(t)
	needs(t)
	d := known(t)
	for _, r := range releases {
		t.Run(r.Name, func(t *testing.T) {
			ours, theirs := run(t, bridge(t, r.Spec)), run(t, reference(t, r))
			same := 0
			for _, one := range cases() {
				lines := differing(comparable(ours[one.name]), comparable(theirs[one.name]))
				want := d.Cases[one.name][r.Name]
				if *update {
					d.set(one.name, r.Name, lines)
				} else if !slices.Equal(lines, want.Lines) {
					t.Errorf("%s: it differs like this:\n%s\nbut this is known:\n%s", one.name, strings.Join(lines, "\n"), strings.Join(want.Lines, "\n"))
				}
				if lines == nil {
					same++
				}
			}
			t.Logf("%d of %d cases are alike", same, len(cases()))
		})
	}
	if !*update {
		return
	}
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(differencesFile, append(text, '\n'), 0o644); err != nil { //nolint:gosec // a file of the tree
		t.Fatal(err)
	}
}

func (d *differences) set(name, release string, lines []string) {
	if lines == nil {
		delete(d.Cases[name], release)
		if len(d.Cases[name]) == 0 {
			delete(d.Cases, name)
		}
		return
	}
	if d.Cases[name] == nil {
		d.Cases[name] = map[string]difference{}
	}
	reasons := d.Cases[name][release].Reasons
	if reasons == nil {
		reasons = []string{}
	}
	d.Cases[name][release] = difference{reasons, lines}
}

// comparable leaves out the lines that are a server's own.
func comparable(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.HasPrefix(l, "~") })
}

// differing returns the lines of one transcript only with "-", those of the other one only with "+", in their order.
func differing(ours, theirs []string) (lines []string) {
	// The longest common subsequence.
	length := make([][]int, len(ours)+1)
	for i := range length {
		length[i] = make([]int, len(theirs)+1)
	}
	for i := len(ours) - 1; i >= 0; i-- {
		for j := len(theirs) - 1; j >= 0; j-- {
			if ours[i] == theirs[j] {
				length[i][j] = length[i+1][j+1] + 1
			} else {
				length[i][j] = max(length[i+1][j], length[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(ours) || j < len(theirs) {
		switch {
		case i < len(ours) && j < len(theirs) && ours[i] == theirs[j]:
			i, j = i+1, j+1
		case j == len(theirs) || i < len(ours) && length[i+1][j] >= length[i][j+1]:
			lines = append(lines, "- "+ours[i])
			i++
		default:
			lines = append(lines, "+ "+theirs[j])
			j++
		}
	}
	return lines
}

// Each known difference has reasons, each reason is used, and the page has it.
func TestReasonsOfDifferences(t *testing.T) {
	d := known(t)
	page, err := os.ReadFile("../../docs/pagi-differences.md")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, one := range cases() {
		names[one.name] = true
	}
	used := map[string]bool{}
	for name, releases := range d.Cases {
		if !names[name] {
			t.Errorf("there is no case %q", name)
		}
		for release, difference := range releases {
			if len(difference.Reasons) == 0 || len(difference.Lines) == 0 {
				t.Errorf("%s, %s: no reason or no lines", name, release)
			}
			for _, id := range difference.Reasons {
				used[id] = true
				if _, ok := d.Reasons[id]; !ok {
					t.Errorf("%s, %s: there is no reason %q", name, release, id)
				}
			}
		}
	}
	for id, r := range d.Reasons {
		if !used[id] {
			t.Errorf("no case has the reason %q", id)
		}
		if !slices.Contains([]string{"pagi-bridge", "the reference", "both"}, r.Right) || r.Section == "" || r.Why == "" {
			t.Errorf("reason %q: %+v", id, r)
		}
		if line := fmt.Sprintf("| `%s` | %s | %s |\n", id, r.Section, r.Why); !bytes.Contains(page, []byte(line)) {
			t.Errorf("docs/pagi-differences.md does not have this line:\n%s", line)
		}
	}
}
