// Package perlprocess makes the command of a Perl worker from the options that all kinds of Perl applications have.
package perlprocess

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/supervisor"
)

// Options are how perl is started. Their meaning for users stands in the options of the applications.
type Options struct {
	Perl, Dir   string // Resolve makes them absolute
	Lib         []string
	Modules     []string
	LocalLib    []string
	Env         map[string]string
	Environment string // PLACK_ENV, and PAGI_ENV where PAGI is set
	PAGI        bool
	Umask       string // in octal
}

// Resolve makes the names absolute, and reports what cannot be used.
func (o *Options) Resolve() error {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return fmt.Errorf("dir: %w", err)
	}
	o.Dir = dir
	switch {
	case o.Perl == "":
		o.Perl = "perl"
	case strings.Contains(o.Perl, "/"):
		o.Perl = o.Path(o.Perl)
	}
	if o.Perl, err = exec.LookPath(o.Perl); err != nil {
		return fmt.Errorf("perl: %w", err)
	}
	for _, dir := range o.LocalLib {
		lib := filepath.Join(o.Path(dir), "lib", "perl5")
		switch info, err := os.Stat(lib); {
		case err != nil:
			return fmt.Errorf("local_lib: %w", err)
		case !info.IsDir():
			return fmt.Errorf("local_lib: %s is not a directory", lib)
		}
	}
	_, err = o.mask()
	return err
}

// File returns the absolute name of the application's file, which must be one. Resolve comes first.
func (o *Options) File(name string) (string, error) {
	name = o.Path(name)
	switch info, err := os.Stat(name); {
	case err != nil:
		return "", fmt.Errorf("app: %w", err)
	case info.IsDir():
		return "", fmt.Errorf("app: %s is a directory", name)
	}
	return name, nil
}

// Path returns a name that is relative to Dir as an absolute one.
func (o *Options) Path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(o.Dir, name)
}

// Command returns the command that runs a script of the runtime.
func (o *Options) Command(script string) *exec.Cmd {
	var args []string
	for _, dir := range o.Lib {
		args = append(args, "-I"+o.Path(dir))
	}
	for _, module := range o.Modules {
		args = append(args, "-M"+module)
	}
	cmd := exec.Command(o.Perl, append(args, script)...)
	cmd.Dir = o.Dir
	cmd.Env = o.environ()
	return cmd
}

// Configuration returns the pairs of a worker's configuration that come from these options.
func (o *Options) Configuration() ([]string, error) {
	if o.Umask == "" {
		return nil, nil
	}
	mask, err := o.mask()
	return []string{"umask", strconv.Itoa(int(mask))}, err
}

// environ returns the environment of the workers: the gateway's without its private variables, then
// the name of the environment and Env. The directories of LocalLib come first in PERL5LIB and PATH.
func (o *Options) environ() []string {
	env := slices.DeleteFunc(os.Environ(), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return supervisor.IsPrivate(name)
	})
	env = append(env, "PLACK_ENV="+o.Environment)
	if o.PAGI {
		env = append(env, "PAGI_ENV="+o.pagiEnvironment())
	}
	for name, value := range o.Env {
		env = append(env, name+"="+value)
	}
	for name, sub := range map[string]string{"PERL5LIB": "lib/perl5", "PATH": "bin"} {
		if len(o.LocalLib) == 0 {
			break
		}
		var list []string
		for _, dir := range o.LocalLib {
			list = append(list, filepath.Join(o.Path(dir), sub))
		}
		value, set := o.Env[name]
		if !set {
			value = os.Getenv(name)
		}
		if value != "" {
			list = append(list, value)
		}
		env = append(env, name+"="+strings.Join(list, string(os.PathListSeparator)))
	}
	return env
}

// pagiEnvironment returns PAGI's word for the environment: it says production where PSGI says deployment.
func (o *Options) pagiEnvironment() string {
	if o.Environment == "deployment" {
		return "production"
	}
	return o.Environment
}

// mask returns the workers' umask; 0 also if none is given.
func (o *Options) mask() (fs.FileMode, error) {
	if o.Umask == "" {
		return 0, nil
	}
	mode, err := strconv.ParseUint(strings.TrimPrefix(o.Umask, "0o"), 8, 32)
	if err != nil || mode > 0o777 {
		return 0, fmt.Errorf("umask: must be octal like 0027, is %q", o.Umask)
	}
	return fs.FileMode(mode), nil
}
