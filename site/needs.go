package site

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"syscall"

	"github.com/pagi-go/pagi-bridge/bridge/cgi"
	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/internal/option"
)

// Access is what a running gateway does with a path.
type Access int

const (
	// Read is to read a file, or to look below a directory.
	Read Access = iota
	// Run is to run a program.
	Run
	// Write is to make and remove files in a directory.
	Write
	// List is to read the names in a directory, and to look below it.
	List
)

// Need is a path that a running gateway uses, perhaps only later, when it is not root any more.
type Need struct {
	// Option is the site file's option with the path; "" stands for the site file itself, TMPDIR
	// for the variable.
	Option, Path string
	Access       Access
	// Why says when it is used.
	Why string
	// As is who uses it, nil for the gateway, and User that user's name or number in the site file.
	As   *syscall.Credential
	User string
}

// Needs returns the paths that the site uses while it is served. Build must have been
// called.
func (s *Site) Needs() []Need {
	var all []Need
	add := func(option, path string, access Access, why string) {
		if path != "" {
			all = append(all, Need{Option: option, Path: path, Access: access, Why: why})
		}
	}
	set := &s.Settings
	for _, file := range s.sources {
		add("", file.name, Read, "at HUP")
	}
	for _, dir := range s.listed {
		add("include", dir, List, "at HUP")
	}
	const changed = "when it changes"
	add("tls.cert", set.TLS.Cert, Read, changed)
	add("tls.key", set.TLS.Key, Read, changed)
	add("tls.ocsp", set.TLS.OCSP, Read, changed)
	add("tls.client_ca", set.TLS.ClientCA, Read, changed)
	for _, c := range set.TLS.Certificates {
		for _, path := range []string{c.Cert, c.Key, c.OCSP} {
			add("tls.certificates", path, Read, changed)
		}
	}
	if set.TLS.HasACME() {
		add("tls.acme.storage", set.TLS.ACME.Storage, Write, "for new certificates")
	}
	if set.LogFile != "" {
		add("log_file", filepath.Dir(set.LogFile), Write, "at USR1, to open the file anew")
	}
	if name := set.AccessLog; name != "" && name != "-" && name != "off" {
		why := "at USR1, to open the file anew"
		if set.Rotated() {
			why = "when the file is put aside"
		}
		add("access_log", filepath.Dir(name), Write, why)
	}
	places, _ := set.places() // Check has reported the wrong ones
	for _, place := range places {
		if path, isFile := place.Path(); isFile {
			add("listen", filepath.Dir(path), Write, "to remove the socket at the end")
		}
	}
	for _, m := range s.All() {
		if m.Kind == KindPSGI || m.Kind == KindPerlPAGI || m.Kind == KindCGI {
			add("TMPDIR", os.TempDir(), Write, "for Perl processes and large bodies")
		}
	}
	for _, m := range s.All() {
		all = append(all, m.sends()...)
		needs := m.needs()
		if is, apart, err := s.isolation(m); err == nil && apart && is.User != "" { // Build has reported an error
			needs = s.needsAs(m, is, needs)
		}
		all = append(all, needs...)
	}
	return slices.CompactFunc(all, func(a, b Need) bool {
		a.As, b.As = nil, nil
		return a == b
	})
}

// needsAs returns the paths of a mount whose application runs as a user of its own.
func (s *Site) needsAs(m *Mount, is Isolation, needs []Need) []Need {
	as, err := is.Credential()
	if err != nil {
		return needs // the start of the adapter reports it
	}
	if o, is := m.Options.(*psgi.PSGI); is && filepath.IsAbs(o.Perl) {
		needs = append(needs, Need{Option: "psgi.perl", Path: o.Perl, Access: Run, Why: "for requests"})
	}
	if !is.PrivateTmp {
		needs = append(needs, Need{Option: "TMPDIR", Path: os.TempDir(), Access: Write, Why: "for sockets and temporary files"})
	}
	for i := range needs {
		needs[i].As, needs[i].User = as, is.User
	}
	return needs
}

// sends returns the paths of files that the server sends for a mount.
func (m *Mount) sends() (all []Need) {
	for _, dir := range append(slices.Clone(m.SendFile), slices.Sorted(maps.Values(m.AccelRedirect))...) {
		all = append(all, Need{Option: "sendfile", Path: dir, Access: Read, Why: "for requests"})
	}
	return all
}

// needs returns the paths of a mount's application.
func (m *Mount) needs() (all []Need) {
	for _, field := range option.Fields(m.Options) {
		if field.Tag.Get("path") != "yes" {
			continue
		}
		access := Read
		if m.Kind == KindCGI && field.Name == "script" {
			access = Run
		}
		for _, path := range textsOf(field.Value) {
			all = append(all, Need{Option: m.Kind + "." + field.Name, Path: path, Access: access, Why: "for requests"})
		}
	}
	return all
}

// textsOf returns the texts of an option that is a text or a list of texts.
func textsOf(field reflect.Value) (texts []string) {
	switch field.Kind() {
	case reflect.String:
		if field.String() != "" {
			texts = append(texts, field.String())
		}
	case reflect.Slice:
		for i := range field.Len() {
			texts = append(texts, textsOf(field.Index(i))...)
		}
	}
	return texts
}

// HasUsersApart reports whether all mounts of PSGI and CGI, of which there are some, have users of their own in adapters.
// The gateway must be root for them.
func (s *Site) HasUsersApart() bool {
	some, all := false, true
	for _, m := range s.All() {
		if !isolatable(m.Kind) {
			continue
		}
		is, apart, err := s.isolation(m)
		some, all = true, all && err == nil && apart && is.User != ""
	}
	return some && all
}

// RunsAsOthers reports whether a mount runs scripts as other users, for which the gateway must be
// root.
func (s *Site) RunsAsOthers() bool {
	return slices.ContainsFunc(s.All(), func(m *Mount) bool {
		o, ok := m.Options.(*cgi.CGI)
		return ok && (o.User != "" || o.Group != "" || slices.ContainsFunc(o.Directories, func(d cgi.Directory) bool { return d.User != "" || d.Group != "" }))
	})
}
