package command

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/pagi-go/pagi-bridge/internal/nearest"
	"github.com/pagi-go/pagi-bridge/site"
)

// options are the flags as they were given.
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
	help, version          bool

	// settings gets the flags that are named as a setting is.
	settings site.Settings
}

// parseFlags reads a command line. The error of an unknown flag names the nearest
// one.
func parseFlags(args []string) (*options, error) {
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

// settingOf returns the name a flag's setting has in a site file.
func settingOf(flag string) string {
	if flag == "pid" {
		return "pid_file"
	}
	return strings.ReplaceAll(flag, "-", "_")
}

func (o *options) define() {
	f, s := o.set, &o.settings
	f.SortFlags = false
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "lib" { // what the reference server calls it
			name = "include"
		}
		return pflag.NormalizedName(name)
	})
	f.Usage = func() {}

	f.StringVarP(&o.config, "config", "c", "", "serve what the site `FILE` (YAML) says")
	f.BoolVarP(&o.test, "test", "t", false, "check flags and site file, say OK or what is wrong, and exit")
	f.StringVarP(&o.app, "app", "a", "", "serve the PSGI application in `FILE`, whatever its name ends in")
	f.StringVarP(&o.code, "eval", "e", "", "serve the PSGI application that the Perl `CODE` yields")
	f.StringArrayVarP(&o.modules, "module", "M", nil, "load the Perl `MODULE` first (repeatable)")
	f.StringArrayVarP(&s.Include, "include", "I", nil, "put `DIR` in front of @INC (repeatable; also --lib)")
	f.StringVar(&o.cgi, "cgi", "", "serve the CGI scripts in a directory, or one script: `DIR|SCRIPT`")
	f.IntVarP(&s.Workers, "workers", "w", 0, "`N` Perl processes per PSGI application (default 5)")
	f.IntVar(&s.MinWorkers, "min-workers", 0, "instead of -w: at least `N` of them, by load")
	f.IntVar(&s.MaxWorkers, "max-workers", 0, "and at most `N`")
	f.BoolVar(&s.Preload, "preload", false, "load the PSGI application once and fork its processes")
	f.IntVar(&s.MaxRequests, "max-requests", 0, "replace such a process after `N` requests (default 0: never)")
	f.BoolVar(&s.Reload, "reload", false, "for development: load a PSGI application anew when its files change")
	f.Var((*durationFlag)(&s.MaxAge), "max-age", "and after `SECONDS` (default 0: never)")
	f.Int64Var(&s.MaxRSS, "max-rss", 0, "and when it has more than `BYTES` of memory (default 0: never)")
	f.StringVar(&s.Perl, "perl", "", "the `PERL` to run (default perl, from PATH)")
	f.StringVarP(&s.Environment, "env", "E", "", "`ENV`: development, production, deployment, none or a name of your own")

	o.defineListeners()
	o.defineProcess()
	o.defineLogs()
	o.defineLimits()
	f.BoolVarP(&o.version, "version", "v", false, "print the version")
	f.BoolVarP(&o.help, "help", "h", false, "print this help")
}

func (o *options) defineListeners() {
	f, s := o.set, &o.settings
	f.StringVarP(&o.host, "host", "o", "127.0.0.1", "listen at this `HOST`")
	f.IntVarP(&o.port, "port", "p", 5000, "listen at this `PORT`; 0 takes a free one")
	f.StringArrayVar(&s.Listen, "listen", nil, "listen at `PLACE`: host:port or the path of a Unix socket, and options as in :80,redirect (repeatable)")
	f.StringVarP(&o.socket, "socket", "S", "", "listen at the Unix socket `PATH`")
	f.StringVar(&s.SocketMode, "socket-mode", "", "permissions of Unix sockets, as 0660: `MODE`")
	f.IntVarP(&s.ListenerBacklog, "listener-backlog", "b", 0, "`N` connections may wait to be accepted (default: what the system allows)")
	f.StringArrayVar(&s.ProxyProtocolFrom, "proxy-protocol-from", nil, "proxies at this `ADDRESS` or network may connect to a place with the option proxy (repeatable)")
	f.StringVar(&s.TLS.Cert, "ssl-cert", "", "speak TLS with the certificate chain in the PEM `FILE`")
	f.StringVar(&s.TLS.Key, "ssl-key", "", "and its key in the PEM `FILE`")
	f.StringVar(&s.TLS.OCSP, "ssl-ocsp", "", "staple the OCSP response in `FILE`")
	f.StringVar(&s.TLS.MinVersion, "ssl-min-version", "", "1.2 or 1.3: `VERSION` (default 1.2)")
	f.StringVar(&s.TLS.ClientAuth, "ssl-client-auth", "", "client certificates are off, optional or required: `MODE` (default off)")
	f.StringVar(&s.TLS.ClientCA, "ssl-client-ca", "", "and signed by those in the PEM `FILE`")
	f.StringArrayVar(&s.TLS.ACME.Domains, "acme", nil, "get a certificate for `DOMAIN` by ACME, from Let's Encrypt (repeatable)")
	f.BoolVar(&s.TLS.ACME.Agree, "acme-agree", false, "you agree to the authority's terms")
	f.StringVar(&s.TLS.ACME.Email, "acme-email", "", "whom the authority tells of problems: `ADDRESS`")
	f.StringVar(&s.TLS.ACME.Directory, "acme-directory", "", "another authority's directory: `URL`")
	f.StringVar(&s.TLS.ACME.Storage, "acme-storage", "", "keep keys and certificates in `DIR` (default acme)")
}

