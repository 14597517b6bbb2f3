package site

import (
	"cmp"
	"context"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/cgi"
	"github.com/pagi-go/pagi-bridge/bridge/perlpagi"
	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/internal/confine"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/plugin/adapters"
)

// Isolation says what the process of a mount may do; see docs/isolation.md.
type Isolation = confine.Isolation

// isolatable reports whether mounts of a kind can have an adapter.
func isolatable(kind string) bool { return kind == KindPSGI || kind == KindCGI || kind == KindPerlPAGI }

// isolation returns what the adapter of a mount is held to. apart is false for a mount in this process.
//
// The mount's own option comes first, then that of the site. Otherwise mounts share one adapter, so that the process
// with the TLS keys runs no code of theirs, and their workers outlive it. In development, and in a program without
// Adapters, they are in this process.
func (s *Site) isolation(m *Mount) (is Isolation, apart bool, err error) {
	asked := m.says("isolate")
	switch {
	case !isolatable(m.Kind) && asked:
		return is, false, pagi.BadOption("isolate", "is for mounts of psgi, cgi and perlpagi, whose processes can be kept apart")
	case !isolatable(m.Kind):
		return is, false, nil
	}
	is = m.Isolate
	if !asked {
		is = s.Settings.Isolate
		asked = !reflect.ValueOf(is).IsZero()
	}
	switch err := is.Check(); {
	case err != nil:
		return is, false, inPart("isolate", err)
	case is.IsNone():
		return is, false, nil
	case s.Adapters == nil && asked:
		return is, false, pagi.BadOption("isolate", "needs a program that runs by command.Main, as pagi-bridge does")
	case s.Adapters == nil, !asked && s.Development():
		return is, false, nil
	case is.User != "" && s.Settings.User != "" && is.User != s.Settings.User:
		return is, false, pagi.BadOption("isolate.user", "needs a gateway that stays root, which the setting user: %s ends", s.Settings.User)
	}
	return is, true, nil
}

// perlTime is how long a perl may take to tell where its modules are.
const perlTime = 5 * time.Second

// reaches returns the files that the adapter of a mount needs where its files are limited.
func (s *Site) reaches(m *Mount, is Isolation) (needs confine.Needs) {
	if is.Read == nil && is.Write == nil {
		return needs
	}
	var perl string
	var paths []string
	switch o := m.Options.(type) {
	case *psgi.PSGI:
		perl = o.Perl
		paths = append([]string{filepath.Dir(o.App), o.Dir}, append(slices.Clone(o.Lib), o.LocalLib...)...)
		if o.App == "" {
			paths[0] = ""
		}
	case *perlpagi.PAGI:
		perl = o.Perl
		paths = append([]string{o.Dir}, append(slices.Clone(o.Lib), o.LocalLib...)...)
		if o.App != "" {
			paths = append(paths, filepath.Dir(o.App))
		}
	case *cgi.CGI:
		perl = s.Settings.Perl
		paths = []string{o.Root, o.Script, o.DocumentRoot}
		for _, program := range o.Interpreters {
			paths = append(paths, program)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), perlTime)
	defer cancel()
	// A CGI mount may do without a perl, and a PSGI mount without one has failed already.
	if dirs, err := confine.PerlDirs(ctx, cmp.Or(perl, "perl"), os.Environ()); err == nil {
		paths = append(paths, dirs...)
	}
	for _, path := range paths {
		if path == "" {
			continue
		}
		if path = absolute(path); realPath(path) != "" {
			needs.Read = append(needs.Read, path)
		}
	}
	slices.Sort(needs.Read)
	needs.Read = slices.Compact(needs.Read)
	return needs
}

// setApart has the workers of a mount run in an adapter.
func (s *Site) setApart(m *Mount, is Isolation) (err error) {
	mount := adapters.Mount{Kind: m.Kind, Name: m.Name(), Needs: s.reaches(m, is)}
	switch o := m.Options.(type) {
	case *psgi.PSGI:
		apart := *o
		apart.Env = s.withEnvironment(o.Env)
		mount.Options = apart
		o.Crew, err = s.Adapters.Crew(is, mount)
	case *perlpagi.PAGI:
		apart := *o
		apart.Env = s.withEnvironment(o.Env)
		mount.Options = apart
		o.Crew, err = s.Adapters.Crew(is, mount)
	}
	return err
}

// environmentVariable names the variable in which programs find the environment.
const environmentVariable = "PAGI_ENV"

// withEnvironment returns the variables of a mount with the site's environment. An adapter may have been started by a site
// with another one.
func (s *Site) withEnvironment(env map[string]string) map[string]string {
	if _, own := env[environmentVariable]; own {
		return env
	}
	env = maps.Clone(env)
	if env == nil {
		env = map[string]string{}
	}
	env[environmentVariable] = s.Settings.Environment
	return env
}

// cgiApart returns the application of a CGI mount whose scripts run in an adapter.
func (s *Site) cgiApart(m *Mount, o *cgi.CGI, is Isolation) (pagi.App, error) {
	return s.Adapters.CGI(is, m.Name(), *o, s.reaches(m, is))
}
