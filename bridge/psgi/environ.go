package psgi

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/supervisor"
)

// environ returns the environment of the workers: the gateway's without its private variables, then
// PLACK_ENV and Env. The directories of LocalLib come first in PERL5LIB and PATH.
func (o *PSGI) environ() []string {
	env := slices.DeleteFunc(os.Environ(), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return supervisor.IsPrivate(name)
	})
	env = append(env, "PLACK_ENV="+o.Environment)
	for name, value := range o.Env {
		env = append(env, name+"="+value)
	}
	for name, sub := range map[string]string{"PERL5LIB": "lib/perl5", "PATH": "bin"} {
		if len(o.LocalLib) == 0 {
			break
		}
		var list []string
		for _, dir := range o.LocalLib {
			list = append(list, filepath.Join(o.path(dir), sub))
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

// checkEnviron reports a LocalLib that is not one, and an Umask that is not an octal mode.
func (o *PSGI) checkEnviron() error {
	for _, dir := range o.LocalLib {
		lib := filepath.Join(o.path(dir), "lib", "perl5")
		switch info, err := os.Stat(lib); {
		case err != nil:
			return fmt.Errorf("local_lib: %w", err)
		case !info.IsDir():
			return fmt.Errorf("local_lib: %s is not a directory", lib)
		}
	}
	_, err := o.umask()
	return err
}

// umask returns the workers' umask; 0 also if none is given.
func (o *PSGI) umask() (fs.FileMode, error) {
	if o.Umask == "" {
		return 0, nil
	}
	mode, err := strconv.ParseUint(strings.TrimPrefix(o.Umask, "0o"), 8, 32)
	if err != nil || mode > 0o777 {
		return 0, fmt.Errorf("umask: must be octal like 0027, is %q", o.Umask)
	}
	return fs.FileMode(mode), nil
}
