package site

import (
	"cmp"
	"errors"
	"io/fs"
	"reflect"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server"
)

// Settings are what concerns the whole site rather than one mount. On the command
// line each has the flag of its name with hyphens. For a limit or a timeout the
// zero value is the server's default; an explicit 0 in a file or a flag turns it
// off, which is stored as -1. What is tagged "restart" counts from the next start of
// the program on.
type Settings struct {
	// Listen are the places to listen at, as server.ParsePlace reads them: "host:port",
	// ":port", or the path of a Unix socket, which contains a slash, and options.
	// Default: 127.0.0.1:5000, or what systemd has opened.
	Listen []string `yaml:"listen" change:"restart"`
	// SocketMode is the permission of Unix sockets in octal, "0660".
	SocketMode string `yaml:"socket_mode" change:"restart"`
	// ListenerBacklog is how many connections may wait to be accepted.
	ListenerBacklog int `yaml:"listener_backlog" change:"restart"`
	// ProxyProtocolFrom are the addresses and networks of the proxies that may connect
	// to a place with the option proxy.
	ProxyProtocolFrom []string `yaml:"proxy_protocol_from" change:"restart"`
	// TLS makes the TCP listeners speak TLS.
	TLS TLS `yaml:"tls" change:"restart"`

	// User and Group are what the process becomes once it listens, and PidFile where
	// its number is written. Umask is in octal, "0027".
	User    string `yaml:"user" change:"restart"`
	Group   string `yaml:"group" change:"restart"`
	Umask   string `yaml:"umask" change:"restart"`
	PidFile string `yaml:"pid_file" change:"restart"`
	// StatusSocket is the path of a Unix socket that "pagi-bridge status" asks.
	StatusSocket string `yaml:"status_socket" change:"restart"`

	// Environment is development, production, deployment, none, or a name of your
	// own. Development shows errors to the client and logs every request.
	Environment string `yaml:"environment"`

	// Workers is the number of Perl processes for a PSGI mount that does not say
	// itself; 5 by default.
	Workers int `yaml:"workers"`
	// MinWorkers and MaxWorkers, instead of Workers, let the number follow the load.
	MinWorkers int `yaml:"min_workers"`
	MaxWorkers int `yaml:"max_workers"`
	// MaxRequests is after how many requests such a process is replaced, MaxAge
	// after how long, MaxRSS from how many bytes of memory on.
	MaxRequests int           `yaml:"max_requests"`
	MaxAge      time.Duration `yaml:"max_age"`
	MaxRSS      int64         `yaml:"max_rss"`
	// Reload makes a PSGI mount load its application anew when a file of it changes.
	Reload bool `yaml:"reload"`
	// Preload has one process load the application and fork the others, for a PSGI
	// mount that does not say itself.
	Preload bool `yaml:"preload"`
	// Perl is the perl to run.
	Perl string `yaml:"perl"`
	// Include are directories put in front of @INC.
	Include []string `yaml:"include"`

	// MaxBodySize is the largest request body in bytes.
	MaxBodySize int64 `yaml:"max_body_size" zero:"off"`
	// MaxHeaderSize is the largest request head in bytes.
	MaxHeaderSize int `yaml:"max_header_size" zero:"off"`
	// MaxHeaderCount is the largest number of header lines.
	MaxHeaderCount int `yaml:"max_header_count" zero:"off"`
	// MaxConnections is how many connections may be open.
	MaxConnections int `yaml:"max_connections" zero:"off"`
	// MaxConnectionsPerAddress is how many of them one client may have.
	MaxConnectionsPerAddress int `yaml:"max_connections_per_address"`
	// MaxRequestsPerConnection is how many requests one of HTTP/1 or 2 may carry.
	MaxRequestsPerConnection int `yaml:"max_requests_per_connection"`

	// MaxWSFrameSize is the largest payload of a WebSocket frame in bytes.
	MaxWSFrameSize int `yaml:"max_ws_frame_size" zero:"off"`
	// MaxWSMessageSize is the largest WebSocket message in bytes.
	MaxWSMessageSize int `yaml:"max_ws_message_size" zero:"off"`
	// MaxReceiveQueue is how many messages of a WebSocket may wait.
	MaxReceiveQueue int `yaml:"max_receive_queue" zero:"off"`
	// WSIdleTimeout is how long a WebSocket may be idle.
	WSIdleTimeout time.Duration `yaml:"ws_idle_timeout"`
	// WSCompression is on or off.
	WSCompression string `yaml:"ws_compression"`

	// Timeout is how long a connection may be idle.
	Timeout time.Duration `yaml:"timeout" zero:"off"`
	// HeaderTimeout is how long a request's head may take.
	HeaderTimeout time.Duration `yaml:"header_timeout" zero:"off"`
	// BodyTimeout is how long each piece of a request body may take.
	BodyTimeout time.Duration `yaml:"body_timeout" zero:"off"`
	// WriteTimeout is how long a write may go on without progress.
	WriteTimeout time.Duration `yaml:"write_timeout" zero:"off"`
	// RequestTimeout is how long a request may stall.
	RequestTimeout time.Duration `yaml:"request_timeout"`
	// MaxRequestTime is how long a request may take as a whole.
	MaxRequestTime time.Duration `yaml:"max_request_time"`
	// SSEIdleTimeout is how long an event stream may go without anything being sent.
	SSEIdleTimeout time.Duration `yaml:"sse_idle_timeout"`
	// HTTP3 adds HTTP/3 to the listeners that speak TLS.
	HTTP3 bool `yaml:"http3" change:"restart"`
	// H2C allows HTTP/2 without TLS.
	H2C bool `yaml:"h2c" change:"restart"`
	// H2MaxStreams is how many requests an HTTP/2 connection may have at once.
	H2MaxStreams int `yaml:"h2_max_concurrent_streams" zero:"off" change:"restart"`
	// H2ResetBurst and H2ResetRate are how many of them its client may reset.
	H2ResetBurst int `yaml:"h2_rst_burst" zero:"off"`
	H2ResetRate  int `yaml:"h2_rst_rate"`
	// H2ControlBurst and H2ControlRate are how many frames without content it may send.
	H2ControlBurst int `yaml:"h2_control_burst" zero:"off"`
	H2ControlRate  int `yaml:"h2_control_rate"`
	// WriteHighWatermark and WriteLowWatermark are those of a scope's transport.
	WriteHighWatermark int `yaml:"write_high_watermark"`
	WriteLowWatermark  int `yaml:"write_low_watermark"`
	// ShutdownTimeout is how long a graceful stop may take.
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout" zero:"off"`

	// Lifespan is auto, on or off.
	Lifespan string `yaml:"lifespan"`
	// LifespanStartupTimeout is how long the applications may take to start. It is
	// 90 s by default, more than a worker's start_timeout.
	LifespanStartupTimeout time.Duration `yaml:"lifespan_startup_timeout" zero:"off"`

	Logs `yaml:",inline"`
}