func (o *options) defineProcess() {
	f, s := o.set, &o.settings
	f.BoolVarP(&o.daemonize, "daemonize", "D", false, "go into the background once everything is served")
	f.StringVar(&s.PidFile, "pid", "", "write the process's number to `FILE`")
	f.StringVar(&s.User, "user", "", "become `USER` once everything is listened at; for root")
	f.StringVar(&s.Group, "group", "", "and `GROUP` (default: the user's)")
	f.StringVar(&s.Umask, "umask", "", "permissions that new files do not get, as 0027: `MODE`")
	f.StringVar(&s.StatusSocket, "status-socket", "", "answer \"pagi-bridge status\" at the Unix socket `PATH`, in a directory with mode 0700")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "no banner; log only errors, unless a level is given")
}

func (o *options) defineLogs() {
	f, s := o.set, &o.settings
	f.StringVar(&s.AccessLog, "access-log", "", "log requests to `FILE`, - for standard error (default: - in development, else none)")
	f.BoolVar(&o.noAccessLog, "no-access-log", false, "do not log requests")
	f.StringVar(&s.AccessLogFormat, "access-log-format", "", "common, clf, combined, tiny, json, or a `FORMAT` of your own (default common)")
	f.Int64Var(&s.AccessLogMaxSize, "access-log-max-size", 0, "put the access log aside when it has `BYTES` (default 0: never)")
	f.Var((*durationFlag)(&s.AccessLogMaxAge), "access-log-max-age", "remove what was put aside after `SECONDS` (default 0: never)")
	f.IntVar(&s.AccessLogBackups, "access-log-backups", 0, "and when there are more than `N` of them (default 0: never)")
	f.BoolVar(&s.AccessLogCompress, "access-log-compress", false, "and pack it")
	f.StringVar(&s.LogFile, "log-file", "", "log everything else to `FILE` (default: standard error)")
	f.StringVar(&s.LogFormat, "log-format", "", "text or json: `FORMAT` (default text)")
	f.StringVar(&s.LogLevel, "log-level", "", "debug, info, warn or error: `LEVEL` (default info)")
}

