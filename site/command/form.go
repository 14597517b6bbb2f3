package command

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/site"
)

// site makes the site that the flags describe: that of the site file, overridden by flags, or one
// with a single application.
func (o *options) site(p Process) (*site.Site, error) {
	s := &site.Site{}
	if o.config != "" {
		loaded, err := site.Loader{LookupEnv: p.LookupEnv}.Load(o.config)
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
	switch { // a fixed number of workers and one that follows the load exclude each other
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

// overrideTLS sets the options of TLS whose flags were given. A certificate replaces all those of
// the site file.
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

// flagName returns the flag of a setting. Some differ from the setting's name because users know
// another name.
func flagName(setting string) string {
	switch setting {
	case "environment":
		return "env"
	case "pid-file":
		return "pid"
	case "lib":
		return "include"
	}
	return setting
}

// defaultEnvironment returns the environment if neither flag nor file sets it. That is PAGI_ENV, or
// else PLACK_ENV. Without both it is development for a person at a terminal, and otherwise
// deployment, PSGI's word for production.
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

// mountOne adds the application that a command line without a site file names.
func (o *options) mountOne(s *site.Site) error {
	switch {
	case o.code != "":
		s.Mounts = []*site.Mount{o.mountCode()}
		return nil
	case o.app != "":
		if !o.set.Changed("psgi") && o.isModule(o.app) {
			return o.mountModule(s, o.app, o.args)
		}
		if err := readable(o.app); err != nil {
			return err
		}
		return o.mountPerl(s, o.app)
	case o.cgi != "":
		return o.mountCGI(s, o.cgi)
	case len(o.args) > 0 && o.isModule(o.args[0]):
		return o.mountModule(s, o.args[0], o.args[1:])
	case len(o.args) == 1:
		return o.mountArgument(s, o.args[0])
	}
	if info, err := os.Stat("app.psgi"); err == nil && info.Mode().IsRegular() {
		return o.mountPerl(s, "app.psgi")
	}
	return o.mountArgument(s, ".")
}

// checkPSGI reports flags that have no effect on the only application.
func (o *options) checkPSGI(m *site.Mount) error {
	if m.Kind == site.KindPSGI || m.Kind == site.KindPerlPAGI {
		return nil
	}
	for _, name := range []string{"module", "workers", "preload", "include", "perl", "min-workers", "max-workers", "max-requests", "max-age", "max-rss", "reload", "reload-dirs", "psgi", "pagi", "loop"} {
		if flag := o.set.Lookup(name); flag.Changed {
			name = "--" + name
			if flag.Shorthand != "" {
				name = "-" + flag.Shorthand
			}
			return fmt.Errorf("%s is for a PSGI application, or a PAGI application in Perl", name)
		}
	}
	return nil
}

// mountCGI serves a script, or a directory of them. A directory called cgi-bin is also served at
// /cgi-bin, because its scripts may expect that path.
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
