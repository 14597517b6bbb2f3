package apps

import (
	"net/http"
	"strings"
)

// cleanPath turns a request's decoded path into a name relative to a root, "." for
// the root itself. slash reports that the path asks for a directory.
//
// status is 0, or that of a path which is refused whatever stands there: 404 for
// two slashes in a row, which would name a file past the more specific mounts and
// rules that compare paths as they are; 403 for a component of dots only, a name
// with a backslash or NUL, and a dotfile unless hidden ones are allowed.
func cleanPath(path string, hidden bool) (name string, slash bool, status int) {
	if strings.ContainsAny(path, "\\\x00") {
		return "", false, http.StatusForbidden
	}
	name = strings.TrimPrefix(path, "/")
	if name == "" {
		return ".", true, 0
	}
	name, slash = strings.CutSuffix(name, "/")
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "":
			return "", false, http.StatusNotFound
		case strings.Trim(part, ".") == "", part[0] == '.' && !hidden:
			return "", false, http.StatusForbidden
		}
	}
	return name, slash, 0
}
