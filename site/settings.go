package site

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/tracing"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server"
)

// Settings are the options of the whole site rather than of one mount. On the command line each has
// the flag of its name with hyphens. For a limit or a timeout the zero value is the server's
// default. An explicit 0 in a file or a flag turns it off, which is stored as -1. A change of an
// option tagged "restart" takes effect at the next start of the program.
type Settings struct {
	// Listen are the addresses to listen at, in the form that server.ParsePlace reads: "host:port",
	// ":port", or the path of a Unix socket, which contains a slash, and options. In a site file
	// one may also be a mapping of its address and options. Default: 127.0.0.1:5000, or what
	// systemd has opened.
	Listen []string `yaml:"listen" form:"place" change:"restart"`
	// SocketMode is the permission of Unix sockets in octal, "0660".
	SocketMode string `yaml:"socket_mode" change:"restart"`
	// ListenerBacklog is how many connections may wait to be accepted.
	ListenerBacklog int `yaml:"listener_backlog" change:"restart"`
	// ProxyProtocolFrom are the addresses and networks of the proxies that may connect
	// to a place with the option proxy.
	ProxyProtocolFrom []string `yaml:"proxy_protocol_from" change:"restart"`
	// TLS makes the TCP listeners speak TLS.
	TLS TLS `yaml:"tls" change:"restart"`

	// User and Group are the identity that the process takes once it listens. PidFile is the file
	// for its process number. Umask is in octal, "0027".
	User    string `yaml:"user" change:"restart"`
	Group   string `yaml:"group" change:"restart"`
	Umask   string `yaml:"umask" change:"restart"`
	PidFile string `yaml:"pid_file" path:"yes" change:"restart"`
	// StatusSocket is the path of a Unix socket to which "pagi-bridge status" connects.
	StatusSocket string `yaml:"status_socket" path:"yes" change:"restart"`
	// MetricsListen is where the metrics are told to any client that connects: host:port, or the absolute path of a Unix socket.
	MetricsListen string `yaml:"metrics_listen" change:"restart"`
	// Hub is the path of a Unix socket to which the applications of psgi and cgi mounts post messages
	// for the channels of other mounts. They find the path in the variable PAGI_HUB.
	Hub string `yaml:"hub" path:"yes" change:"restart"`

	// Cluster passes the messages of channels between several gateways. A text is its URL.
	Cluster Cluster `yaml:"cluster" short:"url"`
	// Cache is what the applications may keep in the gateway's memory. A text is its size.
	Cache Cache `yaml:"cache" short:"size"`
	// Tracing sends traces of requests to a collector of OpenTelemetry. A text is its endpoint.
	Tracing tracing.Options `yaml:"tracing" short:"endpoint" change:"restart"`
	// Services are programs that are kept running beside the site, Cron those that run on a schedule.
	Services []ServiceOptions `yaml:"services"`
	Cron     []CronOptions    `yaml:"cron"`
	// Isolate is the isolation of all mounts of PSGI, CGI and Perl PAGI that have none of their own. Without it they
	// share one adapter, and in development they are in the gateway's process.
	Isolate Isolation `yaml:"isolate" short:"name"`

	// Environment is development, production, deployment, none, or a name of your
	// own. Development shows errors to the client and logs every request.
	Environment string `yaml:"environment"`

	// Processes applies to the PSGI mounts that do not set these options themselves.
	worker.Processes `yaml:",inline"`
	// Reload makes a PSGI mount load its application again when one of its files changes.
	Reload bool `yaml:"reload"`
	// ReloadDirs are directories in which a change of any file also causes a reload, such as
	// templates or configuration. Files and directories whose names begin with a dot do not count.
	// ReloadDirs works without Reload.
	ReloadDirs []string `yaml:"reload_dirs" path:"yes"`
	// Perl is the perl to run.
	Perl string `yaml:"perl" path:"slash"`
	// Lib are directories put in front of @INC.
	Lib []string `yaml:"lib" old:"include" path:"yes"`

	// Limits and Timeouts are those of the server.
	server.Limits   `yaml:",inline"`
	server.Timeouts `yaml:",inline"`

	// WSCompression is on or off.
	WSCompression string `yaml:"ws_compression"`
	// HTTP3 adds HTTP/3 to the listeners that speak TLS.
	HTTP3 bool `yaml:"http3" change:"restart"`
	// H2C allows HTTP/2 without TLS.
	H2C bool `yaml:"h2c" change:"restart"`

	// Lifespan is auto, on or off.
	Lifespan string `yaml:"lifespan"`

	SlowLog `yaml:",inline"`

	Logs `yaml:",inline"`
}

// SlowLog says which requests the log tells of because they take long.
type SlowLog struct {
	// SlowRequest is how long a request may take before the log tells of it: at that moment, and when it has ended. 0 means any
	// time. It does not apply to WebSockets and event streams.
	SlowRequest time.Duration `yaml:"slow_request" help:"log a request that takes longer than {SECONDS} while it runs, and when it has ended (default 0: none)"`
}

// Given is called for a setting that is set in a file or by a flag. If zero stands for a default,
// an explicit zero becomes the value for "off". A negative number is an error.
func (s *Settings) Given(name string) error {
	if name == "tracing" {
		s.Tracing.Given = true
	}
	for _, f := range option.Fields(s) {
		switch zero := f.Tag.Get("zero"); {
		case f.Name != name || !f.Value.CanInt():
		case f.Value.Int() < 0:
			return negative(name, f.Value)
		case !f.Value.IsZero() || zero == "":
		case f.ZeroIsOff():
			f.Value.SetInt(-1)
		default:
			return pagi.BadOption(name, "%s", zero)
		}
	}
	return nil
}

func negative(name string, v reflect.Value) error {
	return pagi.BadOption(name, "must not be negative, is %v", v.Interface())
}

