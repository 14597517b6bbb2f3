package apps

import (
	"net/http"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/refusal"
)

// wellKnown is the one name that begins with a dot and is served (RFC 8615).
const wellKnown = ".well-known"

// cleanPath turns a request's decoded path into a name relative to a root, "." for
// the root itself. slash reports that the path asks for a directory; the empty path,
// which is a mount's without its slash, does not.
//
// why is set for a path that is refused whether or not a file exists there. It is 404 for two
// slashes in a row: such a path would evade the more specific mounts, and rules that compare paths
// as they are. It is 403 for a component of dots only, a name with a backslash or NUL, and a
// dotfile other than /.well-known unless hidden ones are allowed.
func cleanPath(path string, hidden bool) (name string, slash bool, why refusal.Reason) {
	if strings.ContainsAny(path, "\\\x00") {
		return "", false, refusal.Reason{Status: http.StatusForbidden, Text: "the path has a backslash or NUL in it"}
	}
	name = strings.TrimPrefix(path, "/")
	if name == "" {
		return ".", path != "", why
	}
	name, slash = strings.CutSuffix(name, "/")
	first := true
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "":
			return name, false, refusal.Reason{Status: http.StatusNotFound, Text: "the path has two slashes in a row"}
		case strings.Trim(part, ".") == "":
			return "", false, refusal.Reason{Status: http.StatusForbidden, Text: "the path has a component of dots"}
		case part[0] == '.' && !hidden && !(first && part == wellKnown):
			why = refusal.Reason{Status: http.StatusForbidden, Text: "its name begins with a dot", Option: "show_hidden"}
		}
		first = false
	}
	return name, slash, why
}
