package site

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/pagi-go/pagi-bridge/bridge/cgi"
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
}

// Needs returns the paths that the site uses while it is served. Build must have been
// called.
func (s *Site) Needs() []Need {
	var all []Need
	add := func(option, path string, access Access, why string) {
		if path != "" {
			all = append(all, Need{option, path, access, why})
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
		all = append(all, m.needs()...)
	}
	return slices.CompactFunc(all, func(a, b Need) bool { return a == b })
}

// needs returns the paths of a mount's application.
func (m *Mount) needs() (all []Need) {
	for _, dir := range append(slices.Clone(m.SendFile), slices.Sorted(maps.Values(m.AccelRedirect))...) {
		all = append(all, Need{"sendfile", dir, Read, "for requests"})
	}
	for _, field := range option.Fields(m.Options) {
		if field.Tag.Get("path") != "yes" {
			continue
		}
		access := Read
		if m.Kind == KindCGI && field.Name == "script" {
			access = Run
		}
		for _, path := range textsOf(field.Value) {
			all = append(all, Need{m.Kind + "." + field.Name, path, access, "for requests"})
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

// RunsAsOthers reports whether a mount runs scripts as other users, for which the gateway must be
// root.
func (s *Site) RunsAsOthers() bool {
	return slices.ContainsFunc(s.All(), func(m *Mount) bool {
		o, ok := m.Options.(*cgi.CGI)
		return ok && (o.User != "" || o.Group != "" || slices.ContainsFunc(o.Directories, func(d cgi.Directory) bool { return d.User != "" || d.Group != "" }))
	})
}