// checkSigns reports negative numbers other than the -1 for "off".
func (s *Settings) checkSigns() error {
	var errs []error
	for _, f := range option.Fields(s) {
		if f.Value.CanInt() && f.Value.Int() < 0 && (!f.ZeroIsOff() || f.Value.Int() != -1) {
			errs = append(errs, negative(f.Name, f.Value))
		}
	}
	return errors.Join(errs...)
}

// Check reports a setting that cannot work.
func (s *Settings) Check() error {
	var errs []error
	if _, err := parseMode(s.SocketMode); err != nil {
		errs = append(errs, err)
	}
	if s.Umask != "" {
		if _, err := server.ParseMode(s.Umask); err != nil {
			errs = append(errs, pagi.BadOption("umask", "%w", err))
		}
	}
	for _, text := range s.ProxyProtocolFrom {
		if _, err := server.ParseNetwork(text); err != nil {
			errs = append(errs, pagi.BadOption("proxy_protocol_from", "%w", err))
		}
	}
	_, _, err := s.Identity()
	errs = append(errs, err, s.TLS.check(), s.Logs.check(), s.checkSigns(), s.Cluster.check(), s.Cache.check(), s.Tracing.Check())
	if err := s.checkMetrics(); err != nil {
		errs = append(errs, pagi.BadOption("metrics_listen", "%w", err))
	}
	if s.Cluster.isSet() && s.Lifespan == string(server.LifespanOff) {
		errs = append(errs, pagi.BadOption("lifespan", "must not be off: cluster is connected by it"))
	}
	switch server.LifespanMode(s.Lifespan) {
	case "", server.LifespanAuto, server.LifespanOn, server.LifespanOff:
	default:
		errs = append(errs, pagi.BadOption("lifespan", "must be auto, on or off, is %q", s.Lifespan))
	}
	switch server.WSCompressionMode(s.WSCompression) {
	case "", server.WSCompressionOn, server.WSCompressionOff:
	default:
		errs = append(errs, pagi.BadOption("ws_compression", "must be on or off, is %q", s.WSCompression))
	}
	errs = append(errs, s.Processes.Check())
	if high := s.Limits.WithDefaults().HighWaterMark; s.LowWaterMark > high {
		errs = append(errs, pagi.BadOption("write_low_watermark", "must be at most write_high_watermark, %d, is %d", high, s.LowWaterMark))
	}
	return errors.Join(append(errs, s.checkListen(), s.checkHTTP3(), s.checkPlaces())...)
}

// checkHTTP3 reports HTTP/3 if all addresses with TLS are for proxies. For sockets that systemd or
// another process has opened, the start reports it.
func (s *Settings) checkHTTP3() error {
	if !s.HTTP3 {
		return nil
	}
	proxied := false
	places, _ := s.places()
	for _, place := range places {
		switch {
		case strings.HasPrefix(place.Address, "unix:") || place.Plain || place.Redirect:
		case !place.Proxy:
			return nil
		default:
			proxied = true
		}
	}
	if proxied {
		return pagi.BadOption("http3", "cannot be spoken at a place with the option proxy (listen): no PROXY header comes by UDP, so clients would go past the proxy; add a place without it, or leave http3 out")
	}
	return nil
}

// MetricsSocket returns the path of the Unix socket that MetricsListen names, or "".
func (s *Settings) MetricsSocket() string {
	if path := strings.TrimPrefix(s.MetricsListen, "unix:"); filepath.IsAbs(path) {
		return path
	}
	return ""
}

// checkMetrics reports a place at which the metrics cannot be told.
func (s *Settings) checkMetrics() error {
	if s.MetricsListen == "" || s.MetricsSocket() != "" {
		return nil
	}
	_, port, err := net.SplitHostPort(s.MetricsListen)
	if _, wrong := strconv.ParseUint(port, 10, 16); err != nil || wrong != nil {
		return fmt.Errorf("must be host:port or the absolute path of a Unix socket, is %q", s.MetricsListen)
	}
	return nil
}

// Server returns a server with these settings, but without an application and a log.
func (s *Settings) Server() *server.Server {
	mode, _ := parseMode(s.SocketMode) // Check has reported a wrong mode
	return &server.Server{
		Listen: s.Listen, SocketMode: mode, Backlog: s.ListenerBacklog, ProxyProtocolFrom: s.ProxyProtocolFrom,
		TLSCert: s.TLS.Cert, TLSKey: s.TLS.Key, TLS: s.TLS.server(),
		Limits: s.Limits, Timeouts: s.Timeouts, WSCompression: server.WSCompressionMode(s.WSCompression), HTTP3: s.HTTP3, H2C: s.H2C,
		Lifespan:        server.LifespanMode(s.Lifespan),
		AccessLogFormat: s.AccessLogFormat,
	}
}

// parseMode reads an octal file mode; "" is 0.
func parseMode(text string) (fs.FileMode, error) {
	if text == "" {
		return 0, nil
	}
	mode, err := server.ParseMode(text)
	if err != nil {
		return 0, pagi.BadOption("socket_mode", "%w", err)
	}
	return mode, nil
}

// checkListen reports addresses at which the server cannot listen.
func (s *Settings) checkListen() error {
	places, errs := s.places()
	for _, p := range places {
		switch {
		case p.TLS && !s.TLS.given():
			errs = append(errs, pagi.BadOption("listen", "%q needs a certificate for TLS (tls)", p.spec))
		case p.Proxy && !strings.HasPrefix(p.Address, "unix:") && len(s.ProxyProtocolFrom) == 0:
			errs = append(errs, pagi.BadOption("listen", "%q is for proxies, but proxy_protocol_from allows none", p.spec))
		}
	}
	return errors.Join(errs...)
}
