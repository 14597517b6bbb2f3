package conformance

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/bridge/cgi"
	"github.com/pagi-go/pagi-bridge/bridge/cgi/perlfork"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

const (
	// debianVariable is "all" for all packages; only those with a + are taken by default.
	debianVariable = "DEBIAN_CGI"
	// debianCacheVariable names a directory where the unpacked packages are kept. The user
	// called nobody must be able to read what is in it.
	debianCacheVariable = "DEBIAN_CGI_CACHE"
	// debianScriptVariable picks scripts by a part of their paths.
	debianScriptVariable = "DEBIAN_CGI_SCRIPT"
)

// debianList is the content of testdata/debian-cgi.txt.
type debianList struct {
	packages []string
	leave    []string
	differs  map[string][]string // by mode
}

func readDebianList(t *testing.T, all bool) debianList {
	t.Helper()
	text, err := os.ReadFile("testdata/debian-cgi.txt")
	if err != nil {
		t.Fatal(err)
	}
	list := debianList{differs: map[string][]string{}}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || strings.HasPrefix(line, "#"):
		case words[0] == "package" && len(words) == 2:
			if name, every := strings.CutSuffix(words[1], "+"); all || every {
				list.packages = append(list.packages, name)
			}
		case words[0] == "leave" && len(words) > 2:
			list.leave = append(list.leave, words[1])
		case words[0] == "differs" && len(words) > 3:
			list.differs[words[1]] = append(list.differs[words[1]], words[2])
		default:
			t.Fatalf("debian-cgi.txt: %q", line)
		}
	}
	return list
}

// unpack fetches the packages and unpacks them into one directory.
func (l debianList) unpack(t *testing.T) string {
	t.Helper()
	testkit.Tool(t, "dpkg-deb", "dpkg")
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("this is no Debian: there is no apt-get to fetch the packages with")
	}
	root := os.Getenv(debianCacheVariable)
	if root == "" {
		root = t.TempDir()
	}
	debs := filepath.Join(root, "debs")
	if err := os.MkdirAll(debs, 0o755); err != nil {
		t.Fatal(err)
	}
	tree := filepath.Join(root, "tree")
	updated := os.Getuid() != 0 // only root may update the lists
	for _, name := range l.packages {
		if have, _ := filepath.Glob(filepath.Join(debs, name+"_*.deb")); len(have) > 0 {
			continue
		}
		output, err := aptGet(debs, "download", "-q", name)
		if err != nil && !updated {
			updated = true
			if output, err = aptGet(debs, "update", "-q"); err == nil {
				output, err = aptGet(debs, "download", "-q", name)
			}
		}
		if err != nil {
			t.Skipf("apt-get cannot download %s: %s", name, output)
		}
		have, _ := filepath.Glob(filepath.Join(debs, name+"_*.deb"))
		if len(have) != 1 {
			t.Fatalf("%s was downloaded as %q", name, have)
		}
		if output, err := exec.Command("dpkg-deb", "-x", have[0], tree).CombinedOutput(); err != nil {
			t.Fatalf("unpack %s: %s", have[0], output)
		}
	}
	return tree
}

func aptGet(directory string, args ...string) (output []byte, err error) {
	cmd := exec.Command("apt-get", args...)
	cmd.Dir = directory
	return cmd.CombinedOutput()
}

// inDebian matches the paths at which packages keep CGI scripts, and examples of them.
var inDebian = regexp.MustCompile(`/cgi-bin/|\.cgi(\.gz)?$|/cgi/|/www/|/examples/|/web/`)

// isCGI matches text that shows that a Perl script answers by CGI.
var isCGI = regexp.MustCompile(`(?i)content-?type|\bCGI\b`)

// perlLine matches the first line of a Perl script, whatever path it gives for perl.
var perlLine = regexp.MustCompile(`^#!\s*\S*?perl\S*`)

