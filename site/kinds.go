package site

import (
	"os"
	"path/filepath"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/bridge/cgi"
	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Kinds of mounts: the keys by which a site file says what a mount is.
const (
	KindPSGI      = "psgi"
	KindCGI       = "cgi"
	KindFile      = "file"
	KindDirectory = "directory"
	KindRedirect  = "redirect"
	KindNotFound  = "not_found"
	KindGo        = "go"
)

// kind is a type of mount that is built in.
type kind struct {
	// main returns the option that the value of the kind's own key stands for.
	main func(value string) string
	// paths are the options that name files; relative ones are meant from the
	// directory of the site file.
	paths []string
	// new returns a pointer to the options: a pagi.App, or a builder.
	new func() any
	// complete fills in what the site knows and the mount left open.
	complete func(options any, m *Mount, s *Site)
}

// builder makes an application of options that are not one themselves.
type builder interface {
	Build() (pagi.App, error)
}

func always(option string) func(string) string { return func(string) string { return option } }

var kinds = map[string]kind{
	KindPSGI: {
		main:     always("app"),
		paths:    []string{"app", "include", "dir", "local_lib"},
		new:      func() any { return &psgi.PSGI{} },
		complete: completePSGI,
	},
	KindCGI: {
		main: func(value string) string {
			if info, err := os.Stat(value); err == nil && !info.IsDir() {
				return "script"
			}
			return "root"
		},
		paths: []string{"root", "script", "document_root"},
		new:   func() any { return &cgi.CGI{} },
		complete: func(options any, _ *Mount, s *Site) {
			o := options.(*cgi.CGI)
			o.Redirect, o.Logger = s.self(), s.Logger
			if o.Root != "" {
				o.Files = &apps.File{Root: o.Root}
			}
		},
	},
	KindFile:      {main: always("root"), paths: []string{"root"}, new: func() any { return &apps.File{} }},
	KindDirectory: {main: always("root"), paths: []string{"root"}, new: func() any { return &apps.Directory{} }},
	KindRedirect:  {main: always("to"), new: func() any { return &apps.Redirect{} }},
	KindNotFound:  {main: always("body"), new: func() any { return &apps.NotFound{} }},
}

func completePSGI(options any, m *Mount, s *Site) {
	o := options.(*psgi.PSGI)
	o.Name, o.Logger = m.Name(), s.Logger
	if o.Workers == 0 && o.MinWorkers == 0 && o.MaxWorkers == 0 { // else the mount's own say counts alone
		o.Workers, o.MinWorkers, o.MaxWorkers = s.Settings.Workers, s.Settings.MinWorkers, s.Settings.MaxWorkers
	}
	if !m.says("preload") { // a false in the file counts, too
		o.Preload = o.Preload || s.Settings.Preload
	}
	setDefault(&o.MaxRequests, s.Settings.MaxRequests)
	setDefault(&o.MaxAge, s.Settings.MaxAge)
	setDefault(&o.MaxRSS, s.Settings.MaxRSS)
	setDefault(&o.Perl, s.Settings.Perl)
	setDefault(&o.Environment, s.Settings.Environment)
	setDefault(&o.Dir, s.base())
	o.Include = append(o.Include, s.Settings.Include...)
	// PSGI means relative names from Dir; here they are meant from the site file.
	o.App = absolute(o.App)
	for _, list := range [][]string{o.Include, o.LocalLib} {
		for i, dir := range list {
			list[i] = absolute(dir)
		}
	}
	if s.Settings.Reload {
		m.files = watchedFiles(o)
		o.Loaded = m.files.Add
	}
	if o.MaxWorkers == 0 {
		setDefault(&o.Workers, pool.DefaultWorkers)
	}
	m.Workers, m.MaxWorkers = o.Workers, o.MaxWorkers
	if o.MaxWorkers > 0 {
		m.Workers = o.MinWorkers
	}
}

// absolute leaves a name as it is when the current directory is gone; Build finds
// that out too.
func absolute(name string) string {
	if abs, err := filepath.Abs(name); err == nil && name != "" {
		return abs
	}
	return name
}

func setDefault[T comparable](option *T, value T) {
	if *option == *new(T) {
		*option = value
	}
}

func init() {
	for name, make := range map[string]func() pagi.Middleware{
		"content_length":   func() pagi.Middleware { return &middleware.ContentLength{} },
		"head":             func() pagi.Middleware { return &middleware.Head{} },
		"https_redirect":   func() pagi.Middleware { return &middleware.HTTPSRedirect{} },
		"request_id":       func() pagi.Middleware { return &middleware.RequestID{} },
		"runtime":          func() pagi.Middleware { return &middleware.Runtime{} },
		"security_headers": func() pagi.Middleware { return &middleware.SecurityHeaders{} },
	} {
		RegisterMiddleware(name, make)
	}
}
