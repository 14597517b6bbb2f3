package apps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/pagi-go/pagi-bridge/internal/httpfile"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/refusal"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// File serves the files below a directory, or one file.
//
// It answers GET and HEAD, conditional requests (RFC 9110 section 13) and ranges, single and
// multiple (section 14); other methods get 405. A directory is answered with its index file, after
// a redirect to the path with a slash at its end. A file is opened once and sent from that handle,
// so that the headers describe the bytes that are sent.
//
// These are refused with 403, whether or not a file exists there: a path component of two or more
// dots, a backslash, a NUL, a dotfile other than /.well-known, and a symbolic link that leads out
// of Root. The reason of each 403 and 404 is logged at debug, and once at warn for a file that
// exists.
type File struct {
	// Root is the directory; "" means the current one. When its name is a symbolic link and the
	// link gets another target, File notices that within a second. Root may also be a file, which
	// is served for the mount's own path alone.
	Root string `yaml:"root" path:"yes"`
	// Index are the names tried for a directory, in order. nil means index.html
	// and index.htm, an empty list none.
	Index []string `yaml:"index"`
	// Types adds to or replaces the built-in media types by extension, without
	// dot and in lower case: {"pl": "text/x-perl"}.
	Types map[string]string `yaml:"types"`
	// DefaultType is the media type of files whose extension says nothing;
	// "" means application/octet-stream.
	DefaultType string `yaml:"default_type"`
	// Charset is added to text types, "off" adds none. "" means utf-8, except for a page or a style
	// sheet that names another charset in its first 1024 bytes.
	Charset string `yaml:"charset"`
	// CacheControl is sent as Cache-Control with files; "" sends none.
	CacheControl string `yaml:"cache_control"`
	// CacheRules gives a Cache-Control for some files in place of CacheControl: for an ending ("*.css"),
	// or for a path below the mount with all below it ("/assets"). The longest rule counts, and "off"
	// sends none.
	CacheRules map[string]string `yaml:"cache_rules"`
	// TryFiles are names below Root to try, in order, for a path that is no file, before the answer is
	// 404. {path} stands for the path: "{path}.html", "/index.html".
	TryFiles []string `yaml:"try_files"`
	// ShowHidden serves dotfiles too.
	ShowHidden bool `yaml:"show_hidden"`
	// DisableRanges ignores Range headers, for use behind a proxy that handles them itself.
	DisableRanges bool `yaml:"disable_ranges"`
	// Precompressed sends name.br or name.gz in place of name to a client that
	// accepts it, when that file exists and is not older than name.
	Precompressed bool `yaml:"precompressed"`
	// FollowSymlinks says which symbolic links may lead out of Root: "false", the default,
	// none; "true" all; "owner" those that belong to the owner of what they lead to.
	FollowSymlinks string `yaml:"follow_symlinks"`
	// Logger receives the reasons of refusals; nil means slog.Default.
	Logger *slog.Logger `yaml:"-"`

	root    root
	refused refusal.Log
}

func init() { parts.App[File]("file", "root") }

// Check reports a Root that is neither a directory nor a file, and options that cannot go
// into a header.
func (f *File) Check() error {
	err := f.checkOptions()
	if info, statErr := os.Stat(f.dir()); statErr != nil {
		return errors.Join(pagi.BadOption("root", "%w", statErr), err)
	} else if !info.IsDir() && !info.Mode().IsRegular() {
		return errors.Join(pagi.BadOption("root", "%s is neither a directory nor a file", f.dir()), err)
	}
	return err
}

// checkOptions checks all options except Root.
func (f *File) checkOptions() error {
	errs := []error{
		headerSafe("default_type", f.DefaultType),
		headerSafe("charset", f.Charset),
		headerSafe("cache_control", f.CacheControl),
	}
	if err := refusal.CheckFollow(f.FollowSymlinks); err != nil {
		errs = append(errs, pagi.BadOption(refusal.OptionFollow, "%w", err))
	}
	for ext, t := range f.Types {
		if ext != strings.ToLower(ext) || strings.HasPrefix(ext, ".") {
			errs = append(errs, pagi.BadOption("types", "%q must be an extension in lower case without its dot", ext))
		}
		errs = append(errs, headerSafe("types", t))
	}
	for rule, value := range f.CacheRules {
		if !strings.HasPrefix(rule, "/") && !strings.HasPrefix(rule, "*.") {
			errs = append(errs, pagi.BadOption("cache_rules", "%q must be an ending such as *.css, or begin with a slash", rule))
		}
		errs = append(errs, headerSafe("cache_rules", value))
	}
	for _, name := range f.TryFiles {
		if _, _, why := cleanPath(strings.ReplaceAll(name, "{path}", "/x"), true); why.Status != 0 || name == "" {
			errs = append(errs, pagi.BadOption("try_files", "%q must be the name of a file below root", name))
		}
	}
	for _, name := range f.Index {
		if _, slash, why := cleanPath(name, true); why.Status != 0 || slash || name == "" || strings.Contains(name, "/") {
			errs = append(errs, pagi.BadOption("index", "%q must be a file's name", name))
		}
	}
	return errors.Join(errs...)
}