// scripts finds the Perl CGI scripts below a directory. It makes them executable and puts Debian's
// path of perl into their first lines.
func (l debianList) scripts(t *testing.T, tree string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(tree, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || !inDebian.MatchString(path) {
			return err
		}
		text, err := readScript(path)
		if err != nil || !perlLine.Match(text) || !isCGI.Match(text) {
			return err
		}
		path = strings.TrimSuffix(path, ".gz")
		if isOneOf(l.leave, path) {
			return nil
		}
		all = append(all, path)
		if err := os.WriteFile(path, perlLine.ReplaceAll(text, []byte("#!/usr/bin/perl")), 0o755); err != nil {
			return err
		}
		return os.Chmod(path, 0o755)
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func isOneOf(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return strings.Contains(path, pattern) })
}

// readScript reads a file of 1 MB at most; documentation may be compressed.
func readScript(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // opened for reading
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, err
		}
	}
	text, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err != nil || len(text) == 1<<20 {
		return nil, err
	}
	return text, nil
}

// debianRequests are the requests that each script gets.
var debianRequests = []struct{ method, query, body string }{
	{"GET", "", ""},
	{"GET", "?a=1&b=two%20words&action=view&id=7", ""},
	{"POST", "?x=1", "name=J&email=a%40b.c&comment=hi&submit=1"},
}

// answer is the part of a script's answer that can be compared.
type answer struct {
	Status int
	Head   string
	Body   string
	Stderr string
}

