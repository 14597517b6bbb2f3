package command

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/pagi-go/pagi-bridge/internal/nearest"
	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/site"
)

// options are the flags of the command line.
type options struct {
	set  *pflag.FlagSet
	args []string

	config, app, code, cgi string
	modules                []string
	host                   string
	port                   int
	socket                 string
	noAccessLog            bool
	quiet, test, daemonize bool
	compile                bool
	help, version          bool
	loaded                 string // the argument, if it is taken for a PSGI or a PAGI application
	psgi, pagi             bool   // the kind of a Perl application
	loop                   string // the event loop of its workers, "true" for any
	asPAGI                 bool   // it is served as a PAGI application
	guess                  string // why, if that was guessed

	// settings gets the values of flags that have the name of a setting.
	settings site.Settings
}

// parseFlags reads a command line. The error of an unknown flag names the nearest
// one.
func parseFlags(args []string) (*options, error) {
	if len(args) > 0 && words[args[0]] != "" {
		args = append([]string{words[args[0]]}, args[1:]...)
	}
	o := &options{set: pflag.NewFlagSet("pagi-bridge", pflag.ContinueOnError)}
	o.define()
	if err := o.set.Parse(args); err != nil {
		return nil, o.explain(err)
	}
	o.args = o.set.Args()
	if o.help || o.version {
		return o, nil
	}
	var errs []error
	o.set.Visit(func(f *pflag.Flag) { errs = append(errs, o.settings.Given(settingOf(f.Name))) })
	return o, errors.Join(append(errs, o.check())...)
}

// settingOf returns the name of a flag's setting in a site file.
func settingOf(flag string) string {
	switch flag {
	case "pid":
		return "pid_file"
	case "include":
		return "lib"
	}
	return strings.ReplaceAll(flag, "-", "_")
}

func (o *options) define() {
	f, s := o.set, &o.settings
	f.SortFlags = false
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "lib" { // its name in the reference server
			name = "include"
		}
		return pflag.NormalizedName(name)
	})
	f.Usage = func() {}

	f.StringVarP(&o.config, "config", "c", "", "serve what the site file `FILE` (YAML) describes")
	f.BoolVarP(&o.test, "test", "t", false, "check the flags and the site file, print OK or the mistakes, and exit")
	f.BoolVar(&o.compile, "compile", false, "with -t: have perl compile the PSGI and PAGI applications, too, and plugins check their options")
	f.StringVarP(&o.app, "app", "a", "", "serve the PSGI or PAGI application in `FILE`, whatever the file's name ends in")
	f.StringVarP(&o.code, "eval", "e", "", "serve the PSGI or PAGI application that the Perl `CODE` returns")
	f.BoolVar(&o.psgi, "psgi", false, "take a Perl application for one of PSGI (default: what its text looks like)")
	f.BoolVar(&o.pagi, "pagi", false, "take a Perl application for one of PAGI (default: what its text looks like)")
	f.StringVar(&o.loop, "loop", "", "run a PSGI or Mojolicious application in workers with an event loop; --loop=`NAME`: on the loop of that name")
	f.Lookup("loop").NoOptDefVal = "true"
	f.StringArrayVarP(&o.modules, "module", "M", nil, "load the Perl `MODULE` before the application (repeatable)")
	f.StringArrayVarP(&s.Lib, "include", "I", nil, "put `DIR` in front of @INC (repeatable; also --lib)")
	f.StringVar(&o.cgi, "cgi", "", "serve the CGI scripts in a directory, or one script: `DIR|SCRIPT`")
	o.defineFrom(&s.Processes)
	f.BoolVarP(&s.Reload, "reload", "r", false, "for development: load a PSGI application anew when one of its files changes")
	f.StringSliceVarP(&s.ReloadDirs, "reload-dirs", "R", nil, "load PSGI applications anew when a file below `DIRS` changes (comma-separated, repeatable)")
	f.StringVar(&s.Perl, "perl", "", "run the workers with this `PERL` (default perl, from PATH)")
	f.StringVar(&s.Isolate.Name, "isolate", "", "run Perl and CGI in a process of its own, called `NAME` (default shared); none: in the gateway's (default in development)")
	f.StringVarP(&s.Environment, "env", "E", "", "set the environment to `ENV`: development, production, deployment, none or a name of your own")

	o.defineListeners()
	o.defineProcess()
	o.defineLogs()
	o.defineLimits()
	f.BoolVarP(&o.version, "version", "v", false, "print the version")
	f.BoolVarP(&o.help, "help", "h", false, "print this help")
}

