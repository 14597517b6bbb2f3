package apps

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/pagi-go/pagi-bridge/internal/httpfile"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// SendFile stands in front of an application that may answer with X-Sendfile,
// X-Lighttpd-Send-File or X-Accel-Redirect: the server then sends the file that the header
// names instead of the application's body. The header never reaches the client.
//
// A file is sent only from below the directories of the options, and no symbolic link leads out of
// them. Where the file is elsewhere, SendFile drops the header with a warning and sends the answer
// as the application made it. A missing file is answered 404. There is one warning for each header,
// directory and status; further records are at debug.
//
// With status 200 SendFile answers conditional requests and ranges as File does; 206 counts as 200.
// With a status that has no body it drops the header. ETag, Last-Modified, Content-Length,
// Content-Encoding and Accept-Ranges describe the file; the other headers are those of the
// application.
type SendFile struct {
	// App is the application.
	App pagi.App
	// Roots are the directories of X-Sendfile and X-Lighttpd-Send-File, which give an
	// absolute file name.
	Roots []string
	// Redirects gives the directory for each prefix of X-Accel-Redirect, which gives a
	// path: with {"/protected": "/srv/files"} the path "/protected/a" is /srv/files/a.
	Redirects map[string]string
	// Logger gets the warnings; nil means slog.Default.
	Logger *slog.Logger

	once  sync.Once
	roots []*sendRoot
	told  sync.Map // of unsent: what was a warning already
}

// sendRoot is a directory that files are sent from. Its prefixes are what a header's
// value begins with, each with a slash at its end.
type sendRoot struct {
	root
	dir      string
	redirect bool // the prefixes are of X-Accel-Redirect
	prefixes []string
}

// unsent is a kind of file that is not sent: the header that names it, in lower case, with the
// directory and status where they are known.
type unsent struct {
	header, dir string
	status      int
}

// sendHeaders are the headers that name a file, in lower case.
var sendHeaders = []string{"x-sendfile", "x-lighttpd-send-file", "x-accel-redirect"}

// askingHeaders are the request headers by which a proxy in front asks an application to name
// files. This server does not send them, and a client must not.
var askingHeaders = []string{"x-sendfile-type", "x-accel-mapping"}

// Check reports what CheckRoots and the application report.
func (s *SendFile) Check() error { return errors.Join(s.CheckRoots(), pagi.Check(s.App)) }

// CheckRoots reports a root that is not a directory and a prefix that is not a path.
func (s *SendFile) CheckRoots() error {
	var errs []error
	for _, dir := range s.Roots {
		if err := checkDir(dir); err != nil {
			errs = append(errs, pagi.BadOption("sendfile", "%w", err))
		}
	}
	for prefix, dir := range s.Redirects {
		if !strings.HasPrefix(prefix, "/") {
			errs = append(errs, pagi.BadOption("accel_redirect", "%q must begin with a slash", prefix))
		}
		if err := checkDir(dir); err != nil {
			errs = append(errs, pagi.BadOption("accel_redirect", "%w", err))
		}
	}
	return errors.Join(errs...)
}

// prepare computes the prefixes with which the values of the headers may begin.
func (s *SendFile) prepare() {
	for _, dir := range s.Roots {
		r := &sendRoot{dir: dir}
		if abs, err := filepath.Abs(dir); err == nil {
			r.prefixes = append(r.prefixes, trimSlash(abs)+"/")
			if real, err := filepath.EvalSymlinks(abs); err == nil && real != abs {
				r.prefixes = append(r.prefixes, trimSlash(real)+"/")
			}
		}
		s.roots = append(s.roots, r)
	}
	for prefix, dir := range s.Redirects {
		s.roots = append(s.roots, &sendRoot{dir: dir, redirect: true, prefixes: []string{trimSlash(prefix) + "/"}})
	}
	slices.SortStableFunc(s.roots, func(a, b *sendRoot) int { return len(b.prefixes[0]) - len(a.prefixes[0]) })
}

// Serve passes the scope on, and sends the file that the answer names.
func (s *SendFile) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type != pagi.TypeHTTP {
		return s.App.Serve(ctx, scope, receive, send)
	}
	s.once.Do(s.prepare)
	for _, name := range askingHeaders {
		if scope.Headers.Has(name) {
			scope = scope.Clone()
			scope.Headers = scope.Headers.Clone()
			scope.Headers.Del(name)
		}
	}
	a := &sendAnswer{s: s, scope: scope, send: send}
	defer a.close()
	return s.App.Serve(ctx, scope, receive, a.event)
}

// sendAnswer is one answer on its way.
type sendAnswer struct {
	s     *SendFile
	scope *pagi.Scope
	send  pagi.Send

	start pagi.HTTPResponseStart // held back while there is a file, or a status
	file  *httpfile.File         // to be sent once the application has ended its answer
	gone  int                    // the status of a file that cannot be sent
}

func (a *sendAnswer) close() {
	if a.file != nil {
		a.file.Close() // opened for reading: nothing to lose
	}
}

