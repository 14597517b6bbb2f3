//go:build linux && (amd64 || arm64 || riscv64)

package perlfork

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// discreet are libraries that look at something that differs from process to process, but have no function that returns it.
// OpenSSL is not one of them: once it has a seed, its random numbers come without a system call.
var discreet = []struct {
	library string
	calls   []string                // reasons for which they would be refused
	only    func(a *[6]uint64) bool // nil: all
}{
	{"libgnutls.so", []string{usesRandom}, isProbe},
	{"libxml2.so", []string{looksAtClock}, nil}, // for the order of its own tables
	{"libnuma.so", []string{looksAtStatus, looksAtMemory, placesMemory}, nil},
}

// isProbe reports whether getrandom is asked for one byte: a library finds out whether the kernel has it.
func isProbe(a *[6]uint64) bool { return a[1] == 1 }

// isDiscreet reports whether the call is made by a library of discreet and is one that this library may make.
func (j *judge) isDiscreet(why string, a *[6]uint64) bool {
	name := ""
	for _, d := range discreet {
		if !slices.Contains(d.calls, why) {
			continue
		}
		if name == "" {
			name = j.caller()
		}
		if strings.HasPrefix(name, d.library) {
			return d.only == nil || d.only(a)
		}
	}
	return false
}

// modulesThatLook are modules that are known to look at something when they are loaded, and to keep nothing of it.
var modulesThatLook = []struct {
	module string
	while  func(j *judge, module string) bool
	why    string
	times  int
}{
	// Mojo::Util asks whether there is a monotonic clock.
	{"Mojo/Util.pm", (*judge).reads, looksAtClock, 1},
}

// runs reports whether the statements of a module are run: its file was closed last.
func (j *judge) runs(module string) bool { return isInstalled(j.files.closed, module) }

// reads reports whether a module is being read: its file was opened last of those that are open.
func (j *judge) reads(module string) bool { return isInstalled(j.files.innermost(), module) }

// libraryDirectory matches the directories in which a distribution keeps Perl's modules.
var libraryDirectory = regexp.MustCompile(`^/(usr|opt)/([^/]+/)*(perl5?|perl-base|[0-9][0-9.]*)/$`)

// isInstalled reports whether a file is that module as the distribution has installed it.
func isInstalled(file, module string) bool {
	directory, is := strings.CutSuffix(file, module)
	return is && libraryDirectory.MatchString(directory)
}

// isKnown reports whether the call is one of modulesThatLook.
func (j *judge) isKnown(why string) bool {
	for _, m := range modulesThatLook {
		if m.why == why && j.allowed[m.module] < m.times && m.while(j, m.module) {
			if j.allowed == nil {
				j.allowed = map[string]int{}
			}
			j.allowed[m.module]++
			return true
		}
	}
	return false
}

// lookAtClock judges calls that tell the time. One of them may pass: that of the module that asks for the year. Its file was
// closed last, so its statements are being run.
func (j *judge) lookAtClock(*[6]uint64) string {
	if now := time.Now(); j.runs(calendarModule) && !j.calendar && isOneYear(now, now) {
		j.calendar = true
		return ""
	}
	return looksAtClock
}

// calendarModule is perl's own module that notes the year when it is loaded, once, and what follows
// from it for years of two digits.
const calendarModule = "Time/Local.pm"
