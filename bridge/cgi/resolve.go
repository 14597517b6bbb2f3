//go:build unix

package cgi

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	reasons "github.com/pagi-go/pagi-bridge/internal/refusal"
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
	slash    bool   // a redirect to the same path with a slash at its end

	// Why a path is refused, for the log.
	text, option string
	file         string // below Root, "" for Root itself; or absolute
	there        bool   // the file is there
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s", r.status, http.StatusText(r.status)) }

func notFound(file, text string) *refusal {
	return &refusal{status: http.StatusNotFound, file: file, text: text}
}

// withheld is the answer for a file that is there.
func withheld(status int, file, text, option string) *refusal {
	return &refusal{status: status, file: file, text: text, option: option, there: true}
}

const (
	noFile        = "there is no such file"
	noExecuteBit  = "it has no execute bit, and no program runs files of its extension"
	noPathInfo    = "the path goes on behind the script"
	mayNotBeFound = "the gateway's user may not search the directory"
)

// resolve finds the script a scope asks for. The error is a *refusal where the
// path is to blame.
func (a *app) resolve(scope *pagi.Scope) (script, error) {
	switch {
	case strings.IndexByte(scope.Path, 0) >= 0:
		return script{}, notFound("", "the path has NUL in it")
	case hasParentSegment(scope.Path):
		return script{}, notFound("", "the path has a segment of two dots")
	case a.Script != "":
		return a.single(scope)
	}
	s, err := a.walk(scope)
	if err != nil {
		return script{}, err
	}
	if hidesSeparator(scope, s.name) {
		return script{}, withheld(http.StatusNotFound, s.file, "a slash or backslash of the path is percent-encoded", "")
	}
	return s, nil
}

// single is resolve for the Script option.
func (a *app) single(scope *pagi.Scope) (script, error) {
	s := script{file: a.Script, name: scope.RootPath, info: scope.Path, nph: a.isNPH(a.Script)}
	switch info, err := os.Stat(s.file); {
	case errors.Is(err, fs.ErrNotExist):
		return script{}, notFound(s.file, noFile)
	case err != nil:
		return script{}, fmt.Errorf("cgi: script: %w", err)
	case !runnable(info) && a.interpreter(s.file) == "":
		return script{}, withheld(http.StatusForbidden, s.file, noExecuteBit, "interpreters")
	case s.info != "" && !a.acceptsPathInfo():
		return script{}, withheld(http.StatusNotFound, s.file, noPathInfo, "path_info")
	}
	s.interpreter = a.interpreter(s.file)
	return s, nil
}

// walk follows the path's segments down from Root to the first file. Below a file
// nothing can exist, so that is the longest existing script.
//
// The name of Root is looked up each time: it may be a link that a deployment moves.
func (a *app) walk(scope *pagi.Scope) (script, error) {
	root, err := a.root.open(a.Root)
	if err != nil {
		return script{}, fmt.Errorf("cgi: root: %w", err)
	}

	rel, rest := "", scope.Path
	for rest != "" {
		segment, after := firstSegment(rest)
		if segment == "" {
			if after != "" {
				return script{}, notFound(rel, "the path has two slashes in a row")
			}
			return a.index(scope, root, rel)
		}
		rel, rest = path.Join(rel, segment), after
		if segment[0] == '.' || strings.IndexByte(segment, '\\') >= 0 {
			return script{}, hidden(root, rel)
		}
		entry, err := a.stat(root, rel)
		switch {
		case errors.Is(err, errLeadsOut):
			return script{}, withheld(http.StatusNotFound, rel, err.Error(), reasons.OptionFollow)
		case errors.Is(err, fs.ErrPermission):
			return script{}, &refusal{status: http.StatusForbidden, file: rel, text: mayNotBeFound}
		case err != nil: // missing, too long, a link in circles
			return script{}, notFound(rel, noFile)
		case entry.IsDir():
			continue
		case !entry.Mode().IsRegular():
			return script{}, withheld(http.StatusNotFound, rel, "it is neither a file nor a directory", "")
		}
		return a.found(scope, root, rel, rest, entry)
	}
	// A directory without its slash: relative links in its index would miss.
	if _, err := a.index(scope, root, rel); err != nil {
		return script{}, err
	}
	return script{}, &refusal{slash: true}
}

// hidden is the refusal of a name that begins with a dot, or has a backslash in it.
func hidden(root *os.Root, rel string) *refusal {
	info, err := root.Lstat(rel)
	return &refusal{
		status: http.StatusNotFound, file: rel, text: "its name begins with a dot, or has a backslash in it",
		there: err == nil && !info.IsDir(),
	}
}

// errLeadsOut says that a symbolic link leads out of Root and may not be followed.
var errLeadsOut = errors.New("a symbolic link leads out of the directory")

// stat describes a file below Root, or one that a symbolic link leads to where
// FollowSymlinks allows it.
func (a *app) stat(root *os.Root, rel string) (fs.FileInfo, error) {
	entry, err := root.Stat(rel)
	var errno syscall.Errno
	if err == nil || errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || errors.As(err, &errno) {
		return entry, err
	}
	// os.Root's own refusals carry no error of the system.
	target, why := reasons.Follow(a.FollowSymlinks, a.Root, rel)
	switch {
	case why == nil:
		return os.Stat(target)
	case errors.Is(why, fs.ErrNotExist): // the link may be followed, and leads nowhere
		return nil, why
	case a.FollowSymlinks == reasons.FollowOwner:
		return nil, fmt.Errorf("%w: %w", errLeadsOut, why)
	default:
		return nil, errLeadsOut
	}
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
		return script{}, withheld(http.StatusNotFound, rel, noPathInfo, "path_info")
	case a.Static != StaticServe:
		return script{}, withheld(http.StatusForbidden, rel, noExecuteBit, "static")
	case a.beginsLikeAScript(root, rel):
		return script{}, withheld(http.StatusForbidden, rel, "it begins with #! but has no execute bit", "")
	case info != "":
		return script{}, withheld(http.StatusNotFound, rel, "the path goes on behind the file", "")
	}
	s.static = "/" + rel
	return s, nil
}

// index finds the index script of the directory rel.
func (a *app) index(scope *pagi.Scope, root *os.Root, rel string) (script, error) {
	if a.Index == "" {
		return script{}, &refusal{status: http.StatusNotFound, file: rel, text: "it is a directory, and no script answers for it", option: "index"}
	}
	rel = path.Join(rel, a.Index)
	entry, err := a.stat(root, rel)
	switch {
	case errors.Is(err, errLeadsOut):
		return script{}, withheld(http.StatusNotFound, rel, err.Error(), reasons.OptionFollow)
	case err != nil:
		return script{}, notFound(rel, noFile)
	case !entry.Mode().IsRegular():
		return script{}, withheld(http.StatusNotFound, rel, "it is no file", "")
	}
	return a.found(scope, root, rel, "", entry)
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
