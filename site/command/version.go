package command

import (
	"fmt"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
)

// built is the version that the Makefile gives to the linker, as "git describe" prints it: "v0.1.0", or
// "v0.1.0-12-gabcdef0-dirty". Otherwise it is empty, and the version is that of the module.
var built string

// version returns the version of this program: "0.1.0" for a tag, "0.1.0+12.gabcdef0" for what comes after it, "devel" if
// neither a tag nor a commit is known. A later one sorts behind an earlier one for dpkg and rpm.
func version() string {
	if v := described(built); v != "" {
		return v
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	return ofModule(info.Main.Version, settings)
}

// describe matches what "git describe --tags --dirty" prints. Without a tag it is a commit alone.
var describe = regexp.MustCompile(`^v(\d+\.\d+\.\d+\S*?)(?:-(\d+)-g([0-9a-f]+))?(-dirty)?$|^([0-9a-f]{7,})(-dirty)?$`)

// described makes a version of an output of git describe, "" of anything else.
func described(text string) string {
	m := describe.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	var more []string
	v := m[1]
	switch {
	case m[5] != "":
		v, more = "0.0.0", []string{"g" + m[5]}
	case m[2] != "":
		more = []string{m[2], "g" + m[3]}
	}
	if m[4]+m[6] != "" {
		more = append(more, "dirty")
	}
	return joined(v, more)
}

// pseudo matches the version that Go gives to a commit: v0.0.0-TIME-COMMIT, or v0.1.1-0.TIME-COMMIT after the tag v0.1.0.
var pseudo = regexp.MustCompile(`^v(\d+\.\d+)\.(\d+)-(?:(\S+\.)?0\.)?(\d{8})\d{6}-([0-9a-f]{7})[0-9a-f]*$`)

// ofModule makes a version of that of a module, as "go install" and "go build" write it into the program. A commit's number
// behind the tag is not known there: its day is in the place of it.
func ofModule(module string, settings map[string]string) string {
	module, dirty := strings.CutSuffix(strings.TrimSuffix(module, "+incompatible"), "+dirty")
	var more []string
	v := strings.TrimPrefix(module, "v")
	if m := pseudo.FindStringSubmatch(module); m != nil {
		var patch int
		_, _ = fmt.Sscan(m[2], &patch) // digits
		v, more = fmt.Sprintf("%s.%d", m[1], max(0, patch-1)), []string{m[4], "g" + m[5]}
		if m[3] != "" { // after a pre-release
			v = m[1] + "." + m[2] + "-" + strings.TrimSuffix(m[3], ".")
		}
	} else if module == "" || module == "(devel)" {
		revision := settings["vcs.revision"]
		if len(revision) < 7 {
			return "devel"
		}
		v, more, dirty = "0.0.0", []string{"g" + revision[:7]}, settings["vcs.modified"] == "true"
	}
	if dirty {
		more = append(more, "dirty")
	}
	return joined(v, more)
}

func joined(v string, more []string) string {
	if len(more) == 0 {
		return v
	}
	return v + "+" + strings.Join(more, ".")
}

func versionLine() string {
	return fmt.Sprintf("pagi-bridge %s (PAGI 0.3, %s, %s/%s)", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
