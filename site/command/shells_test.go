package command_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/creack/pty"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// inPath returns an environment in whose PATH the built program is.
func inPath(t *testing.T) []string {
	t.Helper()
	return append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), "HOME="+t.TempDir())
}

// scriptOf writes the completion of a shell into a file with the name that zsh looks for.
func scriptOf(t *testing.T, shell string) string {
	t.Helper()
	code, text, errs := once(t, "", "completion", shell)
	if code != 0 || errs != "" {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	return filepath.Join(testkit.Tree(t, map[string]string{"_pagi-bridge": text}), "_pagi-bridge")
}

// running starts a gateway with two mounts and returns the directory of its site file.
func running(t *testing.T) string {
	t.Helper()
	dir := testkit.Tree(t, map[string]string{
		"site.yaml": "listen: 127.0.0.1:0\nstatus_socket: run/s\nmounts: [{path: /shop, redirect: /}, {path: /static, file: pub}]\n",
		"pub/":      "", "sites/one.yaml": "",
	})
	testkit.Start(t, testkit.Command(dir, program, "-c", "site.yaml"))
	return dir
}

func TestBashCompletes(t *testing.T) {
	bash := testkit.Tool(t, "bash", "bash")
	dir, script := running(t), scriptOf(t, "bash")
	for line, want := range map[string]string{
		"dra":                     "drain",
		"log-level w":             "warn",
		"-c si":                   "site.yaml sites",
		"drain -c site.yaml /s":   "/shop /static",
		"reload -c site.yaml /sh": "/shop",
		"--lifespan = au":         "auto",
	} {
		words := strings.Fields("pagi-bridge " + line)
		cmd := exec.Command(bash, append([]string{"--norc", "-c", `source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _pagi_bridge; printf '%s\n' "${COMPREPLY[@]}"`, script}, words...)...)
		cmd.Dir, cmd.Env = dir, inPath(t)
		out, err := cmd.CombinedOutput()
		got := strings.Fields(string(out))
		slices.Sort(got)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %v, %q, want %q", line, err, got, want)
		}
	}
}

func TestFishCompletes(t *testing.T) {
	fish := testkit.Tool(t, "fish", "fish")
	dir, script := running(t), scriptOf(t, "fish")
	for line, want := range map[string]string{
		"log-level w":           "warn",
		"-c si":                 "site.yaml sites/",
		"drain -c site.yaml /s": "/shop /static",
		"drain --del":           "--delay",
		"--lifespan=au":         "--lifespan=auto",
	} {
		cmd := exec.Command(fish, "--no-config", "-c", `source $argv[1]; complete -C "pagi-bridge $argv[2]"`, script, line)
		cmd.Dir, cmd.Env = dir, inPath(t)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		var got []string
		for l := range strings.Lines(string(out)) {
			word, _, _ := strings.Cut(strings.TrimSpace(l), "\t")
			got = append(got, word)
		}
		slices.Sort(got)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %v, %q, want %q; %s", line, err, got, want, errs.String())
		}
	}
}

// TestZshCompletes types into an interactive zsh.
func TestZshCompletes(t *testing.T) {
	zsh := testkit.Tool(t, "zsh", "zsh")
	dir := running(t)
	functions := filepath.Dir(scriptOf(t, "zsh"))
	cmd := exec.Command(zsh, "-f", "-i")
	cmd.Dir, cmd.Env = dir, append(inPath(t), "TERM=dumb", "PS1=> ")
	terminal, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	var screen testkit.Log
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&screen, terminal) // ends with the terminal
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		var exit *exec.ExitError
		if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
			t.Error(err)
		}
		_ = terminal.Close()
		<-read
	})
	write := func(text string) {
		if _, err := io.WriteString(terminal, text); err != nil {
			t.Fatal(err)
		}
	}
	write("unsetopt zle_bracketed_paste; fpath=(" + functions + " $fpath); autoload -Uz compinit; compinit -u -D; setopt no_beep; print rea''dy\n")
	screen.WaitFor(t, "ready")
	write("pagi-bridge log-level w\t")
	testkit.Eventually(t, "warn in "+screen.String(), func() bool { return strings.Contains(screen.String(), "log-level warn") })
	write("\x15pagi-bridge drain -c site.yaml /sh\t")
	testkit.Eventually(t, "the mount in "+screen.String(), func() bool { return strings.Contains(screen.String(), "/shop") })
	write("\x15pagi-bridge --preloa\t")
	testkit.Eventually(t, "the flag in "+screen.String(), func() bool { return strings.Contains(screen.String(), "--preload") })
}

func TestHealthcheckOfARunningGateway(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	dir := testkit.Tree(t, map[string]string{
		"site.yaml": "listen: 127.0.0.1:0\nstatus_socket: run/s\nmounts: [{psgi: app.psgi, workers: 1}]\n", "app.psgi": app,
	})
	if code, _, errs := once(t, dir, "healthcheck", "-c", "site.yaml"); code != 1 || !strings.Contains(errs, "no gateway answers") {
		t.Errorf("without a gateway: exit code %d, %s", code, errs)
	}
	g := start(t, dir, "-c", "site.yaml")
	for _, args := range [][]string{{"-c", "site.yaml"}, {"--status-socket", "run/s"}, {g.URL + "/"}} {
		if code, out, errs := once(t, dir, append([]string{"healthcheck"}, args...)...); code != 0 || out != "ready\n" || errs != "" {
			t.Errorf("%q: exit code %d, %q, %q", args, code, out, errs)
		}
	}
	if code, _, errs := once(t, dir, "healthcheck"); code != 2 || errs == "" {
		t.Errorf("without a gateway's name: exit code %d, %s", code, errs)
	}
}