func (o *options) defineListeners() {
	f, s := o.set, &o.settings
	f.StringVarP(&o.host, "host", "o", "127.0.0.1", "listen on `HOST`")
	f.IntVarP(&o.port, "port", "p", 5000, "listen on `PORT`; 0 takes a free one")
	f.StringArrayVarP(&s.Listen, "listen", "l", nil, "listen on `PLACE`: host:port or the path of a Unix socket, with options as in :80,redirect (repeatable)")
	f.StringVarP(&o.socket, "socket", "S", "", "listen on the Unix socket `PATH`")
	f.StringVar(&s.SocketMode, "socket-mode", "", "set the permissions of Unix sockets to `MODE`, 0660 for example")
	f.IntVarP(&s.ListenerBacklog, "listener-backlog", "b", 0, "let `N` connections wait to be accepted (default: what the system allows)")
	f.StringArrayVar(&s.ProxyProtocolFrom, "proxy-protocol-from", nil, "trust proxies at `ADDRESS`, an address or a network; needed for places with the option proxy (repeatable)")
	f.StringVar(&s.TLS.Cert, "ssl-cert", "", "speak TLS with the certificate chain in the PEM `FILE`")
	f.StringVar(&s.TLS.Key, "ssl-key", "", "read the private key of --ssl-cert from the PEM `FILE`")
	f.StringVar(&s.TLS.OCSP, "ssl-ocsp", "", "staple the OCSP response in `FILE` to the certificate of --ssl-cert")
	f.StringVar(&s.TLS.MinVersion, "ssl-min-version", "", "accept TLS from `VERSION` on: 1.2 or 1.3 (default 1.2)")
	f.StringVar(&s.TLS.ClientAuth, "ssl-client-auth", "", "ask clients for a certificate: `MODE` is off, optional or required (default off)")
	f.StringVar(&s.TLS.ClientCA, "ssl-client-ca", "", "accept client certificates that an authority in the PEM `FILE` has signed")
	f.StringArrayVar(&s.TLS.ACME.Domains, "acme", nil, "get a certificate for `DOMAIN` by ACME, from Let's Encrypt by default (repeatable)")
	f.BoolVar(&s.TLS.ACME.Agree, "acme-agree", false, "agree to the terms of the ACME authority")
	f.StringVar(&s.TLS.ACME.Email, "acme-email", "", "give the ACME authority `ADDRESS` for its messages about problems")
	f.StringVar(&s.TLS.ACME.Directory, "acme-directory", "", "use the ACME authority whose directory is at `URL`")
	f.StringVar(&s.TLS.ACME.Storage, "acme-storage", "", "keep the keys and certificates of ACME in `DIR` (default acme)")
}

