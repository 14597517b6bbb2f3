//go:build linux && (amd64 || arm64 || riscv64)

package cgi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// siteVariables are those of a request that are the same for all requests as a rule. A
// script is compiled with the values of the first.
var siteVariables = map[string]bool{
	"DOCUMENT_ROOT": true, "GATEWAY_INTERFACE": true, "SCRIPT_FILENAME": true, "SCRIPT_NAME": true, "SERVER_ADDR": true,
	"SERVER_ADMIN": true, "SERVER_NAME": true, "SERVER_PORT": true, "SERVER_SOFTWARE": true,
}

// usualVariables are those that most requests have. They get their place in a zygote's
// memory.
var usualVariables = []string{
	"CONTENT_LENGTH", "CONTENT_TYPE", "HTTPS", "HTTP_ACCEPT", "HTTP_ACCEPT_ENCODING", "HTTP_ACCEPT_LANGUAGE", "HTTP_COOKIE", "HTTP_HOST",
	"HTTP_REFERER", "HTTP_USER_AGENT", "PATH_INFO", "PATH_TRANSLATED", "QUERY_STRING", "REMOTE_ADDR", "REMOTE_HOST", "REMOTE_PORT",
	"REQUEST_METHOD", "REQUEST_SCHEME", "REQUEST_URI", "SERVER_PROTOCOL", "UNIQUE_ID",
}

// transientError is why a script could not be compiled just now; it is tried again.
type transientError struct{ error }

func (e transientError) Unwrap() error { return e.error }

// baseOf returns the part of a request's environment with which a script is compiled.
func (f *accelerator) baseOf(env []string) []string {
	base := append([]string(nil), f.app.inherited...)
	for _, variable := range env {
		if name, _, _ := strings.Cut(variable, "="); siteVariables[name] && !f.app.own[name] {
			base = append(base, variable)
		}
	}
	return base
}

// startZygote has a script compiled. The error says why it cannot be run in this way.
// env is the environment of the request that has it compiled.
func (f *accelerator) startZygote(s *compiled, env []string) (*zygote, error) {
	z := &zygote{
		owner: f, file: s.file, since: time.Now(), persistent: s.persistent, environ: f.baseOf(env), base: map[string]bool{}, known: map[string]bool{}, trigger: env,
		gone: make(chan struct{}),
	}
	z.supply = &supply{order: z.order}
	if z.persistent {
		z.supply.most = f.app.PersistentWorkers
	}
	for _, variable := range z.environ {
		name, _, _ := strings.Cut(variable, "=")
		z.base[variable], z.known[name] = true, true
	}
	if z.persistent {
		if err := z.writeProgram(s); err != nil {
			return nil, err
		}
		defer os.Remove(z.program) // perl has read it
	}
	output, err := z.launch(s)
	if err != nil {
		return nil, transientError{fmt.Errorf("compile it: %w", err)}
	}
	err = z.settle(s)
	if err == nil {
		err = z.checkReads()
	}
	if err = z.checkOutput(output, err); err != nil {
		z.retire()
		z.proc.signal(syscall.SIGKILL) // nothing of it is of use
	}
	f.tasks.Go(z.live) // in any case: it sees the zygote to its end
	if err != nil {
		return nil, err
	}
	if !z.persistent {
		z.supply.begin()
	}
	return z, nil
}