func (o *options) defineLimits() {
	f, s := o.set, &o.settings
	f.Int64Var(&s.MaxBodySize, "max-body-size", 0, "largest request body in `BYTES`; 0: no limit (default 10 MiB)")
	f.IntVar(&s.MaxHeaderSize, "max-header-size", 0, "largest request head in `BYTES` (default 32 KiB)")
	f.IntVar(&s.MaxHeaderCount, "max-header-count", 0, "largest number of header lines: `N` (default 100)")
	f.IntVar(&s.MaxConnections, "max-connections", 0, "connections open at once: `N`; 0: no limit (default: four fifths of the open files allowed)")
	f.IntVar(&s.MaxConnectionsPerAddress, "max-connections-per-address", 0, "and from one address: `N` (default 0: no limit)")
	f.IntVar(&s.MaxRequestsPerConnection, "max-requests-per-connection", 0, "requests on one connection of HTTP/1 or 2: `N` (default 0: no limit)")
	f.BoolVar(&s.HTTP3, "http3", false, "speak HTTP/3 where TLS is spoken, too")
	f.BoolVar(&s.H2C, "h2c", false, "speak HTTP/2 without TLS, too")
	f.IntVar(&s.H2MaxStreams, "h2-max-concurrent-streams", 0, "requests at once on an HTTP/2 connection: `N` (default 100)")
	f.IntVar(&s.H2ResetBurst, "h2-rst-burst", 0, "requests a client may reset at once on one: `N` (default 1000)")
	f.IntVar(&s.H2ResetRate, "h2-rst-rate", 0, "and how many more each second: `N` (default 33)")
	f.IntVar(&s.H2ControlBurst, "h2-control-burst", 0, "frames without content it may send at once: `N` (default 1000)")
	f.IntVar(&s.H2ControlRate, "h2-control-rate", 0, "and how many more each second: `N` (default 100)")
	f.IntVar(&s.WriteHighWatermark, "write-high-watermark", 0, "with `BYTES` unsent, an application's send waits (default 65536)")
	f.IntVar(&s.WriteLowWatermark, "write-low-watermark", 0, "until `BYTES` are left (default 16384)")
	f.IntVar(&s.MaxWSFrameSize, "max-ws-frame-size", 0, "largest frame of a WebSocket in `BYTES` (default 64 KiB)")
	f.IntVar(&s.MaxWSMessageSize, "max-ws-message-size", 0, "largest message of a WebSocket in `BYTES` (default 1 MiB)")
	f.IntVar(&s.MaxReceiveQueue, "max-receive-queue", 0, "`N` messages of a WebSocket may wait for the application (default 1000)")
	f.StringVar(&s.WSCompression, "ws-compression", "", "compress messages of WebSockets, on or off: `MODE` (default on)")
	for _, d := range []struct {
		to          *durationFlag
		name, usage string
	}{
		{(*durationFlag)(&s.Timeout), "timeout", "a connection may be idle for `SECONDS` (default 60)"},
		{(*durationFlag)(&s.HeaderTimeout), "header-timeout", "a request's head may take `SECONDS` (default 30)"},
		{(*durationFlag)(&s.BodyTimeout), "body-timeout", "each piece of a request body may take `SECONDS` (default 30)"},
		{(*durationFlag)(&s.WriteTimeout), "write-timeout", "a write may make no progress for `SECONDS` (default 60)"},
		{(*durationFlag)(&s.RequestTimeout), "request-timeout", "a request may stall for `SECONDS` (default 0: no limit)"},
		{(*durationFlag)(&s.MaxRequestTime), "max-request-time", "a request may take `SECONDS` as a whole (default 0: no limit)"},
		{(*durationFlag)(&s.WSIdleTimeout), "ws-idle-timeout", "a WebSocket may be idle for `SECONDS` (default 0: no limit)"},
		{(*durationFlag)(&s.SSEIdleTimeout), "sse-idle-timeout", "an event stream may send nothing for `SECONDS` (default 0: no limit)"},
		{(*durationFlag)(&s.ShutdownTimeout), "shutdown-timeout", "a graceful stop may take `SECONDS` (default 30)"},
		{(*durationFlag)(&s.LifespanStartupTimeout), "lifespan-startup-timeout", "applications may take `SECONDS` to start (default 90)"},
	} {
		f.Var(d.to, d.name, d.usage)
	}
	f.StringVar(&s.Lifespan, "lifespan", "", "auto, on or off: `MODE` (default auto)")
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
	what, n := given("config", "app", "eval", "cgi")
	switch {
	case n > 1:
		return errors.New("--config, --app, -e and --cgi exclude one another: each says what to serve")
	case n == 1 && len(o.args) > 0:
		return fmt.Errorf("unexpected argument %q: %s already says what to serve", o.args[0], what)
	case len(o.args) > 1:
		return fmt.Errorf("unexpected argument %q: one application is served; a site file (-c) can mount several", o.args[1])
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

// checkEmpty reports a flag or an argument whose text is empty, as "$UNSET" is in a
// shell: it would stand for "not given", and something else would be served.
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

// explain makes a parsing error say what would be right.
func (o *options) explain(err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("%w%s", err, o.suggestion(unknown))
	case errors.As(err, &invalid) && strings.HasPrefix(invalid.GetFlag().Value.Type(), "int"):
		return fmt.Errorf("--%s must be a whole number, is %q", invalid.GetFlag().Name, invalid.GetValue())
	}
	return err
}

// elsewhere says of flags of pagi-server, and of plackup, what they are here.
var elsewhere = map[string]string{
	"http2":                 "HTTP/2 is on wherever TLS is; without TLS it is --h2c",
	"no-default-middleware": "nothing is put around an application; see middleware in a site file",
	"heartbeat-timeout":     "a worker that hangs is killed after request_timeout of its psgi mount",
	"disable-tls":           "TLS is on where there is a certificate",
	"sync-file-threshold":   "files are always sent by the kernel",
	"loop":                  "there is one event loop, Go's",
	"reuseport":             "one process listens; its workers need no port",
	"future-xs":             "it is about a module of the Perl server",
	"validate-events":       "events are checked with -E development",
	"server":                "this is the server",
	"path":                  "see path of a mount in a site file",
	"env":                   "say -E NAME, or --env NAME",
}

func (o *options) suggestion(unknown *pflag.NotExistError) string {
	if unknown.GetSpecifiedShortnames() != "" {
		return ""
	}
	if words, ok := elsewhere[unknown.GetSpecifiedName()]; ok {
		return ": " + words
	}
	var names []string
	o.set.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return nearest.Suggestion(unknown.GetSpecifiedName(), "--", names)
}
