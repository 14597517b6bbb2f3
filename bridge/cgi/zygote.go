//go:build linux && (amd64 || arm64 || riscv64)

package cgi

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// maxSpare is how many processes wait for the next requests of a script at most:
	// one in the beginning, and one more whenever a request had to wait.
	maxSpare = 6
	// batch is how many of those that were taken are replaced at once, where some are
	// left.
	batch = 3
	// lingering is how long a zygote may take to end that was told to.
	lingering = time.Second
	// maxWaiting is how many forked processes may wait to be taken up.
	maxWaiting = 1024
)

// zygote is a process that has compiled a script and forks one for each request. It
// leads a process group, in which its children are until they are known here.
//
// The children are the gateway's, which waits for them as for all it has started.
type zygote struct {
	owner   *accelerator
	file    string
	proc    *process
	control *os.File
	since   time.Time
	// persistent has its children run the script many times.
	persistent    bool
	program, data string // the main program then, and where in file DATA begins

	environ []string        // what the script was compiled with
	base    map[string]bool // the same, "NAME=VALUE"
	known   map[string]bool // names of variables that a child has, unless it is told otherwise
	trigger []string        // the environment of the request that has it compiled
	reads   []string        // variables that the compilation has looked at
	said    []byte          // what it has written to standard error
	loaded  map[string]fileID

	idle chan *child   // waiting processes; a nil one could not be forked
	gone chan struct{} // closed when it forks no more

	mu       sync.Mutex
	retired  bool
	looked   time.Time
	stale    bool
	scouts   int  // how many children still tell what they have loaded
	workers  int  // of a persistent script
	spare    int  // how many processes there are beyond those that requests wait for
	debt     int  // how many were taken and not ordered yet
	mismatch bool // it has been logged that requests differ in what was read
}

// siteVariables are those of a request that are the same for all requests as a rule. A
// script is compiled with the values of the first.
var siteVariables = map[string]bool{
	"CONTEXT_DOCUMENT_ROOT": true, "DOCUMENT_ROOT": true, "GATEWAY_INTERFACE": true, "SCRIPT_FILENAME": true, "SCRIPT_NAME": true,
	"SERVER_ADDR": true, "SERVER_ADMIN": true, "SERVER_NAME": true, "SERVER_PORT": true, "SERVER_SOFTWARE": true,
}

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
func (f *accelerator) startZygote(s *compiled, env, later []string) (*zygote, error) {
	z := &zygote{
		owner: f, file: s.file, since: time.Now(), persistent: s.persistent, environ: f.baseOf(env), base: map[string]bool{}, known: map[string]bool{}, trigger: env,
		idle: make(chan *child, maxWaiting), gone: make(chan struct{}),
	}
	for _, variable := range z.environ {
		name, _, _ := strings.Cut(variable, "=")
		z.base[variable], z.known[name] = true, true
	}
	if z.persistent {
		if err := z.writeProgram(); err != nil {
			return nil, err
		}
		defer os.Remove(z.program) // perl has read it
	}
	output, err := z.launch(s.perl)
	if err != nil {
		return nil, fmt.Errorf("compile it: %w", err)
	}
	err = z.settle(later)
	if err == nil {
		err = z.checkReads()
	}
	if err = z.checkOutput(output, err); err != nil {
		z.retire()
		f.tasks.Go(z.live) // it sees it to its end
		return nil, err
	}
	f.tasks.Go(z.live)
	if !z.persistent {
		z.order(1)
	}
	return z, nil
}