// launch starts the process. What it writes to descriptors 1 and 2 is in output.
func (z *zygote) launch(s *compiled) (output [2]*sayings, err error) {
	program, err := lookPath(s.perl.path, z.environ)
	if err != nil {
		return output, err
	}
	control, theirs, err := newControl()
	if err != nil {
		return output, err
	}
	defer syscall.Close(theirs) // it lives on in the process
	var pipes [3]*pipe
	defer func() {
		for i, p := range pipes {
			if p != nil {
				p.closeScript()
			}
			if i == 0 || err != nil {
				p.close()
			}
		}
		if err != nil {
			err = errors.Join(err, control.Close())
		}
	}()
	for i := range pipes {
		if pipes[i], err = newPipe(i == 0); err != nil {
			return output, err
		}
	}
	if _, err = pipes[0].ours.Write([]byte{0}); err != nil { // to see whether it is read
		return output, err
	}
	c := command{
		argv:  append([]string{program}, s.perl.args...),
		dir:   filepath.Dir(z.file),
		env:   z.environ[:len(z.environ):len(z.environ)],
		stdin: pipes[0].script, stdout: pipes[1].script, stderr: pipes[2].script, control: theirs,
	}
	if !z.owner.app.own[bindNow] {
		c.env = append(c.env, bindNow+"=1")
	}
	c.argv = append(c.argv, "-I"+filepath.Join(z.owner.dir, "lib"), loadArgument("PagiBridge::CGI::Zygote"))
	if z.persistent {
		c.argv = append(c.argv, z.program)
	} else {
		c.argv = append(c.argv, z.file)
	}
	if z.proc, err = z.owner.app.startProcess(c, func() {}); err != nil {
		return output, err
	}
	z.control = control
	return [2]*sayings{listen(pipes[1]), listen(pipes[2])}, nil
}

// bindNow is the variable that has the loader find a program's functions when it is
// loaded, and not, in each child again, when they are called.
const bindNow = "LD_BIND_NOW"

// lookPath finds a program as env(1) does.
func lookPath(program string, env []string) (string, error) {
	if strings.Contains(program, "/") {
		return program, nil
	}
	for _, variable := range env {
		path, ok := strings.CutPrefix(variable, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(path) {
			if found, err := exec.LookPath(filepath.Join(dir, program)); err == nil && filepath.IsAbs(found) {
				return found, nil
			}
		}
	}
	return "", fmt.Errorf("%s is not in PATH", program)
}

// configuration is what the zygote is told first.
func (z *zygote) configuration(s *compiled) []byte {
	var b []byte
	app := z.owner.app
	if !app.own[bindNow] {
		b = appendPairs(b, "unset", bindNow)
	}
	if s.perl.interpreted {
		b = appendPairs(b, "access", "4", "file", z.file) // R_OK
	} else {
		b = appendPairs(b, "access", "5", "file", z.file) // R_OK | X_OK: the kernel runs it by exec
	}
	for _, module := range app.PreloadModules {
		b = appendPairs(b, "module", moduleFile(module))
	}
	for _, file := range s.later {
		b = appendPairs(b, "later", file)
	}
	if soft, hard := app.cpuLimit(); soft > 0 {
		b = appendPairs(b, "cpu", strconv.FormatUint(soft, 10), "cpu", strconv.FormatUint(hard, 10))
	}
	switch {
	case z.persistent:
		b = appendPairs(b, "script", z.file)
		if z.data != "" {
			b = appendPairs(b, "data", z.data)
		}
	case !s.taught:
		z.scouts = scouts
		b = appendPairs(b, "report", z.owner.reports())
	}
	for _, name := range usualVariables {
		if !z.known[name] && lookup(z.trigger, name) != "" {
			z.known[name] = true
			b = appendPairs(b, "expect", name)
		}
	}
	return b
}

// settle tells the zygote what it needs to know and waits until it has compiled the
// script.
func (z *zygote) settle(s *compiled) error {
	// One that has ended already has a reason that is told below.
	if err := post(z.control, z.configuration(s)); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		return transientError{fmt.Errorf("compile it: %w", err)}
	}
	limit := z.owner.app.Timeout
	if limit < 0 {
		limit = DefaultTimeout
	}
	answer, err := hearWithin(z.owner.ctx, z.control, make([]byte, 256<<10), limit)
	switch {
	case z.owner.ctx.Err() != nil:
		return transientError{context.Cause(z.owner.ctx)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return transientError{fmt.Errorf("it was not compiled after %v", limit)}
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), err == nil && len(answer) == 0:
		return errors.New("its compilation ends the process")
	case err != nil:
		return transientError{fmt.Errorf("compile it: %w", err)}
	case answer[0] == 'D':
		return errors.New(strings.TrimSpace(string(answer[1:])) + ", while it is compiled")
	case answer[0] == 'A':
		return errors.New("the user it runs as may not " + string(answer[1:]))
	case answer[0] != 'R':
		return fmt.Errorf("compile it: unknown message %s", excerpt(answer))
	}
	z.loaded = map[string]fileID{}
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(answer[1:]), "\x00"), "\x00") {
		if name, ok := strings.CutPrefix(entry, "v"); ok {
			z.reads = append(z.reads, name)
		} else if name, ok := strings.CutPrefix(entry, "i"); ok {
			if id, err := identify(name); err == nil {
				z.loaded[name] = id
			}
		}
	}
	return nil
}

