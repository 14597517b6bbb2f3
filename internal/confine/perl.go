package confine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// perlTells prints the absolute directories in which a Perl looks for modules, and those of its own program and libraries.
const perlTells = `print join "\0", $^X, @Config::Config{qw(installbin privlibexp archlibexp)}, @INC`

// PerlDirs asks a Perl for the directories that it needs to run, for Needs.Read: its own and those in which it looks for
// modules. env is its environment. A Perl of the system, below /usr, mostly needs none that an adapter does not have anyhow.
func PerlDirs(ctx context.Context, perl string, env []string) ([]string, error) {
	cmd := exec.CommandContext(ctx, perl, "-MConfig", "-e", perlTells)
	cmd.Env = env
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ask %s for its directories: %w", perl, err)
	}
	names := strings.Split(string(out), "\x00")
	names[0] = filepath.Dir(names[0])
	var dirs []string
	for _, dir := range names {
		if filepath.IsAbs(dir) && isDir(dir) {
			dirs = append(dirs, filepath.Clean(dir))
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs), nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