// varying are the parts of answers that differ from one process, or one second, to the next.
var varying = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b`), "DAY"},
	{regexp.MustCompile(`0x[0-9a-f]+|\b[0-9a-f]{16,}\b`), "HEX"},
	{regexp.MustCompile(`[0-9]+`), "N"},
	{regexp.MustCompile(`UNIQUE_ID\W+\S+`), "UID"},
}

// leveled returns a with all varying parts replaced. With bag it sorts the words of each part,
// because hashes have another order in each process.
func (a answer) leveled(bag bool) answer {
	level := func(s string) string {
		for _, v := range varying {
			s = v.pattern.ReplaceAllString(s, v.by)
		}
		if bag {
			words := strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(" \t\r\n&;,=\"'<>", r) })
			slices.Sort(words)
			s = strings.Join(words, "\n")
		}
		return s
	}
	return answer{a.Status, level(a.Head), level(a.Body), level(a.Stderr)}
}

// shared matches what processes may have in common: the time in seconds, and addresses where the
// same process has forked them.
var shared = regexp.MustCompile(`\b[0-9]{1,2}:[0-9]{2}:[0-9]{2}\b|\b1[0-9]{9}\b|0x[0-9a-f]+`)

// particular returns a without the parts that its process may share with others.
func (a answer) particular() answer {
	cut := func(s string) string { return shared.ReplaceAllString(s, "SHARED") }
	return answer{a.Status, cut(a.Head), cut(a.Body), cut(a.Stderr)}
}

// debianScript is a script and the answers that it may give.
type debianScript struct {
	path  string
	env   map[string]string
	bag   bool // the order of hashes is random
	seen  []map[answer]bool
	whole []map[answer]int // how often each answer came, but for what is shared
}

// debianSeeds are the values of PERL_HASH_SEED; with "" perl chooses one at random.
var debianSeeds = []string{"0", "1", ""}

// serve sends the script each request in each round, in one mode.
func (s *debianScript) serve(t *testing.T, mode string, rounds int) (all [][]answer) {
	t.Helper()
	log := &testkit.Log{}
	options := cgi.CGI{
		Script: s.path, Env: s.env, RequestTimeout: 20 * time.Second, KillAfter: time.Second,
		Logger: log.Logger(), StderrRate: -1, Options: perlfork.Options{Mode: mode, PersistentWorkers: 1},
	}
	if os.Getuid() == 0 {
		options.User = "nobody"
	}
	app, err := options.Build()
	if err != nil {
		t.Fatal(err)
	}
	client := pagitest.New(app)
	client.Timeout = time.Minute
	if err := client.Startup(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := client.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	all = make([][]answer, len(debianRequests))
	for range rounds {
		for i, r := range debianRequests {
			from := len(log.String())
			options := []pagitest.Option{pagitest.Header("cookie", "flavour=oat; size=3"), pagitest.Header("accept", "text/html")}
			if r.body != "" {
				options = append(options, pagitest.Header("content-type", "application/x-www-form-urlencoded"), pagitest.Body(r.body))
			}
			res := client.Do(r.method, "/"+r.query, options...)
			client.ClearCookies()
			a := answer{Status: res.Status, Body: string(res.Body)}
			for _, h := range res.Headers {
				if h.Name != "date" && h.Name != "content-length" {
					a.Head += h.Name + ": " + h.Value + "\n"
				}
			}
			for _, m := range debianStderr.FindAllStringSubmatch(log.String()[from:], -1) {
				a.Stderr += m[1] + "\n"
			}
			all[i] = append(all[i], a)
		}
	}
	return all
}

var debianStderr = regexp.MustCompile(`msg="script stderr" .*line=(.*)\n`)

// learn remembers the answers of mode exec.
func (s *debianScript) learn(all [][]answer) {
	if s.seen == nil {
		s.seen, s.whole = make([]map[answer]bool, len(all)), make([]map[answer]int, len(all))
		for i := range all {
			s.seen[i], s.whole[i] = map[answer]bool{}, map[answer]int{}
		}
	}
	for i, answers := range all {
		for _, a := range answers {
			s.seen[i][a.leveled(s.bag)] = true
			s.whole[i][a.particular()]++
		}
	}
}

// check compares the answers of another mode with those of exec.
func (s *debianScript) check(all [][]answer) error {
	for i, answers := range all {
		own := map[answer]int{}
		for round, a := range answers {
			own[a.particular()]++
			if is := a.leveled(s.bag); !s.seen[i][is] {
				like := slices.Collect(maps.Keys(s.seen[i]))[0]
				return fmt.Errorf("%s %s, round %d: exec never answers so:\n%s", debianRequests[i].method, debianRequests[i].query, round, cmp.Diff(like, is))
			}
		}
		if allDiffer(s.whole[i]) && !allDiffer(own) {
			return fmt.Errorf("%s %s: what differs in each answer of exec is the same in several", debianRequests[i].method, debianRequests[i].query)
		}
	}
	return nil
}

// allDiffer reports whether several answers came, and none of them twice.
func allDiffer(answers map[answer]int) bool {
	for _, n := range answers {
		if n > 1 {
			return false
		}
	}
	return len(answers) > 2
}

// TestDebianCGI runs the Perl CGI scripts that Debian's packages ship in all modes, with several
// seeds of perl's hashes. Every answer must be one that a started process gives, too.
func TestDebianCGI(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	whole := os.Getenv(debianVariable) == "all"
	list := readDebianList(t, whole)
	seeds, rounds := debianSeeds, 10/len(debianRequests)+1
	if !whole {
		seeds, rounds = []string{"0"}, 3 // mode auto has compiled a script by then
	}
	tree := list.unpack(t)
	scripts := list.scripts(t, tree)
	if least := len(list.packages); len(scripts) < least {
		t.Fatalf("%d packages have %d scripts: too few of them were found", least, len(scripts))
	}
	scratch := t.TempDir()
	if err := os.Chmod(scratch, 0o777); err != nil {
		t.Fatal(err)
	}
	library := strings.Join([]string{filepath.Join(tree, "usr/share/perl5"), filepath.Join(tree, "usr/lib/x86_64-linux-gnu/perl5/5.36")}, ":")
	for _, path := range scripts {
		name, err := filepath.Rel(tree, path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(name, os.Getenv(debianScriptVariable)) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, seed := range seeds {
				s := &debianScript{path: path, bag: seed == "", env: map[string]string{"PERL5LIB": library, "TMPDIR": scratch, "HOME": scratch}}
				if seed != "" {
					s.env["PERL_HASH_SEED"], s.env["PERL_PERTURB_KEYS"] = seed, "0"
				}
				s.learn(s.serve(t, "exec", rounds))
				for _, mode := range []string{"fork", "auto", "persistent"} {
					if isOneOf(list.differs[mode], path) {
						continue
					}
					answers := s.serve(t, mode, rounds)
					err := s.check(answers)
					if err != nil { // the answer may also be rare under exec
						s.learn(s.serve(t, "exec", 2*rounds))
						err = s.check(answers)
					}
					if err != nil {
						t.Errorf("mode %s, PERL_HASH_SEED=%q: %v", mode, seed, err)
					}
				}
			}
		})
	}
}
