package apps

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// File serves the files below a directory.
//
// It answers GET and HEAD, conditional requests (RFC 9110 section 13) and ranges,
// single and multiple (section 14); other methods get 405. A directory is answered
// with its index file, after a redirect to the path with a slash at its end. A file
// is opened once and sent from that handle, so what was measured is what is sent.
//
// Refused with 403, whatever stands there: a path component of two or more dots, a
// backslash, a NUL, a dotfile, and a symbolic link that leads out of Root.
type File struct {
	// Root is the directory; "" means the current one. When its name is a symbolic
	// link that comes to point elsewhere, that is noticed within a second.
	Root string `yaml:"root"`
	// Index are the names tried for a directory, in order. nil means index.html
	// and index.htm, an empty list none.
	Index []string `yaml:"index"`
	// Types adds to or replaces the built-in media types by extension, without
	// dot and in lower case: {"pl": "text/x-perl"}.
	Types map[string]string `yaml:"types"`
	// DefaultType is the media type of files whose extension says nothing;
	// "" means application/octet-stream.
	DefaultType string `yaml:"default_type"`
	// Charset is added to text types; "" means utf-8, "off" adds none.
	Charset string `yaml:"charset"`
	// CacheControl is sent as Cache-Control with files; "" sends none.
	CacheControl string `yaml:"cache_control"`
	// ShowHidden serves dotfiles too.
	ShowHidden bool `yaml:"show_hidden"`
	// DisableRanges ignores Range headers, for use behind something that handles
	// them itself.
	DisableRanges bool `yaml:"disable_ranges"`
	// Precompressed sends name.br or name.gz in place of name to a client that
	// accepts it, when that file exists and is not older than name.
	Precompressed bool `yaml:"precompressed"`

	root root
}

// Check reports a Root that is no directory and options that cannot go into a
// header.
func (f *File) Check() error {
	errs := []error{
		headerSafe("default_type", f.DefaultType),
		headerSafe("charset", f.Charset),
		headerSafe("cache_control", f.CacheControl),
	}
	if err := checkDir(f.dir()); err != nil {
		errs = append(errs, pagi.BadOption("root", "%w", err))
	}
	for ext, t := range f.Types {
		if ext != strings.ToLower(ext) || strings.HasPrefix(ext, ".") {
			errs = append(errs, pagi.BadOption("types", "%q must be an extension in lower case without its dot", ext))
		}
		errs = append(errs, headerSafe("types", t))
	}
	for _, name := range f.Index {
		if _, slash, status := cleanPath(name, true); status != 0 || slash || strings.Contains(name, "/") {
			errs = append(errs, pagi.BadOption("index", "%q must be a file's name", name))
		}
	}
	return errors.Join(errs...)
}

// Serve answers an http scope with a file. An sse or websocket scope gets 404.
func (f *File) Serve(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
	return f.serve(ctx, scope, send, nil)
}

// listFunc answers for a directory that has no index file; name is relative to
// root.
type listFunc func(ctx context.Context, scope *pagi.Scope, send pagi.Send, root *openRoot, name string) error

func (f *File) serve(ctx context.Context, scope *pagi.Scope, send pagi.Send, list listFunc) error {
	switch {
	case scope.Type != pagi.TypeHTTP:
		return reply.Status(ctx, scope, send, http.StatusNotFound)
	case scope.Method != "GET" && scope.Method != "HEAD":
		return reply.Status(ctx, scope, send, http.StatusMethodNotAllowed, "allow", "GET, HEAD")
	}
	name, slash, status := cleanPath(scope.Path, f.ShowHidden)
	if status != 0 {
		return reply.Status(ctx, scope, send, status)
	}
	dir, err := f.root.open(f.dir())
	if err != nil {
		return fmt.Errorf("root: %w", err)
	}
	file, err := dir.open(name)
	if err != nil {
		return f.refuse(ctx, scope, send, err)
	}
	defer file.Close() // opened for reading: nothing to lose
	switch {
	case file.dir:
		return f.serveDir(ctx, scope, send, dir, name, slash, list)
	case slash || !file.regular:
		return reply.Status(ctx, scope, send, http.StatusNotFound)
	}
	return f.serveFile(ctx, scope, send, dir, file)
}