// checkReads looks whether the compilation has seen what is the request's own.
func (z *zygote) checkReads() error {
	for _, name := range z.reads {
		if lookup(z.trigger, name) != lookup(z.environ, name) {
			return fmt.Errorf("it looks at %s, while it is compiled", name)
		}
	}
	return nil
}

// isWarning matches a line that perl has written, and not the script.
var isWarning = regexp.MustCompile(` at .* line [0-9]+\.$`)

// checkOutput looks at what was written while the script was compiled. Warnings
// are kept: each run of the script begins with them. err is what is wrong already.
func (z *zygote) checkOutput(output [2]*sayings, err error) error {
	printed, said := output[0].end(), output[1].end()
	if first, _, _ := bytes.Cut(said, []byte("\n")); err != nil && len(first) > 0 {
		return fmt.Errorf("%w: %s", err, first)
	}
	if err != nil {
		return err
	}
	if len(printed) > 0 {
		return fmt.Errorf("it prints %s, while it is compiled", excerpt(printed))
	}
	if len(said) >= mostSaid {
		return errors.New("it writes much to standard error, while it is compiled")
	}
	for line := range bytes.Lines(said) {
		if !isWarning.Match(bytes.TrimSuffix(line, []byte("\n"))) {
			return fmt.Errorf("it writes to standard error, while it is compiled: %s", excerpt(bytes.TrimSpace(line)))
		}
	}
	z.said = said
	return nil
}

// mostSaid is how many bytes of what is written during a compilation are kept.
const mostSaid = 64 << 10

// sayings are what a process writes to a pipe, taken in as it comes, so that it never
// waits.
type sayings struct {
	from *pipe
	done sync.WaitGroup
	text []byte
}

func listen(p *pipe) *sayings {
	s := &sayings{from: p}
	s.done.Go(func() {
		buf := make([]byte, 4<<10)
		for {
			n, err := p.ours.Read(buf)
			s.add(buf[:n])
			if err != nil {
				return
			}
		}
	})
	return s
}

func (s *sayings) add(b []byte) { s.text = append(s.text, b[:min(len(b), mostSaid-len(s.text))]...) }

// end returns what has been written up to now, 64 KiB at most.
func (s *sayings) end() []byte {
	_ = s.from.ours.SetReadDeadline(time.Unix(1, 0)) // a pipe has deadlines
	s.done.Wait()
	s.add(available(s.from))
	s.from.close()
	return s.text
}

// available returns what a pipe holds.
func available(p *pipe) []byte {
	conn, err := p.ours.SyscallConn()
	if err != nil {
		return nil // closed
	}
	buf, n := make([]byte, bufferSize), 0
	_ = conn.Control(func(fd uintptr) { // fails only for a closed file
		for n < len(buf) {
			got, err := syscall.Read(int(fd), buf[n:])
			if err != nil || got == 0 {
				return // EAGAIN: empty
			}
			n += got
		}
	})
	return buf[:n]
}