// launch starts the process. What it writes to descriptors 1 and 2 can be read from
// output.
func (z *zygote) launch(perl interpreter) (output [2]*pipe, err error) {
	program, err := lookPath(perl.path, z.environ)
	if err != nil {
		return output, err
	}
	control, theirs, err := newControl()
	if err != nil {
		return output, err
	}
	defer syscall.Close(theirs) // it lives on in the process
	var input *pipe
	defer func() {
		input.close()
		for _, p := range output {
			if err != nil {
				p.close()
			} else {
				p.closeScript()
			}
		}
	}()
	if input, err = newPipe(true); err != nil {
		return output, err
	}
	if _, err = input.ours.Write([]byte{0}); err != nil { // to see whether it is read
		return output, err
	}
	for i := range output {
		if output[i], err = newPipe(false); err != nil {
			return output, err
		}
	}
	c := command{
		argv:  append([]string{program}, perl.args...),
		dir:   filepath.Dir(z.file),
		env:   z.environ[:len(z.environ):len(z.environ)],
		stdin: input.script, stdout: output[0].script, stderr: output[1].script, control: theirs,
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
		return output, errors.Join(err, control.Close())
	}
	z.control = control
	return output, nil
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

// settle tells the zygote what it needs to know and waits until it has compiled the
// script.
func (z *zygote) settle(later []string) error {
	var configuration []byte
	for _, module := range z.owner.app.PreloadModules {
		configuration = appendPairs(configuration, "module", moduleFile(module))
	}
	for _, file := range later {
		configuration = appendPairs(configuration, "later", file)
	}
	if z.persistent {
		configuration = appendPairs(configuration, "script", z.file)
		if z.data != "" {
			configuration = appendPairs(configuration, "data", z.data)
		}
	} else if later == nil {
		z.scouts = scouts
		configuration = appendPairs(configuration, "report", z.owner.dir)
	}
	for _, variable := range z.trigger {
		if name, _, _ := strings.Cut(variable, "="); !z.known[name] {
			z.known[name] = true
			configuration = appendPairs(configuration, "expect", name)
		}
	}
	if !z.owner.app.own[bindNow] {
		configuration = appendPairs(configuration, "unset", bindNow)
	}
	if err := post(z.control, configuration); err != nil {
		return fmt.Errorf("compile it: %w", err)
	}
	limit := z.owner.app.Timeout
	if limit < 0 {
		limit = DefaultTimeout
	}
	stop := context.AfterFunc(z.owner.ctx, func() { _ = z.control.SetReadDeadline(time.Unix(1, 0)) }) // fails when it is closed
	defer stop()
	answer, err := hearWithin(z.control, make([]byte, 256<<10), limit)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("it was not compiled after %v", limit)
	case errors.Is(err, io.EOF), err == nil && len(answer) == 0:
		return errors.New("its compilation ends the process")
	case err != nil:
		return fmt.Errorf("compile it: %w", err)
	case answer[0] == 'D':
		return errors.New(strings.TrimSpace(string(answer[1:])) + ", while it is compiled")
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
func (z *zygote) checkOutput(output [2]*pipe, err error) error {
	var text [2][]byte
	for i, p := range output {
		text[i] = available(p)
		p.close()
	}
	if first, _, _ := bytes.Cut(text[1], []byte("\n")); err != nil && len(first) > 0 {
		return fmt.Errorf("%w: %s", err, first)
	}
	if err != nil {
		return err
	}
	if len(text[0]) > 0 {
		return fmt.Errorf("it prints %s, while it is compiled", excerpt(text[0]))
	}
	for line := range bytes.Lines(text[1]) {
		if !isWarning.Match(bytes.TrimSuffix(line, []byte("\n"))) {
			return fmt.Errorf("it writes to standard error, while it is compiled: %s", excerpt(bytes.TrimSpace(line)))
		}
	}
	z.said = text[1]
	return nil
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

// live reads what the zygote says, and sees it to its end.
func (z *zygote) live() {
	buf := make([]byte, largestMessage)
	for {
		message, fd, err := hear(z.control, buf)
		if err != nil {
			break
		}
		if !z.handle(string(message), fd) {
			z.log().Error("a script's zygote has sent what it must not", slog.String("message", excerpt(message)))
			break
		}
	}
	z.retire()
	_ = z.control.Close() // the error tells nothing: the zygote has gone
	close(z.gone)
	z.bury()
	z.drain()
}

// drain ends the processes that wait, when the zygote has gone.
func (z *zygote) drain() {
	for {
		select {
		case c := <-z.idle:
			c.dismiss()
		default:
			return
		}
	}
}

// bury ends the process and its group.
func (z *zygote) bury() {
	if !z.proc.exitsWithin(lingering) {
		z.proc.signal(syscall.SIGKILL)
	}
	how := describe(z.proc.finish())
	z.log().Debug("a script's zygote has ended", slog.String("how", how))
	// Children it has forked and not told of are in its group yet; finish has
	// killed them.
	for {
		_, err := syscall.Wait4(-z.proc.pid, nil, 0, nil)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return // ECHILD
		}
	}
}

// handle takes a message in and reports whether it is one.
func (z *zygote) handle(message string, fd int) bool {
	if strings.HasPrefix(message, "E") && fd < 0 {
		z.log().Warn("a script's zygote cannot fork", slog.String("error", message[1:]))
		z.put(nil)
		return true
	}
	pid, scout := 0, strings.HasPrefix(message, "S")
	if len(message) == 5 && (scout || message[0] == 'C') {
		pid = int(int32(binary.NativeEndian.Uint32([]byte(message[1:]))))
	}
	if pid <= 1 || fd < 0 || !z.owner.adopt(pid) {
		if fd >= 0 {
			_ = syscall.Close(fd) // nothing was written
		}
		return false
	}
	c := &child{zygote: z, pid: pid, job: fd, scout: scout}
	if z.persistent {
		c.worker = &worker{child: c}
	}
	z.put(c)
	return true
}

func (z *zygote) put(c *child) {
	select {
	case z.idle <- c:
	default:
		c.dismiss()
	}
}

// adopt takes note of a process that a zygote has forked. It must be a child of
// this process that has not run another program, which is what setpgid asks for.
func (f *accelerator) adopt(pid int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.children[pid]; known || syscall.Setpgid(pid, pid) != nil || pid == os.Getpid() {
		return false
	}
	f.children[pid] = struct{}{}
	return true
}

// order asks for n more processes. A zygote that has gone is seen by who waits.
func (z *zygote) order(n int) { _ = post(z.control, []byte{byte(n)}) }

// take returns a process that waits for a request, nil where none can be had. For
// each that is taken another one is ordered; of a persistent script's as many as there
// may be.
func (z *zygote) take(ctx context.Context) *child {
	if z.persistent {
		return z.takeWorker(ctx)
	}
	z.replace()
	select {
	case c := <-z.idle:
		return c
	default:
	}
	select {
	case c := <-z.idle:
		return c
	case <-z.gone:
	case <-ctx.Done():
		z.mu.Lock()
		z.debt-- // the process that comes is one too many
		z.mu.Unlock()
	}
	return nil
}

// replace orders a process for one that is being taken, with others that were.
func (z *zygote) replace() {
	z.mu.Lock()
	z.debt++
	waits := len(z.idle) == 0
	if waits && z.spare < maxSpare {
		z.spare++
		z.debt++
	}
	n := z.debt
	if n < 1 || !waits && n < batch {
		n = 0
	}
	z.debt -= n
	z.mu.Unlock()
	if n > 0 {
		z.order(n)
	}
}

// rest ends the processes that wait, all but one.
func (z *zygote) rest() {
	z.mu.Lock()
	z.spare, z.debt = 0, 0
	z.mu.Unlock()
	for len(z.idle) > 1 {
		select {
		case c := <-z.idle:
			if c != nil && c.worker != nil {
				z.lost()
			}
			c.dismiss()
		default:
		}
	}
}

// takeWorker waits no longer than for a place to run in.
func (z *zygote) takeWorker(ctx context.Context) *child {
	select {
	case c := <-z.idle:
		return c
	default:
	}
	z.mu.Lock()
	if more := z.workers < z.owner.app.PersistentWorkers; more {
		z.workers++
		z.order(1)
	}
	z.mu.Unlock()
	timer := time.NewTimer(max(z.owner.app.QueueTimeout, 0))
	defer timer.Stop()
	select {
	case c := <-z.idle:
		if c == nil {
			z.lost()
		}
		return c
	case <-z.gone:
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}

// lost is called when a worker has ended, or will.
func (z *zygote) lost() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.workers--
}

// retire tells the zygote to end. What it has forked and still tells of is taken in.
func (z *zygote) retire() {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.retired {
		return
	}
	z.retired = true
	conn, err := z.control.SyscallConn()
	if err != nil {
		return // closed
	}
	_ = conn.Control(func(fd uintptr) { _ = syscall.Shutdown(int(fd), syscall.SHUT_WR) }) // fails when it has gone
}

func (z *zygote) isGone() bool { return isClosed(z.gone) }

// isStale reports whether a file that was compiled with the script has changed.
func (z *zygote) isStale(now time.Time) bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.stale || now.Sub(z.looked) < lookEvery {
		return z.stale
	}
	z.looked = now
	for name, id := range z.loaded {
		if is, err := identify(name); err != nil || is != id {
			z.stale = true
			break
		}
	}
	return z.stale
}

// accepts reports whether the compilation would have seen the same in this environment.
func (z *zygote) accepts(env []string) bool {
	for _, name := range z.reads {
		if lookup(env, name) == lookup(z.environ, name) {
			continue
		}
		z.mu.Lock()
		first := !z.mismatch
		z.mismatch = true
		z.mu.Unlock()
		if first {
			z.log().Info("requests that differ in a variable are run by exec: the script looks at it while it is compiled",
				slog.String("variable", name))
		}
		return false
	}
	return true
}

// lookup returns "NAME=VALUE" of an environment, or "".
func lookup(env []string, name string) string {
	for _, variable := range env {
		if len(variable) > len(name) && variable[len(name)] == '=' && variable[:len(name)] == name {
			return variable
		}
	}
	return ""
}

func (z *zygote) log() *slog.Logger {
	return z.owner.app.logger().With(slog.String("script", z.file))
}