// Serve answers an http scope with a file. A websocket scope gets 404.
func (f *File) Serve(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
	return f.serve(ctx, scope, send, nil)
}

// listFunc answers for a directory that has no index file; name is relative to
// root.
type listFunc func(ctx context.Context, scope *pagi.Scope, send pagi.Send, root *openRoot, name string) error

func (f *File) serve(ctx context.Context, scope *pagi.Scope, send pagi.Send, list listFunc) error {
	switch {
	case scope.Type == pagi.TypeLifespan:
		return pagi.Unsupported(scope)
	case scope.Type == pagi.TypeWebSocket:
		return reply.Status(ctx, scope, send, http.StatusNotFound)
	case scope.Method != "GET" && scope.Method != "HEAD":
		return reply.Status(ctx, scope, send, http.StatusMethodNotAllowed, "allow", "GET, HEAD")
	}
	name, slash, why := cleanPath(scope.Path, f.ShowHidden)
	dir, err := f.root.open(f.dir())
	if errors.Is(err, syscall.ENOTDIR) {
		return f.serveOnly(ctx, scope, send)
	} else if err != nil {
		return fmt.Errorf("root: %w", err)
	}
	if why.Status != 0 {
		return f.refuse(ctx, scope, send, dir, name, why)
	}
	file, err := f.open(dir, name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		if other := f.tryFiles(dir, name); other != nil {
			defer other.Close() // opened for reading: nothing to lose
			return f.serveFile(ctx, scope, send, dir, other)
		}
	}
	if err != nil {
		return f.refuseError(ctx, scope, send, dir, name, err)
	}
	defer file.Close()
	switch {
	case file.Dir:
		return f.serveDir(ctx, scope, send, dir, name, slash, list)
	case slash:
		return f.refuse(ctx, scope, send, dir, name, refusal.Reason{Status: 404, Text: "the path ends with a slash, but this is a file"})
	case !file.Regular:
		return f.refuse(ctx, scope, send, dir, name, refusal.Reason{Status: 404, Text: "it is neither a file nor a directory"})
	}
	return f.serveFile(ctx, scope, send, dir, file)
}

// serveDir redirects to the path with a slash, or serves an index file. Where there is none, it
// leaves the answer to list.
func (f *File) serveDir(ctx context.Context, scope *pagi.Scope, send pagi.Send, dir *openRoot, name string, slash bool, list listFunc) error {
	if !slash {
		return reply.ToSlash(ctx, scope, send)
	}
	index := f.Index
	if index == nil {
		index = []string{"index.html", "index.htm"}
	}
	for _, candidate := range index {
		file, err := f.open(dir, path.Join(name, candidate))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return f.refuseError(ctx, scope, send, dir, path.Join(name, candidate), err)
		}
		defer file.Close()
		if file.Regular {
			return f.serveFile(ctx, scope, send, dir, file)
		}
	}
	if list == nil {
		if other := f.tryFiles(dir, name); other != nil {
			defer other.Close()
			return f.serveFile(ctx, scope, send, dir, other)
		}
		return f.refuse(ctx, scope, send, dir, name, refusal.Reason{Status: 404, Text: "the directory has no index file", Option: "index"})
	}
	return list(ctx, scope, send, dir, name)
}

// tryFiles opens the first file of TryFiles that is there for a name, or returns nil.
func (f *File) tryFiles(dir *openRoot, name string) *httpfile.File {
	asked := "/" + name
	if name == "." {
		asked = ""
	}
	for _, candidate := range f.TryFiles {
		other, _, why := cleanPath(strings.ReplaceAll(candidate, "{path}", asked), f.ShowHidden)
		if why.Status != 0 {
			continue
		}
		file, err := f.open(dir, other)
		if err != nil {
			continue
		}
		if file.Regular {
			return file
		}
		file.Close() // opened for reading: nothing to lose
	}
	return nil
}

func (f *File) dir() string { return or(f.Root, ".") }

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// headerSafe reports an option whose value would break out of a header.
func headerSafe(option, value string) error {
	if (pagi.Headers{{Name: "x", Value: value}}).Validate("") != nil {
		return pagi.BadOption(option, "%q must not contain control characters", value)
	}
	return nil
}