func (f *File) refuse(ctx context.Context, scope *pagi.Scope, send pagi.Send, err error) error {
	if status := statusOf(err); status != 0 {
		return reply.Status(ctx, scope, send, status)
	}
	return err
}

// serveDir redirects to the path with a slash, or serves an index file, or leaves
// the answer to list.
func (f *File) serveDir(ctx context.Context, scope *pagi.Scope, send pagi.Send, dir *openRoot, name string, slash bool, list listFunc) error {
	if last := missingSlash(scope, name, slash); last != "" {
		return redirectToSlash(ctx, scope, send, last)
	}
	index := f.Index
	if index == nil {
		index = []string{"index.html", "index.htm"}
	}
	for _, candidate := range index {
		file, err := dir.open(path.Join(name, candidate))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return f.refuse(ctx, scope, send, err)
		}
		defer file.Close()
		if file.regular {
			return f.serveFile(ctx, scope, send, dir, file)
		}
	}
	if list == nil {
		return reply.Status(ctx, scope, send, http.StatusNotFound)
	}
	return list(ctx, scope, send, dir, name)
}

// missingSlash returns the escaped last segment of a path that names a directory
// without a slash at its end, else "". At the root of a mount only the raw path can
// tell "/mount" from "/mount/".
func missingSlash(scope *pagi.Scope, name string, slash bool) string {
	switch {
	case name != "." && !slash:
		return url.PathEscape(path.Base(name))
	case name == "." && scope.RootPath != "" && scope.RawPath != "" && !strings.HasSuffix(scope.RawPath, "/"):
		return path.Base(scope.RawPath)
	}
	return ""
}

// redirectToSlash sends the client to last + "/". The reference is relative, so it
// holds whatever prefix a proxy in front has taken away, and cannot lead to another
// host.
func redirectToSlash(ctx context.Context, scope *pagi.Scope, send pagi.Send, last string) error {
	location := last + "/"
	if strings.Contains(last, ":") {
		location = "./" + location // "a:b/" would be an absolute URL
	}
	if scope.QueryString != "" {
		location += "?" + scope.QueryString
	}
	return reply.Status(ctx, scope, send, http.StatusMovedPermanently, "location", location)
}

// serveFile answers with an open file, which its caller closes.
func (f *File) serveFile(ctx context.Context, scope *pagi.Scope, send pagi.Send, dir *openRoot, file *file) error {
	headers := make(pagi.Headers, 0, 8)
	partType := contentType(file.name, f.Types, or(f.DefaultType, "application/octet-stream"), f.charset())
	if f.Precompressed {
		headers.Add("vary", "accept-encoding")
		if packed, encoding := openPacked(scope.Headers, dir, file); packed != nil {
			defer packed.Close()
			file = packed
			headers.Add("content-encoding", encoding)
		}
	}
	v := validatorsOf(file)
	headers.Add("etag", v.etag)
	if !v.modified.IsZero() {
		headers.Add("last-modified", v.modified.Format(http.TimeFormat))
	}
	if f.CacheControl != "" {
		headers.Add("cache-control", f.CacheControl)
	}
	switch status := v.precondition(scope.Headers); status {
	case http.StatusNotModified:
		headers.Del("content-encoding")
		return reply.Send(ctx, scope, send, status, headers, nil)
	case http.StatusPreconditionFailed:
		return reply.Status(ctx, scope, send, status)
	}
	size := file.size
	whole := delivery{status: http.StatusOK, contentType: partType, file: file, length: size}
	if f.DisableRanges {
		return whole.send(ctx, scope, send, headers)
	}
	headers.Add("accept-ranges", "bytes")
	wanted, ok := scope.Headers.Lookup("range")
	if !ok || scope.Method != "GET" || !v.rangeApplies(scope.Headers) {
		return whole.send(ctx, scope, send, headers)
	}
	ranges, ok := parseRanges(wanted, size)
	switch {
	case !ok:
		return reply.Status(ctx, scope, send, http.StatusRequestedRangeNotSatisfiable, "content-range", "bytes */"+strconv.FormatInt(size, 10))
	case len(ranges) == 0:
		return whole.send(ctx, scope, send, headers)
	case len(ranges) == 1:
		headers.Add("content-range", ranges[0].contentRange(size))
		part := delivery{status: http.StatusPartialContent, contentType: partType, file: file, offset: ranges[0].start, length: ranges[0].length}
		return part.send(ctx, scope, send, headers)
	}
	parts := delivery{status: http.StatusPartialContent}
	parts.fh, parts.contentType, parts.length = multipartRanges(file, size, partType, ranges)
	return parts.send(ctx, scope, send, headers)
}

