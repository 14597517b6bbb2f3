//go:build linux && (amd64 || arm64 || riscv64)

package perlfork

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// siteVariables are the variables of a request that are, as a rule, the same for all requests. A script is compiled with the
// values of the first request.
var siteVariables = map[string]bool{
	"DOCUMENT_ROOT": true, "GATEWAY_INTERFACE": true, "HTTP_HOST": true, "HTTPS": true, "REQUEST_SCHEME": true, "SCRIPT_FILENAME": true, "SCRIPT_NAME": true, "SERVER_ADDR": true,
	"SERVER_ADMIN": true, "SERVER_NAME": true, "SERVER_PORT": true, "SERVER_SOFTWARE": true,
}

// transientError is why a script could not be compiled just now. That is tried again.
type transientError struct{ error }

func (e transientError) Unwrap() error { return e.error }

// baseOf returns the part of a request's environment with which a script is compiled.
func (f *Scripts) baseOf(env []string) []string {
	base := append([]string(nil), f.config.Inherited...)
	for _, variable := range env {
		if name, _, _ := strings.Cut(variable, "="); siteVariables[name] && !f.config.Own[name] {
			base = append(base, variable)
		}
	}
	return base
}

// startZygote has a script compiled. The error says why it cannot be run in this way.
// env is the environment of the request that has it compiled.
func (f *Scripts) startZygote(s *version, env []string) (*zygote, error) {
	z := &zygote{compilation: newCompilation(f.baseOf(env)), owner: f, file: s.file, persistent: s.persistent, gone: make(chan struct{})}
	z.supply = &supply{order: z.order}
	if z.persistent {
		z.supply.most = f.config.PersistentWorkers
	}
	if hasFixedOrder(z.environ) {
		return nil, errors.New("PERL_HASH_SEED or PERL_PERTURB_KEYS makes the order of hashes depend on all that perl has done before")
	}
	if z.persistent {
		if s.perl.taints {
			return nil, errors.New("its #! line has -T or -t")
		}
		if err := z.writeProgram(s); err != nil {
			return nil, err
		}
		defer os.Remove(z.program) // perl has read it
	}
	said, err := z.launch(s)
	if err == nil {
		err = z.settle()
	}
	if err == nil {
		err = z.checkReads(env)
	}
	if err = z.checkSaid(said, err); err == nil {
		f.tasks.Go(z.live)
		if !z.persistent {
			z.supply.begin()
		}
		return z, nil
	}
	if z.proc != nil {
		z.retire()
		z.proc.Signal(syscall.SIGKILL) // nothing of it is of use
		f.tasks.Go(z.live)             // sees it to its end
	}
	return nil, err
}

// hasFixedOrder reports whether perl is told to choose the order of the keys of a hash by what it has done until
// then: see PERL_PERTURB_KEYS in perlrun. A process that was forked has done more.
func hasFixedOrder(env []string) bool {
	_, seed, _ := strings.Cut(lookup(env, "PERL_HASH_SEED"), "=")
	_, perturb, given := strings.Cut(lookup(env, "PERL_PERTURB_KEYS"), "=")
	if given {
		return perturb == "2" || perturb == "DETERMINISTIC"
	}
	return strings.Trim(strings.TrimPrefix(seed, "0x"), "0") != ""
}

// settle waits until the zygote is ready.
func (z *zygote) settle() error {
	report, err := z.report()
	switch {
	case z.owner.ctx.Err() != nil:
		return transientError{context.Cause(z.owner.ctx)}
	case err != nil:
		return transientError{fmt.Errorf("compile it: %w", err)}
	case report.kind != ready:
		return report.reason()
	}
	z.reads = report.names
	return nil
}

// report waits for the first packet of the zygote.
func (z *zygote) report() (fromZygote, error) {
	packet, err := hearWithin(z.owner.ctx, z.control, make([]byte, largestReport), z.patience())
	if err != nil {
		return fromZygote{}, err
	}
	return decode(packet, false)
}

// ownReason returns what a process has told before it has ended.
func (z *zygote) ownReason() error {
	report, err := z.report()
	if err != nil {
		return errors.New("its compilation ends the process")
	}
	return report.reason()
}

// reason returns why a script cannot be compiled.
func (p fromZygote) reason() error {
	switch p.kind {
	case declined:
		return errors.New(strings.TrimSpace(p.text) + ", while it is compiled")
	case forbidden:
		return errors.New("the user it runs as may not " + p.text)
	}
	return fmt.Errorf("compile it: a packet %c at the wrong time", p.kind)
}

// checkReads returns an error if the compilation has read a variable that env, the environment of a request, has of its own.
func (z *zygote) checkReads(env []string) error {
	for _, name := range z.reads {
		if lookup(env, name) != lookup(z.environ, name) {
			return fmt.Errorf("it looks at %s, while it is compiled", name)
		}
	}
	return nil
}

// checkSaid keeps what the compilation has written to standard error: each run of the script begins with it. err is what is
// wrong already; its first line is added to that.
func (z *zygote) checkSaid(said []byte, err error) error {
	if first, _, _ := bytes.Cut(said, []byte("\n")); err != nil && len(first) > 0 && !errors.As(err, new(*refusedError)) {
		return fmt.Errorf("%w: %s", err, first)
	}
	if err == nil && len(said) >= mostSaid {
		return errors.New("it writes much to standard error, while it is compiled")
	}
	z.said = said
	return err
}
