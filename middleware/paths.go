package middleware

import (
	"path"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// protects reports whether one of the paths stands for the request: a path stands for itself and for
// all below it, and no paths stand for every request. It is for what the paths protect. An
// application may take "//admin" or "/x/../admin" for "/admin", so the cleaned path counts too.
func protects(paths []string, scope *pagi.Scope) bool {
	if len(paths) == 0 {
		return true
	}
	asked := scope.RootPath + scope.Path
	cleaned := cleanPath(asked)
	return slices.ContainsFunc(paths, func(p string) bool { return isAtOrBelow(asked, p) || isAtOrBelow(cleaned, p) })
}

// cleanPath returns a path as path.Clean does, with a slash in front. A slash at the end may stay.
func cleanPath(asked string) string {
	if strings.HasPrefix(asked, "/") && !strings.Contains(asked, "//") && !strings.Contains(asked, "/.") {
		return asked // path.Clean would allocate
	}
	return path.Clean("/" + asked)
}

func isAtOrBelow(asked, p string) bool {
	p = strings.TrimSuffix(p, "/")
	rest, ok := strings.CutPrefix(asked, p)
	return ok && (rest == "" || rest[0] == '/')
}

// exempts reports whether one of the paths stands for the request: a path stands for itself, and
// with a slash at its end for all below it. It is for exceptions, so a path that an application may
// take for another one is never exempt.
func exempts(paths []string, scope *pagi.Scope) bool {
	if len(paths) == 0 {
		return false
	}
	asked := scope.RootPath + scope.Path
	if cleaned := cleanPath(asked); cleaned != asked && cleaned != strings.TrimSuffix(asked, "/") {
		return false
	}
	return slices.ContainsFunc(paths, func(p string) bool {
		return p == asked || strings.HasSuffix(p, "/") && strings.HasPrefix(asked, p)
	})
}

// checkPaths reports a path that does not begin with a slash, and one that no request has because it
// is not clean.
func checkPaths(option string, paths []string) error {
	for _, p := range paths {
		if !strings.HasPrefix(p, "/") {
			return pagi.BadOption(option, "%q must begin with a slash", p)
		}
		if cleaned := path.Clean(p); cleaned != p && cleaned+"/" != p {
			return pagi.BadOption(option, "%q must be written as %q", p, cleaned)
		}
	}
	return nil
}