// delivery is a response body: length bytes of file from offset on, or of fh.
type delivery struct {
	status         int
	contentType    string
	file           *file
	fh             io.Reader
	offset, length int64
}

func (d delivery) send(ctx context.Context, scope *pagi.Scope, send pagi.Send, headers pagi.Headers) error {
	headers.Add("content-type", d.contentType)
	headers.Add("content-length", strconv.FormatInt(d.length, 10))
	if err := send(ctx, pagi.HTTPResponseStart{Status: d.status, Headers: headers}); err != nil {
		return err
	}
	switch {
	case scope.Method == "HEAD", d.length == 0: // a length of 0 would mean: to the end
		return send(ctx, pagi.HTTPResponseBody{})
	case d.file == nil:
		return send(ctx, pagi.HTTPResponseBody{FH: d.fh, Length: d.length})
	case d.length > smallBody:
		return send(ctx, pagi.HTTPResponseBody{FH: d.file.Handle(), Offset: d.offset, Length: d.length})
	}
	return d.sendSmall(ctx, send)
}

// smallBody is the size up to which a body is read here: the system calls of a handle
// would take longer.
const smallBody = 16 << 10

var smallBodies = sync.Pool{New: func() any { return new([smallBody]byte) }}

func (d delivery) sendSmall(ctx context.Context, send pagi.Send) error {
	room := smallBodies.Get().(*[smallBody]byte)
	defer smallBodies.Put(room) // the bytes of an event are its sender's again
	body := room[:d.length]
	if n, err := d.file.ReadAt(body, d.offset); err != nil {
		return fmt.Errorf("%s: after %d of %d bytes: %w", d.file.name, n, d.length, err)
	}
	return send(ctx, pagi.HTTPResponseBody{Body: body})
}

// openPacked opens the compressed form of a file the client likes best, or returns
// nil. Brotli is preferred where both are as welcome.
func openPacked(h pagi.Headers, dir *openRoot, original *file) (*file, string) {
	type form struct {
		encoding, suffix string
		q                float64
	}
	forms := []form{{"br", ".br", quality(h, "accept-encoding", "br", "*")}, {"gzip", ".gz", quality(h, "accept-encoding", "gzip", "x-gzip", "*")}}
	if forms[1].q > forms[0].q {
		forms[0], forms[1] = forms[1], forms[0]
	}
	for _, form := range forms {
		if form.q <= 0 {
			continue
		}
		file, err := dir.open(original.name + form.suffix)
		if err != nil {
			continue // the original is as good
		}
		if file.regular && !file.modified.Before(original.modified) {
			return file, form.encoding
		}
		file.Close() // opened for reading: nothing to lose
	}
	return nil, ""
}

// validatorsOf makes a strong tag of a file's size and modification time, which
// has the resolution of the file system: nanoseconds on those in use.
func validatorsOf(file *file) validators {
	modified := file.modified
	tag := make([]byte, 0, 36)
	tag = append(tag, '"')
	tag = strconv.AppendInt(tag, modified.UnixNano(), 36)
	tag = append(tag, '-')
	tag = strconv.AppendInt(tag, file.size, 36)
	v := validators{etag: string(append(tag, '"'))}
	if modified.Unix() > 0 {
		v.modified = modified.Truncate(time.Second).UTC()
	}
	return v
}

func (f *File) dir() string { return or(f.Root, ".") }

func (f *File) charset() string {
	switch f.Charset {
	case "":
		return "utf-8"
	case "off":
		return ""
	}
	return f.Charset
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// headerSafe reports an option whose value would break out of a header.
func headerSafe(option, value string) error {
	if pagi.ValidateHeaders("", pagi.Headers{{Name: "x", Value: value}}) != nil {
		return pagi.BadOption(option, "%q must not contain control characters", value)
	}
	return nil
}
