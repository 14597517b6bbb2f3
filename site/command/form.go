package command

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/site"
)

// site makes the site that the flags describe: the site file's with the flags on
// top, or one of a single application.
func (o *options) site(p Process) (*site.Site, error) {
	s := &site.Site{}
	if o.config != "" {
		loaded, err := site.Load(o.config)
		if err != nil {
			return nil, err
		}
		s = loaded
	} else if err := o.mountOne(s); err != nil {
		return nil, err
	} else if err := o.checkPSGI(s.Mounts[0]); err != nil {
		return nil, err
	}
	o.override(&s.Settings)
	if s.Settings.Environment == "" {
		s.Settings.Environment = defaultEnvironment(p)
	}
	return s, nil
}

// override sets the settings whose flags were given.
func (o *options) override(to *site.Settings) {
	from := reflect.ValueOf(o.settings)
	target := reflect.ValueOf(to).Elem()
	for _, f := range reflect.VisibleFields(from.Type()) {
		name := strings.ReplaceAll(f.Tag.Get("yaml"), "_", "-")
		if o.set.Changed(flagName(name)) {
			target.FieldByIndex(f.Index).Set(from.FieldByIndex(f.Index))
		}
	}
	switch { // a fixed number and one that follows the load replace one another
	case o.set.Changed("min-workers") || o.set.Changed("max-workers"):
		if !o.set.Changed("workers") {
			to.Workers = 0
		}
	case o.set.Changed("workers"):
		to.MinWorkers, to.MaxWorkers = 0, 0
	}
	o.overrideTLS(&to.TLS)
	if o.noAccessLog {
		to.AccessLog = "off"
	}
	if o.set.Changed("socket") {
		if !o.set.Changed("listen") {
			to.Listen = nil
		}
		to.Listen = append(to.Listen, "unix:"+o.socket)
	}
	if o.set.Changed("host") || o.set.Changed("port") {
		to.Listen = []string{net.JoinHostPort(o.host, strconv.Itoa(o.port))}
	}
}

// overrideTLS sets what the flags about TLS say. A certificate takes the place of all
// that the site file has.
func (o *options) overrideTLS(to *site.TLS) {
	from := &o.settings.TLS
	if o.set.Changed("ssl-cert") || o.set.Changed("ssl-key") {
		to.Cert, to.Key, to.OCSP, to.Certificates = from.Cert, from.Key, "", nil
	}
	for name, set := range map[string]func(){
		"ssl-ocsp":        func() { to.OCSP = from.OCSP },
		"ssl-min-version": func() { to.MinVersion = from.MinVersion },
		"ssl-client-auth": func() { to.ClientAuth = from.ClientAuth },
		"ssl-client-ca":   func() { to.ClientCA = from.ClientCA },
		"acme":            func() { to.ACME.Domains = from.ACME.Domains },
		"acme-agree":      func() { to.ACME.Agree = from.ACME.Agree },
		"acme-email":      func() { to.ACME.Email = from.ACME.Email },
		"acme-directory":  func() { to.ACME.Directory = from.ACME.Directory },
		"acme-storage":    func() { to.ACME.Storage = from.ACME.Storage },
	} {
		if o.set.Changed(name) {
			set()
		}
	}
}

// flagName returns the flag of a setting; they differ where habit wants it.
func flagName(setting string) string {
	switch setting {
	case "environment":
		return "env"
	case "pid-file":
		return "pid"
	}
	return setting
}

// defaultEnvironment is what counts when neither flag nor file says it: PAGI_ENV,
// then PLACK_ENV, then development for a person at a terminal and deployment, as
// PSGI calls production, otherwise.
func defaultEnvironment(p Process) string {
	for _, name := range []string{"PAGI_ENV", "PLACK_ENV"} {
		if value, ok := p.LookupEnv(name); ok && value != "" {
			return value
		}
	}
	if p.Interactive {
		return "development"
	}
	return "deployment"
}

// mountOne adds the one application a command line without a site file names.
func (o *options) mountOne(s *site.Site) error {
	switch {
	case o.code != "":
		s.Mounts = []*site.Mount{o.psgi("", o.code)}
		return nil
	case o.app != "":
		s.Mounts = []*site.Mount{o.psgi(o.app, "")}
		return nil
	case o.cgi != "":
		return o.mountCGI(s, o.cgi)
	case len(o.args) == 1:
		return o.mountArgument(s, o.args[0])
	}
	if info, err := os.Stat("app.psgi"); err == nil && info.Mode().IsRegular() {
		s.Mounts = []*site.Mount{o.psgi("app.psgi", "")}
		return nil
	}
	return o.mountArgument(s, ".")
}

// mountArgument tells by a file's name and nature what it is.
func (o *options) mountArgument(s *site.Site, arg string) error {
	info, err := os.Stat(arg)
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return fmt.Errorf("%s: %w", arg, err)
	}
	extension := strings.ToLower(filepath.Ext(arg))
	switch {
	case info.IsDir():
		s.Mounts = []*site.Mount{{Path: "/", Kind: site.KindDirectory, Source: arg, Options: &apps.Directory{File: apps.File{Root: arg}}}}
	case extension == ".psgi":
		s.Mounts = []*site.Mount{o.psgi(arg, "")}
	case extension == ".yaml" || extension == ".yml":
		return fmt.Errorf("%s: a site file is given with -c", arg)
	case extension == ".cgi" || info.Mode().Perm()&0o111 != 0:
		return o.mountCGI(s, arg)
	case extension == ".pl":
		s.Mounts = []*site.Mount{o.psgi(arg, "")}
	default:
		return fmt.Errorf("%s: cannot tell what this is; say --app %s for a PSGI application, or --cgi %s for a script", arg, arg, arg)
	}
	return nil
}

// checkPSGI reports flags that would do nothing for the one application there is.
func (o *options) checkPSGI(m *site.Mount) error {
	if m.Kind == site.KindPSGI {
		return nil
	}
	for _, name := range []string{"module", "workers", "preload", "include", "perl", "min-workers", "max-workers", "max-requests", "max-age", "max-rss", "reload"} {
		if flag := o.set.Lookup(name); flag.Changed {
			name = "--" + name
			if flag.Shorthand != "" {
				name = "-" + flag.Shorthand
			}
			return fmt.Errorf("%s is for a PSGI application", name)
		}
	}
	return nil
}

func (o *options) psgi(file, code string) *site.Mount {
	m := site.NewMount(site.KindPSGI, file)
	options := m.Options.(*psgi.PSGI)
	options.Code, options.Modules = code, o.modules
	if code != "" {
		m.Source = "-e"
	}
	return m
}

// mountCGI serves a script, or a directory of them. A directory called cgi-bin is
// served at /cgi-bin too, since that is where its scripts believe to be.
func (o *options) mountCGI(s *site.Site, source string) error {
	m := site.NewMount(site.KindCGI, source)
	s.Mounts = []*site.Mount{m}
	if info, err := os.Stat(source); err == nil && info.IsDir() && filepath.Base(source) == "cgi-bin" {
		second := site.NewMount(site.KindCGI, source)
		second.Path = "/cgi-bin"
		s.Mounts = append(s.Mounts, second)
	}
	return nil
}