func (o *options) defineProcess() {
	f, s := o.set, &o.settings
	f.BoolVarP(&o.daemonize, "daemonize", "D", false, "go into the background once everything is served")
	f.StringVar(&s.PidFile, "pid", "", "write the number of the process to `FILE`")
	f.StringVar(&s.User, "user", "", "become `USER` once all listeners are open; needs root")
	f.StringVar(&s.Group, "group", "", "become `GROUP` once all listeners are open; needs root (default: the group of --user)")
	f.StringVar(&s.Umask, "umask", "", "take the permissions in `MODE` from new files, 0027 for example")
	f.StringVar(&s.MetricsListen, "metrics-listen", "", "tell the metrics at `ADDRESS`, host:port or the path of a Unix socket, to any client that connects")
	f.StringVar(&s.StatusSocket, "status-socket", "", "answer \"pagi-bridge status\" on the Unix socket `PATH`, in a directory with mode 0700")
	f.StringVar(&s.Cluster.URL, "cluster", "", "pass the messages of channels to other gateways by the Redis or NATS at `URL`")
	f.StringVar(&s.Tracing.Endpoint, "tracing", "", "send traces of requests to the OpenTelemetry collector at `URL`, http://localhost:4318 for example")
	f.StringVar(&s.Hub, "hub", "", "let PSGI applications and CGI scripts publish on the Unix socket `PATH`, in a directory with mode 0700")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print no banner, and log only errors unless a log level is given")
}

func (o *options) defineLogs() {
	f, s := o.set, &o.settings
	f.BoolVar(&o.noAccessLog, "no-access-log", false, "do not log requests")
	o.defineFrom(&s.Logs)
	o.defineFrom(&s.SlowLog)
}

func (o *options) defineLimits() {
	f, s := o.set, &o.settings
	o.defineFrom(&s.Limits)
	f.BoolVar(&s.HTTP3, "http3", false, "serve HTTP/3, too, at each address with TLS")
	f.BoolVar(&s.H2C, "h2c", false, "serve HTTP/2 without TLS, too")
	f.StringVar(&s.WSCompression, "ws-compression", "", "compress WebSocket messages: `MODE` is on or off (default on)")
	o.defineFrom(&s.Timeouts)
	f.StringVar(&s.Lifespan, "lifespan", "", "tell applications of start and stop: `MODE` is auto, on or off (default auto)")
}

// check reports flags that contradict one another.
func (o *options) check() error {
	given := func(names ...string) (first string, n int) {
		for _, name := range names {
			if o.set.Changed(name) {
				if n == 0 {
					first = "--" + name
				}
				n++
			}
		}
		return first, n
	}
	if err := o.checkEmpty(); err != nil {
		return err
	}
	if o.compile && !o.test {
		return errors.New("--compile needs -t")
	}
	what, n := given("config", "app", "eval", "cgi")
	switch {
	case n > 1:
		return errors.New("--config, --app, -e and --cgi exclude one another: each names what to serve")
	case o.psgi && o.pagi:
		return errors.New("--psgi and --pagi exclude one another")
	case n == 1 && len(o.args) > 0 && !(o.app != "" && o.isModule(o.app)):
		return fmt.Errorf("unexpected argument %q: %s already names what to serve", o.args[0], what)
	case len(o.args) > 1 && !o.isModule(o.args[0]):
		return fmt.Errorf("unexpected argument %q: only one application can be given; a site file (-c) can mount several", o.args[1])
	case o.config != "" && o.loop != "":
		return errors.New("--loop belongs to an application; in a site file write it as \"loop\" of the mount")
	case o.config != "" && len(o.modules) > 0:
		return errors.New("-M belongs to an application; in a site file write it as \"modules\" of the mount")
	}
	if _, place := given("host", "port"); place > 0 {
		if other, n := given("listen", "socket"); n > 0 {
			return fmt.Errorf("%s and --host/--port exclude one another", other)
		}
	}
	if o.noAccessLog && o.set.Changed("access-log") {
		return errors.New("--access-log and --no-access-log exclude one another")
	}
	for _, name := range []string{"workers", "min-workers", "max-workers"} {
		if o.set.Changed(name) && o.set.Lookup(name).Value.String() == "0" {
			return fmt.Errorf("--%s must be at least 1", name)
		}
	}
	if o.port < 0 || o.port > 65535 {
		return fmt.Errorf("--port must be 0 to 65535, is %d", o.port)
	}
	return nil
}

