//go:build linux && (amd64 || arm64 || riscv64)

package perlfork

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/internal/job"
	"github.com/pagi-go/pagi-bridge/internal/hung"
	"github.com/pagi-go/pagi-bridge/internal/proc"
)

// launch starts the process and sees it through the compilation. said is what the compilation has written to standard
// error. Where there is an error and z.proc is set, the caller has to end that process.
func (z *zygote) launch(s *version) (said []byte, err error) {
	null, err := job.DevNull()
	if err != nil {
		return nil, transientError{err}
	}
	out, errs, err := job.Outputs()
	if err != nil {
		return nil, transientError{err}
	}
	defer out.Close() // nothing is written to it
	listener := listen(errs)
	defer func() { said = listener.end() }()
	control, theirs, err := newControl()
	if err != nil {
		return nil, transientError{err}
	}
	passed := sync.OnceFunc(func() { _ = syscall.Close(theirs) }) // Linux frees the descriptor whatever it returns
	defer passed()
	z.control = control
	spec := z.command(s)
	spec.Files = []uintptr{null.Fd(), uintptr(out.Theirs()), uintptr(errs.Theirs())}
	for len(spec.Files) < controlFD {
		spec.Files = append(spec.Files, proc.NoFile)
	}
	spec.Files = append(spec.Files, uintptr(theirs))
	err = z.try(spec, s, passed)
	if z.proc == nil {
		err = errors.Join(err, control.Close())
	}
	return nil, err
}

// optionVariable is the variable from which perl takes options. Our options are passed in it and not in the command line,
// so that a process that runs a script looks like one that was started for it.
const optionVariable = "PERL5OPT"

// command returns what is to be started. Its descriptors are added by launch, its program is looked up by try.
func (z *zygote) command(s *version) proc.Spec {
	c := proc.Spec{
		Args:    append([]string{s.perl.path}, s.perl.args...),
		Dir:     filepath.Dir(z.file),
		Env:     z.environ[:len(z.environ):len(z.environ)],
		Profile: z.owner.profile,
	}
	library := filepath.Join(z.owner.dir, "lib")
	ours := []string{"-I" + library, loadArgument("PagiBridge::CGI::Zygote")}
	own, has := strings.CutPrefix(lookup(z.environ, optionVariable), optionVariable+"=")
	switch {
	case s.perl.taints || strings.ContainsAny(library, " \t\n\v\f\r"): // perl would not look there, or not see it whole
		c.Args = append(c.Args, ours...)
	case has:
		c.Env = slices.Clone(c.Env)
		c.Env[slices.Index(c.Env, optionVariable+"="+own)] = optionVariable + "=" + strings.Join(append(ours, own), " ")
		z.restore = appendPairs(nil, "set", optionVariable, "set", own)
	default:
		c.Env = append(c.Env, optionVariable+"="+strings.Join(ours, " "))
		z.restore = appendPairs(nil, "unset", optionVariable)
	}
	// The command line of a process that is started for a request.
	for _, arg := range append(append([]string{s.perl.path}, s.perl.args...), z.file) {
		z.shown = append(append(z.shown, arg...), 0)
	}
	if z.persistent {
		c.Args = append(c.Args, z.program)
	} else {
		c.Args = append(c.Args, z.file)
	}
	return c
}

// try has a process compile the script. The process is ended where the script does what it must not. passed is called
// when the process has the descriptors of spec.
func (z *zygote) try(spec proc.Spec, s *version, passed func()) error {
	program, err := lookPath(s.perl.path, z.environ)
	if err != nil {
		return err
	}
	spec.Path = program
	t := &trial{
		spec: spec,
		begin: func() error {
			passed()
			return post(z.control, z.configuration(s))
		},
	}
	if !z.persistent {
		t.hides = z.file
	}
	err = t.run(z.owner.ctx, z.patience())
	z.proc = t.process
	switch {
	case errors.Is(err, errEnded):
		return z.ownReason()
	case errors.As(err, new(*refusedError)), errors.As(err, new(transientError)):
		return err
	case errors.Is(err, syscall.EPERM): // it stays so for this program and this user
		return fmt.Errorf("its system calls cannot be watched: %w", err)
	case err != nil:
		return transientError{fmt.Errorf("compile it: %w", err)}
	}
	return z.conclude(t, s)
}

// patience is how long a compilation may take.
func (z *zygote) patience() time.Duration { return z.owner.config.CompileTime }

// conclude is called when the script is compiled. It tells the process what the tracer has found out about it, and notes
// the files that the compilation has looked at.
func (z *zygote) conclude(t *trial, s *version) error {
	kept, why := t.files.kept()
	switch {
	case why != "":
		return &refusedError{why}
	case len(kept) > 0 && z.persistent:
		return &refusedError{"it keeps a file open"}
	}
	z.seen, z.calendar = t.seen.watch(z.since, z.file, z.owner.dir), t.calendar
	var b []byte
	for _, descriptor := range kept {
		b = appendPairs(b, "descriptor", strconv.Itoa(descriptor))
	}
	if z.persistent {
		z.shown = nil
		return transient(post(z.control, append(b, 0, 0)))
	}
	size := int(t.arguments.length)
	z.shown = append(z.shown, make([]byte, max(0, size-len(z.shown)))...)[:size]
	b = appendPairs(b, "arguments", strconv.FormatUint(t.arguments.address, 10), "arguments", strconv.Itoa(size), "name", s.perl.name)
	return transient(post(z.control, b))
}

func transient(err error) error {
	if err != nil {
		return transientError{fmt.Errorf("compile it: %w", err)}
	}
	return nil
}

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

// configuration returns the packet CONFIGURATION.
func (z *zygote) configuration(s *version) []byte {
	b := slices.Clone(z.restore)
	if s.perl.interpreted {
		b = appendPairs(b, "access", "4", "file", z.file) // R_OK
	} else {
		b = appendPairs(b, "access", "5", "file", z.file) // R_OK | X_OK: the kernel runs it by exec
	}
	for _, module := range z.owner.config.PreloadModules {
		b = appendPairs(b, "module", moduleFile(module))
	}
	if stack := z.owner.config.Signal(); stack != hung.NoSignal {
		b = appendPairs(b, "stack", string(stack))
	}
	limits := z.owner.config.Profile.Limits()
	if soft, hard := limits.CPUSeconds(); soft > 0 {
		b = appendPairs(b, "cpu", strconv.FormatUint(soft, 10), "cpu", strconv.FormatUint(hard, 10))
	}
	if z.persistent {
		b = appendPairs(b, "script", z.file)
		if z.data != "" {
			b = appendPairs(b, "data", z.data)
		}
	}
	return b
}
