//go:build linux && (amd64 || arm64 || riscv64)

package cgi

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

const (
	// scouts is how many of a zygote's first children tell which modules they have
	// loaded while they ran.
	scouts = 2
	// maxLearned is how many modules are believed to be loaded by a script while it runs.
	maxLearned = 100
)

var isModuleFile = regexp.MustCompile(`^[A-Za-z_][\w/]*\.pm$`)

// readReport reads what one of the first children, which has ended, has loaded.
func (z *zygote) readReport(pid int) {
	z.mu.Lock()
	z.scouts--
	last := z.scouts == 0
	z.mu.Unlock()
	if last {
		_ = post(z.control, []byte{0}) // those to come need not report; one that has gone will not
	}
	name := filepath.Join(z.owner.reports(), "loaded-"+strconv.Itoa(pid))
	text, err := readPlain(name, largestMessage)
	if err != nil {
		return // it has ended in another way
	}
	_ = os.Remove(name) // else with the directory
	var modules []string
	for line := range strings.Lines(string(text)) {
		if file := strings.TrimSuffix(line, "\n"); isModuleFile.MatchString(file) && len(modules) < maxLearned {
			modules = append(modules, file)
		}
	}
	if len(modules) > 0 {
		z.owner.learn(z, modules)
	}
}

// learn compiles a script anew, with modules that it has been seen to load while it
// ran. The zygote it has serves until then.
func (f *accelerator) learn(z *zygote, modules []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.scripts[z.file]
	if !f.running || s == nil || s.zygote != z || s.taught {
		return
	}
	s.taught, s.later = true, modules
	f.tasks.Go(func() { f.compile(s, z.trigger) })
}
