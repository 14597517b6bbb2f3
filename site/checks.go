package site

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// checkPlaces reports addresses to listen at that exclude one another, and those that need TLS
// options.
func (s *Settings) checkPlaces() error {
	var errs []error
	seen := map[string]bool{}
	secure, unknown, redirects := false, len(s.Listen) == 0, ""
	places, _ := s.places() // checkListen has reported the wrong ones
	for _, place := range places {
		if address := place.Address; seen[address] && !strings.HasSuffix(address, ":0") {
			errs = append(errs, pagi.BadOption("listen", "%q is given twice", address))
		} else {
			seen[address] = true
		}
		kind, _, _ := strings.Cut(place.Address, ":")
		unix := kind == "unix"
		switch {
		case kind == "systemd", kind == "fd": // its kind is known only at the start
			unknown = true
		case place.TLS, s.TLS.given() && !place.Plain && !place.Redirect && !unix:
			secure = true
		case place.Redirect && place.RedirectPort == 0:
			redirects = place.spec
		}
	}
	switch {
	case s.HTTP3 && !s.TLS.given():
		errs = append(errs, pagi.BadOption("http3", "needs a certificate (tls)"))
	case s.HTTP3 && !secure && !unknown:
		errs = append(errs, pagi.BadOption("http3", "needs a place that speaks TLS (listen)"))
	}
	if redirects != "" && !secure && !(unknown && s.TLS.given()) {
		errs = append(errs, pagi.BadOption("listen", "%q redirects to https, but no place of this site has TLS; if another server has, give its port, as in redirect=443", redirects))
	}
	return errors.Join(errs...)
}

// check reports the faults of a mount other than those of its options.
func (m *Mount) check() error {
	if i := strings.IndexAny(m.Path, "?#"); i >= 0 {
		return pagi.BadOption("path", "%q contains %q, which cannot be part of a request's path", m.Path, m.Path[i])
	}
	if m.says("host") && len(m.Hosts) == 0 {
		return pagi.BadOption("host", "names no host; leave it out to answer for all")
	}
	redirect, is := m.Options.(*apps.Redirect)
	if !is || redirect.To == "" {
		return nil
	}
	if strings.HasPrefix(redirect.To, "//") {
		return pagi.BadOption("to", "%q names another host: write http:// or https:// in front", redirect.To)
	}
	if strings.HasPrefix(redirect.To, "/") {
		return nil
	}
	to, err := url.Parse(redirect.To)
	switch {
	case err != nil:
		return pagi.BadOption("to", "%w", err)
	case to.Scheme == "":
		return pagi.BadOption("to", "%q must be a path that begins with a slash, or a URL with http or https", redirect.To)
	case to.Scheme != "http" && to.Scheme != "https":
		return pagi.BadOption("to", "%q must be a URL with http or https, not %s", redirect.To, to.Scheme)
	case to.Host == "":
		return pagi.BadOption("to", "%q does not name a host", redirect.To)
	}
	return nil
}

// CheckPlaces reports files that cannot be created because their directories are missing. The error
// is of type Problems.
func (s *Site) CheckPlaces() error {
	set := &s.Settings
	places := map[string]string{"log_file": set.LogFile, "pid_file": set.PidFile}
	if set.AccessLog != "-" && set.AccessLog != "off" {
		places["access_log"] = set.AccessLog
	}
	if set.StatusSocket != "" {
		places["status_socket"] = filepath.Dir(set.StatusSocket) // that directory is created when it is missing
	}
	if path := set.MetricsSocket(); path != "" {
		places["metrics_listen"] = filepath.Dir(path) // so is that one
	}
	if set.Hub != "" {
		places["hub"] = filepath.Dir(set.Hub) // so is that one
	}
	if set.TLS.HasACME() {
		places["tls.acme.storage"] = set.TLS.ACME.Storage // this directory, too, is created when it is missing
	}
	var problems Problems
	for _, option := range slices.Sorted(maps.Keys(places)) {
		if places[option] != "" {
			problems.addDir(s, option, filepath.Dir(places[option]))
		}
	}
	for _, dir := range set.Lib {
		problems.addDir(s, "lib", dir)
	}
	for _, dir := range set.ReloadDirs {
		problems.addDir(s, "reload_dirs", dir)
	}
	return problems.err()
}

// addDir adds a problem if a directory is missing or is no directory, under the option that names
// it.
func (ps *Problems) addDir(s *Site, option, dir string) {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		ps.addOf(s.settingsAt, pagi.BadOption(option, "%w", err))
	case !info.IsDir():
		ps.addOf(s.settingsAt, pagi.BadOption(option, "%s is not a directory", dir))
	}
}

// ProblemWith returns err as a problem of a site's option, with the option's position in the site
// file.
func (s *Site) ProblemWith(option string, err error) error {
	if err == nil {
		return nil
	}
	var problems Problems
	problems.addOf(s.settingsAt, pagi.BadOption(option, "%w", err))
	return problems.err()
}

// ProblemOf returns err as a problem of a mount, with the mount's position in the site file.
func (s *Site) ProblemOf(m *Mount, err error) error {
	if err == nil {
		return nil
	}
	var problems Problems
	problems.addOf(m.at, fmt.Errorf("%s: %w", m.Kind, err))
	return problems.err()
}
