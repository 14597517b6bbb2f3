package apps

import "strings"

// cleanPath turns a request's decoded path into a name relative to a root, "." for
// the root itself. ok is false for a path that is refused whatever stands there: a
// component of dots only, a name with a backslash or NUL, a dotfile unless hidden
// ones are allowed. slash reports that the path asks for a directory.
func cleanPath(path string, hidden bool) (name string, slash, ok bool) {
	if strings.ContainsAny(path, "\\\x00") {
		return "", false, false
	}
	var parts []string
	for part := range strings.SplitSeq(path, "/") {
		switch {
		case part == "":
			continue
		case strings.Trim(part, ".") == "", part[0] == '.' && !hidden:
			return "", false, false
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return ".", true, true
	}
	return strings.Join(parts, "/"), strings.HasSuffix(path, "/"), true
}
