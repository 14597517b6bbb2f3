//go:build linux && (amd64 || arm64 || riscv64)

package perlfork

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/internal/job"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// textHeader is how the scripts of these tests begin.
const textHeader = "#!/usr/bin/perl\nprint \"Content-Type: text/plain\\n\\n\";\n"

// host is what package cgi is elsewhere: scripts, and requests for them.
type host struct {
	*Scripts
	root, scratch string
	log           *testkit.Log
}

// serveTree serves scripts, each of which is only what follows textHeader.
func serveTree(t *testing.T, mode string, c Config, scripts map[string]string) *host {
	t.Helper()
	testkit.Tool(t, "perl", "perl")
	files := map[string]string{}
	for name, text := range scripts {
		if strings.HasSuffix(name, ".cgi") && !strings.HasPrefix(text, "#!") {
			text = textHeader + text
		}
		files[name] = text
	}
	h := &host{root: testkit.Tree(t, files), scratch: t.TempDir(), log: &testkit.Log{}}
	c.Mode, c.Root, c.CompileTime = mode, h.root, testkit.Patience
	c.Inherited = append(c.Inherited, "PATH="+os.Getenv("PATH"), "SCRATCH="+h.scratch)
	logger := h.log.Logger()
	c.Logger = func() *slog.Logger { return logger }
	if err := c.Prepare(0); err != nil {
		t.Fatal(err)
	}
	if c.QueueTimeout == 0 {
		c.QueueTimeout = testkit.Patience
	}
	h.Scripts = New(c)
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Stop)
	return h
}

func (h *host) file(name string) string { return filepath.Join(h.root, name) }

// request is one for a script without a body.
func (h *host) request(t *testing.T, name string) Request {
	t.Helper()
	null, err := job.DevNull()
	if err != nil {
		t.Fatal(err)
	}
	env := append(h.config.Inherited[:len(h.config.Inherited):len(h.config.Inherited)], "REQUEST_METHOD=GET")
	return Request{File: h.file(name), Env: env, Stdin: int(null.Fd())}
}

// byExec is what body returns for a request that a new process is to run.
const byExec = "by exec"

// body runs a request and returns the body of its answer.
func (h *host) body(t *testing.T, name string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	j := h.Run(ctx, h.request(t, name))
	if j == nil {
		return byExec
	}
	output, err := io.ReadAll(large{j})
	if err != nil {
		t.Error(err)
	}
	j.Finish()
	j.Close(false)
	_, body, _ := strings.Cut(string(output), "\n\n")
	return body
}

// large reads into buffers that have room for a mark.
type large struct{ io.Reader }

func (l large) Read(p []byte) (int, error) {
	if len(p) >= LeastRead {
		return l.Reader.Read(p)
	}
	var buf [LeastRead]byte
	n, err := l.Reader.Read(buf[:])
	if n > len(p) {
		panic("more than there is room for")
	}
	return copy(p, buf[:n]), err
}

// zygote returns the one of a script, nil where there is none.
func (h *host) zygote(name string) *zygote {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.scripts[h.file(name)]; s != nil {
		return s.zygote
	}
	return nil
}

// state returns where a script is.
func (h *host) state(name string) State {
	for _, s := range h.Status() {
		if s.File == h.file(name) {
			return s.State
		}
	}
	return Untried
}

// compile compiles a script without a request, which would have its effects by exec.
func (h *host) compile(t *testing.T, name string, env ...string) (*zygote, error) {
	t.Helper()
	r := h.request(t, name)
	id, err := identify(r.File)
	if err != nil {
		t.Fatal(err)
	}
	z, err := h.startZygote(h.find(&r, id), append(r.Env, env...))
	if z != nil {
		t.Cleanup(z.retire)
	}
	return z, err
}

// children lists this process's children, zombies too.
func children(t *testing.T) string {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, name := range tasks {
		if list, err := os.ReadFile(name); err == nil { // a thread may have ended
			all = append(all, strings.Fields(string(list))...)
		}
	}
	return strings.Join(all, " ")
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// skipAtNewYear skips a test of scripts that ask for the year: on the last and on the first day of a year they are run by exec.
func skipAtNewYear(t *testing.T) {
	t.Helper()
	if now := time.Now(); !isOneYear(now, now) {
		t.Skip("it is not the same year everywhere")
	}
}
