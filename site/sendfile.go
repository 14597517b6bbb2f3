package site

import (
	"path/filepath"
	"slices"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/bridge/cgi"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// sendFiles wraps an application in the middleware that sends the files named by its answers and
// hides those names from the client.
func (s *Site) sendFiles(m *Mount, app pagi.App) (pagi.App, error) {
	roots := m.SendFile
	switch m.Kind {
	case KindPSGI, KindPerlPAGI, KindGo:
	case KindCGI:
		roots = append(slices.Clone(roots), ownDirectory(m.Options.(*cgi.CGI))...)
	default:
		switch {
		case len(m.SendFile) > 0:
			return app, pagi.BadOption("sendfile", "is not for a %s mount: only answers of psgi, perlpagi, cgi and go mounts can name files", m.Kind)
		case len(m.AccelRedirect) > 0:
			return app, pagi.BadOption("accel_redirect", "is not for a %s mount: only answers of psgi, perlpagi, cgi and go mounts can name files", m.Kind)
		}
		return app, nil
	}
	sender := &apps.SendFile{App: app, Roots: roots, Redirects: m.AccelRedirect, Logger: s.Logger}
	return sender, sender.CheckRoots()
}

// ownDirectory returns the directory of a mount's scripts. It returns none for scripts of another
// user, because that user may not be allowed to read all files that the gateway can.
func ownDirectory(o *cgi.CGI) []string {
	switch {
	case o.User != "" || o.Group != "" || slices.ContainsFunc(o.Directories, func(d cgi.Directory) bool { return d.User != "" || d.Group != "" }):
		return nil
	case o.Root != "":
		return []string{o.Root}
	case o.Script != "":
		return []string{filepath.Dir(o.Script)}
	}
	return nil
}