func (a *sendAnswer) event(ctx context.Context, ev pagi.Event) error {
	held := a.file != nil || a.gone != 0
	switch e := ev.(type) {
	case pagi.HTTPResponseStart:
		i := slices.IndexFunc(e.Headers, isSendHeader)
		if i < 0 || held {
			break
		}
		named := e.Headers[i]
		e.Headers = slices.DeleteFunc(e.Headers.Clone(), isSendHeader)
		if e.Status == http.StatusPartialContent { // that was for the application's body; deliver finds the part of the file
			e.Status = http.StatusOK
		}
		if hasBody(e.Status) {
			a.open(ctx, named)
		}
		if a.file == nil && a.gone == 0 {
			return a.send(ctx, e)
		}
		a.start = e
		return nil
	case pagi.HTTPResponseBody:
		switch {
		case !held:
		case e.More:
			return nil
		case a.gone != 0:
			return reply.Status(ctx, a.scope, a.send, a.gone)
		default:
			return a.deliver(ctx)
		}
	case pagi.HTTPResponseTrailers, pagi.HTTPFullFlush:
		if held {
			return nil
		}
	}
	return a.send(ctx, ev)
}

// hasBody reports whether an answer with a status has one (RFC 9110 section 6.4.1).
func hasBody(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusResetContent && status != http.StatusNotModified
}

func isSendHeader(h pagi.Header) bool {
	return slices.ContainsFunc(sendHeaders, func(name string) bool { return pagi.EqualFold(h.Name, name) })
}

// open opens the file that a header names. It sets a.file or, for a file that cannot be sent,
// a.gone. Where it sets neither, the header is ignored.
func (a *sendAnswer) open(ctx context.Context, named pagi.Header) {
	redirect := pagi.EqualFold(named.Name, "x-accel-redirect")
	option := "sendfile"
	value := named.Value
	candidates := []string{value}
	if redirect {
		option = "accel_redirect"
		value, _, _ = strings.Cut(value, "?")
		candidates = nil
	}
	if decoded, err := url.PathUnescape(value); err == nil && (redirect || decoded != value) {
		candidates = append(candidates, decoded)
	}
	kind := unsent{header: strings.ToLower(named.Name)}
	problem := error(fmt.Errorf("the option %s allows no such file", option))
	for _, name := range candidates {
		r, rel := a.s.find(redirect, name)
		if r == nil {
			continue
		}
		opened, err := r.openFile(rel)
		if err == nil {
			a.file, a.gone = opened, 0
			return
		}
		problem = err
		if a.gone = statusOf(err); a.gone == 0 {
			a.gone = http.StatusInternalServerError
		}
		kind.dir, kind.status = r.dir, a.gone
	}
	log := a.s.Logger
	if log == nil {
		log = slog.Default()
	}
	level := slog.LevelWarn
	if _, again := a.s.told.LoadOrStore(kind, true); again {
		level = slog.LevelDebug
	}
	log.LogAttrs(ctx, level, "the file that an application's answer names is not sent", slog.String("header", named.Name), slog.String("value", named.Value),
		slog.Any("error", problem), slog.String("method", a.scope.Method), slog.String("path", a.scope.RootPath+a.scope.Path))
}

// find returns the directory that a header's value leads into, and the name below it.
func (s *SendFile) find(redirect bool, value string) (*sendRoot, string) {
	clean := path.Clean(value)
	for _, r := range s.roots {
		for _, prefix := range r.prefixes {
			if rel, ok := strings.CutPrefix(clean, prefix); ok && r.redirect == redirect && rel != "" && strings.HasPrefix(value, "/") {
				return r, rel
			}
		}
	}
	return nil, ""
}

func (r *sendRoot) openFile(name string) (*httpfile.File, error) {
	dir, err := r.root.open(r.dir)
	if err != nil {
		return nil, err
	}
	f, err := dir.open(name)
	if err != nil {
		return nil, err
	}
	if !f.Regular {
		f.Close() // opened for reading
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	return f, nil
}

// ofTheFile are the headers that describe the body. The file has its own, so those of the
// application are dropped.
var ofTheFile = []string{"etag", "last-modified", "content-length", "content-encoding", "content-range", "accept-ranges", "transfer-encoding", "content-md5", "digest", "content-type"}

// deliver sends the file with the application's status and headers.
func (a *sendAnswer) deliver(ctx context.Context) error {
	contentType := a.start.Headers.Get("content-type")
	if contentType == "" {
		mediaType, _, _ := (&File{}).typeOf(a.file, nil) // without a Content-Encoding
		contentType = (&File{}).contentTypeOf(a.file, mediaType, "")
	}
	headers := slices.DeleteFunc(a.start.Headers, func(h pagi.Header) bool {
		return slices.ContainsFunc(ofTheFile, func(name string) bool { return pagi.EqualFold(h.Name, name) })
	})
	answer := httpfile.Answer{File: a.file, Status: a.start.Status, Headers: headers, Type: func() string { return contentType }}
	return answer.Send(ctx, a.scope, a.send)
}
