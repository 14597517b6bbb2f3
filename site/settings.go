package site

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server"
)

// Settings are what concerns the whole site rather than one mount. On the command
// line each has the flag of its name with hyphens. For a limit or a timeout the
// zero value is the server's default; an explicit 0 in a file or a flag turns it
// off, which is stored as -1.
type Settings struct {
	// Listen are the places to listen at: "host:port", ":port", or the path of a
	// Unix socket, which contains a slash. Default: 127.0.0.1:5000.
	Listen []string `yaml:"listen"`
	// SocketMode is the permission of Unix sockets in octal, "0660".
	SocketMode string `yaml:"socket_mode"`
	// TLS makes the TCP listeners speak TLS.
	TLS TLS `yaml:"tls"`

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
	MaxConnections int `yaml:"max_connections"`

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
	// ShutdownTimeout is how long a graceful stop may take.
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout" zero:"off"`

	// Lifespan is auto, on or off.
	Lifespan string `yaml:"lifespan"`
	// LifespanStartupTimeout is how long the applications may take to start. It is
	// 90 s by default, more than a worker's start_timeout.
	LifespanStartupTimeout time.Duration `yaml:"lifespan_startup_timeout" zero:"off"`

	// AccessLog is a file, "-" for standard error, or "off". By default it is "-"
	// in development and "off" otherwise.
	AccessLog string `yaml:"access_log"`
	// AccessLogFormat is common, combined, tiny, or a format of your own.
	AccessLogFormat string `yaml:"access_log_format"`
	// LogLevel is debug, info, warn or error.
	LogLevel string `yaml:"log_level"`
}

// TLS names the files of a certificate.
type TLS struct {
	// Cert is a PEM file with the certificate chain, leaf first; Key its key.
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

func (t TLS) check() error {
	if t.Cert == "" && t.Key == "" {
		return nil
	}
	if t.Cert == "" || t.Key == "" {
		return pagi.BadOption("tls", "a certificate and a key must be given together")
	}
	cert, certErr := os.ReadFile(t.Cert)
	key, keyErr := os.ReadFile(t.Key)
	var errs []error
	if certErr != nil {
		errs = append(errs, pagi.BadOption("tls.cert", "%w", certErr))
	}
	if keyErr != nil {
		errs = append(errs, pagi.BadOption("tls.key", "%w", keyErr))
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		if !isCertificate(cert) {
			return pagi.BadOption("tls.cert", "%s: %w", t.Cert, err)
		}
		return pagi.BadOption("tls.key", "%s: %w", t.Key, err)
	}
	return nil
}

// isCertificate reports whether the first certificate of a PEM file can be read.
func isCertificate(text []byte) bool {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			_, err := x509.ParseCertificate(block.Bytes)
			return err == nil
		}
	}
	return false
}

// defaultStartup leaves a Perl worker the time its own start_timeout allows.
const defaultStartup = 90 * time.Second

// Given is called for a setting that stands in a file or has a flag. Where zero
// stands for a default, it becomes the value for "off"; a negative number is an
// error.
func (s *Settings) Given(name string) error {
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		switch {
		case f.Tag.Get("yaml") != name || !v.Field(i).CanInt():
		case v.Field(i).Int() < 0:
			return negative(name, v.Field(i))
		case v.Field(i).IsZero() && f.Tag.Get("zero") == "off":
			v.Field(i).SetInt(-1)
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
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if v.Field(i).CanInt() && v.Field(i).Int() < 0 && (f.Tag.Get("zero") != "off" || v.Field(i).Int() != -1) {
			errs = append(errs, negative(f.Tag.Get("yaml"), v.Field(i)))
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
	errs = append(errs, s.TLS.check(), s.checkSigns())
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
	if _, err := server.ParseAccessFormat(s.AccessLogFormat); err != nil {
		errs = append(errs, pagi.BadOption("access_log_format", "%w", err))
	}
	switch s.LogLevel {
	case "", "debug", "info", "warn", "error":
	default:
		errs = append(errs, pagi.BadOption("log_level", "must be debug, info, warn or error, is %q", s.LogLevel))
	}
	workers := pool.Options{Workers: s.Workers, MinWorkers: s.MinWorkers, MaxWorkers: s.MaxWorkers, MaxRSS: s.MaxRSS}
	errs = append(errs, workers.Check())
	for _, spec := range s.Listen {
		errs = append(errs, checkListen(spec))
	}
	return errors.Join(errs...)
}

// Server returns a server with the settings, without an application and a log.
func (s *Settings) Server() *server.Server {
	mode, _ := parseMode(s.SocketMode) // Check has reported a wrong one
	startup := s.LifespanStartupTimeout
	if startup == 0 {
		startup = defaultStartup
	}
	return &server.Server{
		Listen: s.Listen, SocketMode: mode, TLSCert: s.TLS.Cert, TLSKey: s.TLS.Key,
		MaxBodySize: s.MaxBodySize, MaxHeaderSize: s.MaxHeaderSize, MaxHeaderCount: s.MaxHeaderCount, MaxConnections: s.MaxConnections,
		MaxWSFrameSize: s.MaxWSFrameSize, MaxWSMessageSize: s.MaxWSMessageSize, MaxReceiveQueue: s.MaxReceiveQueue,
		WSIdleTimeout: s.WSIdleTimeout, WSCompression: server.WSCompressionMode(s.WSCompression),
		Timeout: s.Timeout, HeaderTimeout: s.HeaderTimeout, BodyTimeout: s.BodyTimeout, WriteTimeout: s.WriteTimeout,
		RequestTimeout: s.RequestTimeout, ShutdownTimeout: s.ShutdownTimeout,
		Lifespan: server.LifespanMode(s.Lifespan), LifespanStartupTimeout: startup,
		AccessLogFormat: s.AccessLogFormat,
	}
}

// parseMode reads an octal file mode; "" is 0.
func parseMode(text string) (fs.FileMode, error) {
	if text == "" {
		return 0, nil
	}
	mode, err := strconv.ParseUint(strings.TrimPrefix(text, "0o"), 8, 32)
	if err != nil || mode > 0o777 {
		return 0, pagi.BadOption("socket_mode", "must be an octal mode like 0660, is %q", text)
	}
	return fs.FileMode(mode), nil
}

// checkListen reports a place nobody can listen at.
func checkListen(spec string) error {
	if spec == "unix:" {
		return pagi.BadOption("listen", "%q lacks the path of the Unix socket", spec)
	}
	if strings.Contains(spec, "/") || strings.HasPrefix(spec, "unix:") {
		return nil
	}
	i := strings.LastIndexByte(spec, ':')
	if i < 0 {
		return pagi.BadOption("listen", "%q must be host:port, or the path of a Unix socket with a slash in it", spec)
	}
	if host := spec[:i]; strings.Contains(host, ":") && !(strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]")) {
		return pagi.BadOption("listen", "%q: an IPv6 address stands in brackets, as in [::1]:5000", spec)
	}
	if _, err := strconv.ParseUint(spec[i+1:], 10, 16); err != nil {
		return pagi.BadOption("listen", "%q: the port must be 0 to 65535, is %q", spec, spec[i+1:])
	}
	return nil
}
