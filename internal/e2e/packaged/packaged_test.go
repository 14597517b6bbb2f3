// Package packaged tests the Debian and RPM packages: they are built, looked at by lintian and systemd, and installed, upgraded,
// removed and purged in a root directory of their own.
package packaged

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// program is what is packed: stripped, but not position independent as that of a release is, because then the whole program would
// be compiled once more.
var program string

// builtVariable gets the version, by the linker.
const builtVariable = "github.com/pagi-go/pagi-bridge/site/command.built"

// packed is the version that the program here is given.
const packed = "9.8.7+3.gabcdef0"

// top is the repository's top.
const top = "../../.."

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "packaged-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program = filepath.Join(dir, "pagi-bridge")
	build := exec.Command("go", "build", "-pgo=off", "-ldflags=-s -w -X "+builtVariable+"=v9.8.7-3-gabcdef0", "-o", program, "github.com/pagi-go/pagi-bridge/cmd/pagi-bridge")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		return 1
	}
	return m.Run()
}

// must runs a command that must succeed and returns its output.
func must(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestTheVersionIsGivenToThePrograms looks for the variable where programs are built.
func TestTheVersionIsGivenToThePrograms(t *testing.T) {
	for _, name := range []string{"Makefile", "packaging/build", "packaging/Containerfile"} {
		if !bytes.Contains(read(t, filepath.Join(top, name)), []byte("-X "+builtVariable+"=$")) {
			t.Errorf("%s does not set %s", name, builtVariable)
		}
	}
	if out := must(t, exec.Command(program, "--version")); !strings.HasPrefix(out, "pagi-bridge "+packed+" (") {
		t.Errorf("--version: %s", out)
	}
}

// files are what both packages must contain.
var files = []string{
	"/usr/bin/pagi-bridge", "/etc/pagi-bridge/site.yaml", "/usr/share/pagi-bridge/welcome/index.html", "/usr/share/pagi-bridge/site.schema.json",
	"/usr/share/man/man1/pagi-bridge.1.gz", "/usr/share/man/man1/pagi-bridge-status.1.gz", "/usr/share/man/man5/pagi-bridge.yaml.5.gz",
	"/lib/systemd/system/pagi-bridge.service", "/lib/systemd/system/pagi-bridge.socket",
	"/usr/share/bash-completion/completions/pagi-bridge", "/usr/share/fish/vendor_completions.d/pagi-bridge.fish", "/_pagi-bridge",
	"/usr/share/doc/pagi-bridge/changelog.gz", "/usr/share/doc/pagi-bridge/third-party-notices.gz",
}

func TestTheDeb(t *testing.T) {
	testkit.Tool(t, "dpkg-deb", "dpkg")
	deb := testkit.Pack(t, top, program, "deb")
	contents := must(t, exec.Command("dpkg-deb", "--contents", deb))
	for _, file := range append(files, "/usr/share/doc/pagi-bridge/copyright", "/usr/share/doc/pagi-bridge/changelog.Debian.gz") {
		if !strings.Contains(contents, file+"\n") {
			t.Errorf("the deb lacks %s", file)
		}
	}
	control := must(t, exec.Command("dpkg-deb", "--field", deb))
	for _, line := range []string{"Package: pagi-bridge", "Version: " + packed + "-1", "Recommends: perl", "Depends: libc6, adduser"} {
		if !strings.Contains(control, line) {
			t.Errorf("the control file lacks %q:\n%s", line, control)
		}
	}
	t.Run("lintian", func(t *testing.T) {
		// hardening-no-pie: see program. The spelling of words in the program takes as long as all else, and is no warning.
		out, err := exec.Command(testkit.Tool(t, "lintian", "lintian"), "--allow-root", "--no-cfg", "--fail-on=error,warning",
			"--suppress-tags=hardening-no-pie", "-X", "binaries/spelling", deb).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("install", func(t *testing.T) { install(t, deb) })
}

func TestTheRPM(t *testing.T) {
	rpm := testkit.Tool(t, "rpm", "rpm")
	file := testkit.Pack(t, top, program, "rpm")
	contents := must(t, exec.Command(rpm, "--query", "--list", "--package", file))
	for _, name := range files {
		if !strings.Contains(contents, name+"\n") {
			t.Errorf("the rpm lacks %s:\n%s", name, contents)
		}
	}
	if conf := must(t, exec.Command(rpm, "--query", "--configfiles", "--package", file)); conf != "/etc/pagi-bridge/site.yaml\n" {
		t.Errorf("files of configuration: %q", conf)
	}
	about := must(t, exec.Command(rpm, "--query", "--info", "--scripts", "--package", file))
	for _, part := range []string{"License     : Apache-2.0", "Version     : " + packed, "useradd --system", "systemctl preset"} {
		if !strings.Contains(about, part) {
			t.Errorf("the rpm lacks %q:\n%s", part, about)
		}
	}
}

// most is the exposure of the service by systemd-analyze security that is allowed, in tenths: "OK" ends at 4.0.
const most = "21"

func TestUnits(t *testing.T) {
	analyze := testkit.Tool(t, "systemd-analyze", "systemd")
	dir := t.TempDir()
	for _, name := range []string{"pagi-bridge.service", "pagi-bridge.socket"} {
		text := bytes.ReplaceAll(read(t, filepath.Join(top, "packaging", name)), []byte("/usr/bin/pagi-bridge"), []byte(program))
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(analyze, "verify", "--man=no", filepath.Join(dir, name)).CombinedOutput()
		if err != nil || bytes.Contains(out, []byte("pagi-bridge")) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	out, err := exec.Command(analyze, "security", "--offline=true", "--threshold="+most, filepath.Join(dir, "pagi-bridge.service")).CombinedOutput()
	if bytes.Contains(out, []byte("unrecognized option")) {
		t.Skip("this systemd-analyze cannot look at the file of a unit")
	}
	if err != nil || !bytes.Contains(out, []byte("Overall exposure level for pagi-bridge.service")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// pageUnit is a unit or a part of one in a page, below the comment with its name.
var pageUnit = regexp.MustCompile("(?s)```ini\n# /etc/systemd/system/(\\S+)\n(.*?)```")

// The units of the pages, with the parts that other pages add to them, are as systemd wants them.
func TestUnitsOfThePages(t *testing.T) {
	analyze := testkit.Tool(t, "systemd-analyze", "systemd")
	dir := t.TempDir()
	var all strings.Builder
	names := map[string]bool{}
	for _, page := range []string{"operations.md", "isolation.md"} {
		for _, m := range pageUnit.FindAllStringSubmatch(string(read(t, filepath.Join(top, "docs", page))), -1) {
			name, text := m[1], strings.ReplaceAll(m[2], "/usr/local/bin/pagi-bridge", program)
			file := filepath.Join(dir, name)
			if names[name] {
				t.Errorf("%s: %s is there already", page, name)
			}
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			names[name] = true
			all.WriteString(text)
		}
	}
	for _, name := range []string{"site.service", "site.socket", "site.service.d/limits.conf"} {
		if !names[name] {
			t.Fatalf("the pages have %v, and not %s", names, name)
		}
	}
	for _, name := range []string{"site.service", "site.socket"} {
		out, err := exec.Command(analyze, "verify", "--man=no", filepath.Join(dir, name)).CombinedOutput()
		if err != nil || bytes.Contains(out, []byte(dir)) || bytes.Contains(out, []byte("site.")) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	checkControlGroups(t, "the unit of the pages with its limits", all.String(), true)
	checkControlGroups(t, "the unit of the pages", string(read(t, filepath.Join(dir, "site.service"))), false)
	checkControlGroups(t, "the unit of the packages", string(read(t, filepath.Join(top, "packaging/pagi-bridge.service"))), false)
}

// checkControlGroups looks at what a unit says last of control groups: they are delegated and can be written, or neither.
func checkControlGroups(t *testing.T, what, text string, delegated bool) {
	t.Helper()
	want := map[string]string{"ProtectControlGroups": "yes"}
	if delegated {
		want = map[string]string{"Delegate": "yes", "ProtectControlGroups": "no"}
	}
	got := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^(Delegate|ProtectControlGroups)=(.*)$`).FindAllStringSubmatch(text, -1) {
		got[m[1]] = m[2]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// TestTheContainerFile looks at what the container file refers to. e2e.TestContainers builds and runs it,
// where it is asked for.
func TestTheContainerFile(t *testing.T) {
	text := string(read(t, filepath.Join(top, "packaging/Containerfile")))
	joined := strings.ReplaceAll(text, "\\\n", " ")
	known := []string{"FROM", "ARG", "ENV", "RUN", "COPY", "WORKDIR", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD", "VOLUME", "STOPSIGNAL", "LABEL"}
	stages := map[string]bool{}
	for line := range strings.Lines(joined) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case word == "" || strings.HasPrefix(word, "#"):
			continue
		case !slices.Contains(known, word):
			t.Errorf("%q is no instruction", word)
		case word == "FROM":
			_, name, _ := strings.Cut(rest, " AS ")
			stages[name] = true
		case word == "COPY" && strings.HasPrefix(rest, "--from="):
			from, _, _ := strings.Cut(strings.TrimPrefix(rest, "--from="), " ")
			if !stages[from] {
				t.Errorf("COPY --from=%s: there is no such stage before", from)
			}
		case word == "COPY":
			for _, file := range strings.Fields(rest)[:len(strings.Fields(rest))-1] {
				if _, err := os.Stat(filepath.Join(top, file)); err != nil {
					t.Errorf("COPY: %v", err)
				}
			}
		}
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(read(t, filepath.Join(top, "go.mod"))))
	for _, part := range []string{"golang:" + version[1], "\nUSER pagi-bridge\n", "\nHEALTHCHECK ", `"healthcheck"`, "\nEXPOSE 5000\n"} {
		if !strings.Contains(text, part) {
			t.Errorf("the container file lacks %q", part)
		}
	}
	// The commands of HEALTHCHECK, ENTRYPOINT and CMD are run with --help in place of what they would do.
	for _, m := range regexp.MustCompile(`(?m)^(?:HEALTHCHECK .*CMD|ENTRYPOINT|CMD) (\[.*\])$`).FindAllStringSubmatch(joined, -1) {
		words := strings.Split(strings.Trim(strings.ReplaceAll(m[1], `"`, ""), "[]"), ", ")
		if words[0] == "pagi-bridge" {
			words = words[1:]
		}
		must(t, exec.Command(program, append(words, "--help")...))
	}
}
