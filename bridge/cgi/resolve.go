//go:build unix

package cgi

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// script is a file to run and the two halves of the path that named it.
type script struct {
	file string // absolute
	name string // SCRIPT_NAME
	info string // PATH_INFO
	nph  bool   // it writes a whole HTTP response
	// interpreter is the program that runs file; "" where file runs by itself.
	interpreter string
	// static is the path of a file that is to be served instead, below the mount.
	static string
}

// refusal is the answer to a path that names no script.
type refusal struct {
	status   int
	location string // of a redirect
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s", r.status, http.StatusText(r.status)) }

var (
	notFound  = &refusal{status: http.StatusNotFound}
	forbidden = &refusal{status: http.StatusForbidden}
)

// resolve finds the script a scope asks for. The error is a *refusal where the
// path is to blame.
func (a *app) resolve(scope *pagi.Scope) (script, error) {
	if strings.IndexByte(scope.Path, 0) >= 0 || hasParentSegment(scope.Path) {
		return script{}, notFound
	}
	if a.Script != "" {
		return a.single(scope)
	}
	s, err := a.walk(scope)
	if err != nil {
		return script{}, err
	}
	if hidesSeparator(scope, s.name) {
		return script{}, notFound
	}
	return s, nil
}

// single is resolve for the Script option.
func (a *app) single(scope *pagi.Scope) (script, error) {
	s := script{file: a.Script, name: scope.RootPath, info: scope.Path, nph: a.isNPH(a.Script)}
	if s.info == "/" && scope.RawPath != "" && !strings.HasSuffix(scope.RawPath, "/") {
		s.info = "" // the slash is the mount's: the client's path ended with the script's name
	}
	switch info, err := os.Stat(s.file); {
	case errors.Is(err, fs.ErrNotExist):
		return script{}, notFound
	case err != nil:
		return script{}, fmt.Errorf("cgi: script: %w", err)
	case !runnable(info) && a.interpreter(s.file) == "":
		return script{}, forbidden
	case s.info != "" && !a.acceptsPathInfo():
		return script{}, notFound
	}
	s.interpreter = a.interpreter(s.file)
	return s, nil
}

// walk follows the path's segments down from Root to the first file. Below a file
// nothing can exist, so that is the longest existing script.
//
// Root is opened anew each time: it may be a link that a deployment moves.
func (a *app) walk(scope *pagi.Scope) (script, error) {
	root, err := os.OpenRoot(a.Root)
	if err != nil {
		return script{}, fmt.Errorf("cgi: root: %w", err)
	}
	defer root.Close() // a directory opened for reading

	rel, rest := "", scope.Path
	if rest == "" {
		rest = "/"
	}
	for rest != "" {
		segment, after := firstSegment(rest)
		if segment == "" {
			if after != "" { // two slashes in a row name nothing
				return script{}, notFound
			}
			return a.index(scope, root, rel)
		}
		if segment[0] == '.' || strings.IndexByte(segment, '\\') >= 0 {
			return script{}, notFound
		}
		rel, rest = path.Join(rel, segment), after
		entry, err := root.Stat(rel)
		switch {
		case errors.Is(err, fs.ErrPermission):
			return script{}, forbidden
		case err != nil: // missing, too long, a link in circles, a link that leads out
			return script{}, notFound
		case entry.IsDir():
			continue
		case !entry.Mode().IsRegular():
			return script{}, notFound
		}
		return a.found(scope, root, rel, rest, entry)
	}
	// A directory without its slash: relative links in its index would miss.
	if _, err := a.index(scope, root, rel); err != nil {
		return script{}, err
	}
	return script{}, movedToSlash(scope)
}

// found judges the file rel, behind whose name the path goes on with info.
func (a *app) found(scope *pagi.Scope, root *os.Root, rel, info string, entry fs.FileInfo) (script, error) {
	s := script{
		file: filepath.Join(a.Root, rel),
		name: scope.RootPath + "/" + rel,
		info: info,
		nph:  a.isNPH(rel),

		interpreter: a.interpreter(rel),
	}
	switch isScript := s.interpreter != "" || runnable(entry); {
	case isScript && (info == "" || a.acceptsPathInfo()):
		return s, nil
	case isScript:
		return script{}, notFound
	case a.Static != StaticServe || beginsLikeAScript(root, rel):
		return script{}, forbidden
	case info != "":
		return script{}, notFound
	}
	s.static = "/" + rel
	return s, nil
}

// index finds the index script of the directory rel.
func (a *app) index(scope *pagi.Scope, root *os.Root, rel string) (script, error) {
	if a.Index == "" {
		return script{}, notFound
	}
	rel = path.Join(rel, a.Index)
	entry, err := root.Stat(rel)
	if err != nil || !entry.Mode().IsRegular() {
		return script{}, notFound
	}
	return a.found(scope, root, rel, "", entry)
}

// movedToSlash sends the client to the same path with a slash at its end.
func movedToSlash(scope *pagi.Scope) *refusal {
	location := (&url.URL{Path: scope.RootPath + scope.Path + "/"}).EscapedPath()
	if scope.QueryString != "" {
		location += "?" + scope.QueryString
	}
	if scope.Method == http.MethodGet || scope.Method == http.MethodHead {
		return &refusal{http.StatusMovedPermanently, location}
	}
	return &refusal{http.StatusPermanentRedirect, location}
}

// firstSegment splits p, which begins with a slash, before the next one.
func firstSegment(p string) (segment, after string) {
	if i := strings.IndexByte(p[1:], '/'); i >= 0 {
		return p[1 : i+1], p[i+1:]
	}
	return p[1:], ""
}

// hasParentSegment reports whether a whole segment of p is "..". Clients resolve
// such segments before they send a path (RFC 3986 section 5.2.4).
func hasParentSegment(p string) bool {
	for segment := range strings.SplitSeq(p, "/") {
		if segment == ".." {
			return true
		}
	}
	return false
}

// hidesSeparator reports whether a slash or backslash in name, the decoded path
// down to the script, was sent percent-encoded. Such a path looks different to
// whatever decides by path in front of us.
func hidesSeparator(scope *pagi.Scope, name string) bool {
	raw := scope.RawPath
	if strings.IndexByte(raw, '%') < 0 {
		return false
	}
	for i, decoded := 0, 0; i < len(raw) && decoded < len(name); i, decoded = i+1, decoded+1 {
		if raw[i] != '%' || i+2 >= len(raw) {
			continue
		}
		switch strings.ToLower(raw[i+1 : i+3]) {
		case "2f", "5c":
			return true
		}
		i += 2
	}
	return false
}