// defaultStartup leaves a Perl worker the time its own start_timeout allows.
const defaultStartup = 90 * time.Second

// Given is called for a setting that stands in a file or has a flag. Where zero
// stands for a default, it becomes the value for "off"; a negative number is an
// error.
func (s *Settings) Given(name string) error {
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Settings]()) {
		v := reflect.ValueOf(s).Elem().FieldByIndex(f.Index)
		switch {
		case f.Tag.Get("yaml") != name || !v.CanInt():
		case v.Int() < 0:
			return negative(name, v)
		case v.IsZero() && f.Tag.Get("zero") == "off":
			v.SetInt(-1)
		}
	}
	return nil
}

func negative(name string, v reflect.Value) error {
	return pagi.BadOption(name, "must not be negative, is %v", v.Interface())
}

// checkSigns reports negative numbers but the -1 for "off".
func (s *Settings) checkSigns() error {
	var errs []error
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Settings]()) {
		v := reflect.ValueOf(s).Elem().FieldByIndex(f.Index)
		if v.CanInt() && v.Int() < 0 && (f.Tag.Get("zero") != "off" || v.Int() != -1) {
			errs = append(errs, negative(f.Tag.Get("yaml"), v))
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
	errs = append(errs, err, s.TLS.check(), s.Logs.check(), s.checkSigns())
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
	workers := pool.Options{Workers: s.Workers, MinWorkers: s.MinWorkers, MaxWorkers: s.MaxWorkers, MaxRSS: s.MaxRSS}
	errs = append(errs, workers.Check())
	if high := cmp.Or(s.WriteHighWatermark, pagi.DefaultHighWaterMark); s.WriteLowWatermark > high {
		errs = append(errs, pagi.BadOption("write_low_watermark", "must be at most write_high_watermark, %d, is %d", high, s.WriteLowWatermark))
	}
	for _, spec := range s.Listen {
		errs = append(errs, s.checkListen(spec))
	}
	return errors.Join(errs...)
}

// StartupTimeout is how long the applications may take to start; negative: without limit.
func (s *Settings) StartupTimeout() time.Duration {
	return cmp.Or(s.LifespanStartupTimeout, defaultStartup)
}

// Server returns a server with the settings, without an application and a log.
func (s *Settings) Server() *server.Server {
	mode, _ := parseMode(s.SocketMode) // Check has reported a wrong one
	return &server.Server{
		Listen: s.Listen, SocketMode: mode, Backlog: s.ListenerBacklog, ProxyProtocolFrom: s.ProxyProtocolFrom,
		TLSCert: s.TLS.Cert, TLSKey: s.TLS.Key, TLS: s.TLS.server(),
		MaxBodySize: s.MaxBodySize, MaxHeaderSize: s.MaxHeaderSize, MaxHeaderCount: s.MaxHeaderCount, MaxConnections: s.MaxConnections,
		MaxWSFrameSize: s.MaxWSFrameSize, MaxWSMessageSize: s.MaxWSMessageSize, MaxReceiveQueue: s.MaxReceiveQueue,
		WSIdleTimeout: s.WSIdleTimeout, WSCompression: server.WSCompressionMode(s.WSCompression),
		MaxConnectionsPerAddress: s.MaxConnectionsPerAddress, MaxRequestsPerConnection: s.MaxRequestsPerConnection,
		Timeout: s.Timeout, HeaderTimeout: s.HeaderTimeout, BodyTimeout: s.BodyTimeout, WriteTimeout: s.WriteTimeout,
		RequestTimeout: s.RequestTimeout, MaxRequestTime: s.MaxRequestTime, ShutdownTimeout: s.ShutdownTimeout,
		HTTP3: s.HTTP3, H2C: s.H2C, H2MaxStreams: s.H2MaxStreams, H2ResetBurst: s.H2ResetBurst, H2ResetRate: s.H2ResetRate,
		H2ControlBurst: s.H2ControlBurst, H2ControlRate: s.H2ControlRate,
		SSEIdleTimeout: s.SSEIdleTimeout, WriteHighWatermark: s.WriteHighWatermark, WriteLowWatermark: s.WriteLowWatermark,
		Lifespan: server.LifespanMode(s.Lifespan), LifespanStartupTimeout: s.StartupTimeout(),
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

// checkListen reports a place nobody can listen at.
func (s *Settings) checkListen(spec string) error {
	place, err := server.ParsePlace(spec)
	switch {
	case err != nil:
		return pagi.BadOption("listen", "%w", err)
	case place.TLS && !s.TLS.given():
		return pagi.BadOption("listen", "%q is to speak TLS, but there is no certificate (tls)", spec)
	case place.Proxy && !strings.HasPrefix(place.Address, "unix:") && len(s.ProxyProtocolFrom) == 0:
		return pagi.BadOption("listen", "%q is for proxies, but none may connect (proxy_protocol_from)", spec)
	}
	return nil
}
