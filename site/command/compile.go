package command

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/perlpagi"
	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/plugin/host"
	"github.com/pagi-go/pagi-bridge/site"
)

// compileTime is how long perl may take to compile an application without a start_timeout.
const compileTime = 60 * time.Second

// compile has perl compile the PSGI and PAGI applications of a site that is built, and plugins check their options, and
// reports those that fail. Of Perl this runs only the code of use and BEGIN.
func compile(ctx context.Context, s *site.Site) error {
	var errs []error
	for _, m := range s.All() {
		switch o := m.Options.(type) {
		case *psgi.PSGI:
			errs = append(errs, s.ProblemOf(m, compileOne(ctx, o)))
		case *perlpagi.PAGI:
			errs = append(errs, s.ProblemOf(m, compileOne(ctx, asPSGI(o))))
		}
		if p, ok := m.Options.(*host.Plugin); ok {
			errs = append(errs, configOf(ctx, s, m, p))
		}
	}
	return errors.Join(errs...)
}

// configOf has a plugin check its options. Its own errors have their places in the site file already.
func configOf(ctx context.Context, s *site.Site, m *site.Mount, p *host.Plugin) error {
	err := p.CheckConfig(ctx)
	var refused *host.ConfigError
	if errors.As(err, &refused) {
		return refused
	}
	return s.ProblemOf(m, err)
}

// asPSGI returns a PSGI application that compiles as o does.
func asPSGI(o *perlpagi.PAGI) *psgi.PSGI {
	p := &psgi.PSGI{
		App: o.App, Code: o.Code, Modules: o.Modules, Lib: o.Lib, Perl: o.Perl, Dir: o.Dir, Environment: o.Environment, Env: o.Env, LocalLib: o.LocalLib,
	}
	p.StartTimeout = o.StartTimeout
	if o.Module != "" {
		p.Code = "use " + o.Module + " ();"
	}
	return p
}

func compileOne(ctx context.Context, o *psgi.PSGI) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(max(0, o.StartTimeout), compileTime))
	defer cancel()
	args := []string{"-c"}
	for _, dir := range o.Lib {
		args = append(args, "-I"+dir)
	}
	for _, module := range o.Modules {
		args = append(args, "-M"+module)
	}
	if o.Code != "" {
		args = append(args, "-e", o.Code)
	} else {
		args = append(args, "--", o.App)
	}
	cmd := exec.CommandContext(ctx, cmp.Or(o.Perl, "perl"), args...)
	cmd.Dir, cmd.Env = o.Dir, os.Environ()
	var libs []string
	for _, dir := range o.LocalLib {
		libs = append(libs, filepath.Join(dir, "lib", "perl5"))
	}
	if old := os.Getenv("PERL5LIB"); old != "" {
		libs = append(libs, old)
	}
	if len(libs) > 0 {
		cmd.Env = append(cmd.Env, "PERL5LIB="+strings.Join(libs, ":"))
	}
	if o.Environment != "" {
		cmd.Env = append(cmd.Env, "PLACK_ENV="+o.Environment, "PAGI_ENV="+o.Environment)
	}
	for name, value := range o.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("its compilation was stopped: %w", context.Cause(ctx))
	}
	lines := slices.DeleteFunc(strings.Split(string(bytes.TrimSpace(out)), "\n"), func(line string) bool {
		return strings.HasSuffix(line, "had compilation errors.") || strings.HasPrefix(line, "BEGIN failed--")
	})
	const most = 20
	if text := strings.Join(lines[:min(len(lines), most)], "\n"); text != "" {
		return fmt.Errorf("it does not compile: %s", text)
	}
	return fmt.Errorf("it does not compile: %w", err)
}
