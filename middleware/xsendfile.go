package middleware

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// XSendfile lets the server in front send the files of the application. A response whose body is one
// whole file leaves without it, and with a header that names the file. A part of a file is sent as it
// is, and so is one of an open file whose name is not known.
//
// Behind no other server it has no use. For an application that itself sends such headers to this
// server, see apps.SendFile, and the keys sendfile and accel_redirect of a mount.
type XSendfile struct {
	// Type is the header: X-Accel-Redirect (nginx), X-Sendfile (Apache) or X-Lighttpd-Send-File.
	Type string `yaml:"type"`
	// Mapping gives for a directory the path that stands for it in X-Accel-Redirect:
	// {"/srv/files": "/protected"}. The longest directory counts. A file in none of them is sent as it
	// is.
	Mapping map[string]string `yaml:"mapping"`
	// Variation is added to the Vary header of such responses.
	Variation string `yaml:"variation"`
}

func init() { parts.Middleware[XSendfile]("xsendfile") }

const accelRedirect = "x-accel-redirect"

// Check reports an unknown Type, a Mapping that is missing or has no use, and wrong entries of it.
func (m XSendfile) Check() error {
	name := strings.ToLower(m.Type)
	errs := []error{checkValue("variation", m.Variation)}
	if !slices.Contains([]string{accelRedirect, "x-sendfile", "x-lighttpd-send-file"}, name) {
		errs = append(errs, pagi.BadOption("type", "%q is none of X-Accel-Redirect, X-Sendfile, X-Lighttpd-Send-File", m.Type))
	}
	if isAccel := name == accelRedirect; isAccel != (len(m.Mapping) > 0) {
		errs = append(errs, pagi.BadOption("mapping", "belongs to X-Accel-Redirect, which needs it"))
	}
	for dir, path := range m.Mapping {
		if !filepath.IsAbs(dir) || !strings.HasPrefix(path, "/") {
			errs = append(errs, pagi.BadOption("mapping", "%q: %q must be an absolute directory and a path", dir, path))
		}
	}
	return errors.Join(errs...)
}

// Wrap puts m around next.
func (m XSendfile) Wrap(next pagi.App) pagi.App {
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeHTTP {
			return next.Serve(ctx, scope, receive, send)
		}
		f := &fileResponse{m: &m, send: send}
		if err := next.Serve(ctx, scope, receive, f.event); err != nil {
			return err
		}
		return f.release(ctx)
	})
}

// fileResponse holds the start of a response back until its body shows whether it is a file.
type fileResponse struct {
	m     *XSendfile
	send  pagi.Send
	start *pagi.HTTPResponseStart // held back; nil: it has left, or has not come yet
}

func (f *fileResponse) event(ctx context.Context, ev pagi.Event) error {
	switch e := ev.(type) {
	case pagi.HTTPResponseStart:
		if e.Status == http.StatusOK && !e.Trailers {
			held := e
			held.Headers = e.Headers.Clone()
			f.start = &held
			return nil
		}
	case pagi.HTTPResponseBody:
		if f.start == nil {
			break
		}
		if value := f.m.header(e); value != "" {
			f.start.Headers.Del("content-length")
			f.start.Headers.Set(f.m.Type, value)
			if f.m.Variation != "" {
				f.start.Headers.Add("vary", f.m.Variation)
			}
			ev = pagi.HTTPResponseBody{}
		}
	}
	if err := f.release(ctx); err != nil {
		return err
	}
	return f.send(ctx, ev)
}

// release sends the start that is held back.
func (f *fileResponse) release(ctx context.Context) error {
	if f.start == nil {
		return nil
	}
	start := *f.start
	f.start = nil
	return f.send(ctx, start)
}

// header returns the header's value for a body that is one whole file, or "".
func (m *XSendfile) header(e pagi.HTTPResponseBody) string {
	if e.Offset != 0 || e.Length == 0 || e.Length != pagi.ToEnd && e.Length != fileSize(e) {
		return ""
	}
	name := e.File
	if file, is := e.FH.(*os.File); is {
		name = file.Name()
		// An open file may have been renamed or removed.
		there, err := os.Stat(name)
		if open, openErr := file.Stat(); err != nil || openErr != nil || !os.SameFile(there, open) {
			return ""
		}
	}
	if name == "" {
		return ""
	}
	name, err := filepath.Abs(name)
	if err != nil {
		return ""
	}
	switch strings.ToLower(m.Type) {
	case accelRedirect:
		return m.mapped(name)
	case "x-sendfile": // Apache decodes it
		return (&url.URL{Path: name}).EscapedPath()
	}
	if checkValue("", name) != nil {
		return ""
	}
	return name
}

// mapped returns the path that stands for a file, percent-encoded, or "".
func (m *XSendfile) mapped(name string) string {
	best, path := -1, ""
	for dir, to := range m.Mapping {
		dir = strings.TrimSuffix(filepath.Clean(dir), "/")
		if rest, below := strings.CutPrefix(name, dir+"/"); below && len(dir) > best {
			best, path = len(dir), strings.TrimSuffix(to, "/")+"/"+rest
		}
	}
	return (&url.URL{Path: path}).EscapedPath()
}