// checkEmpty reports a flag or an argument whose text is empty, such as an unset "$VARIABLE" in a
// shell. It would count as not given, and the gateway would serve something else.
func (o *options) checkEmpty() (err error) {
	o.set.Visit(func(f *pflag.Flag) {
		list, is := f.Value.(pflag.SliceValue)
		if is && slices.Contains(list.GetSlice(), "") || f.Value.Type() == "string" && f.Value.String() == "" {
			err = fmt.Errorf("--%s must not be empty", f.Name)
		}
	})
	if err == nil && slices.Contains(o.args, "") {
		err = errors.New("an argument must not be empty")
	}
	return err
}

// explain adds the right form to a parsing error.
func (o *options) explain(err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("%w%s", err, o.suggestion(unknown))
	case errors.As(err, &invalid) && forms[invalid.GetFlag().Value.Type()] != "":
		return fmt.Errorf("--%s must be %s, is %q", invalid.GetFlag().Name, forms[invalid.GetFlag().Value.Type()], invalid.GetValue())
	}
	return err
}

// forms are the descriptions of valid values by the type of a flag, worded as in messages about
// site files.
var forms = map[string]string{
	"int": option.NumberForm, "N|auto": option.AutoForm, "N": option.NumberForm, "SIZE": option.SizeForm, "SECONDS": option.DurationForm,
}

// elsewhereShort maps one-letter flags of plackup to a hint about the flag here.
var elsewhereShort = map[string]string{
	"s": "leave it out: pagi-bridge is the server",
	"L": "use --reload to load the application anew when a file changes, --preload to load it once for all workers",
	"V": "use --version",
}

// elsewhere maps flags of pagi-server and plackup to a hint about the flag here.
var elsewhere = map[string]string{
	"http2":                 "HTTP/2 is always offered with TLS; --h2c serves it without TLS, too",
	"no-default-middleware": "an application gets no middleware by default; a site file can add some (middleware)",
	"heartbeat-timeout":     "request_timeout of a psgi mount says after how long a worker that hangs is killed",
	"disable-tls":           "leave it out: there is TLS only with a certificate",
	"sync-file-threshold":   "leave it out: the kernel always sends the files",
	"reuseport":             "leave it out: one process listens, and its workers need no port",
	"future-xs":             "leave it out: it concerns a module of the Perl server",
	"validate-events":       "use -E development, which checks the events",
	"server":                "leave it out: pagi-bridge is the server",
	"path":                  "use a site file with a mount that has a path",
	"env":                   "use -E NAME, or --env NAME",
	"loader":                "use --reload to load the application anew when a file changes, --preload to load it once for all workers",
	"daemon":                "use -D, or --daemonize",
	"error-log":             "use --log-file FILE",
	"backlog":               "use -b N, or --listener-backlog N",
	"max-reqs-per-child":    "use --max-requests N",
	"keepalive-timeout":     "use --timeout SECONDS",
	"read-timeout":          "use --header-timeout SECONDS and --body-timeout SECONDS",
	"max-keepalive-reqs":    "use --max-requests-per-connection N",
	"ssl-cert-file":         "use --ssl-cert FILE",
	"ssl-key-file":          "use --ssl-key FILE",
	"enable-ssl":            "use --ssl-cert and --ssl-key: there is TLS only with a certificate",
	"preload-app":           "use --preload",
}

func (o *options) suggestion(unknown *pflag.NotExistError) string {
	if unknown.GetSpecifiedShortnames() != "" {
		if words, ok := elsewhereShort[unknown.GetSpecifiedName()]; ok {
			return ": " + words
		}
		return ""
	}
	if words, ok := elsewhere[unknown.GetSpecifiedName()]; ok {
		return ": " + words
	}
	var names []string
	o.set.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return nearest.Suggestion(unknown.GetSpecifiedName(), "--", names)
}
