package server

import (
	"time"

	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// Limits set how much clients may send, and how much may wait for them. The zero value of each is
// its default. A negative value turns off a limit that has one.
type Limits struct {
	// Limits are those of one request, with defaults here: 10 MiB of body, 100 header lines,
	// watermarks at 64 KiB and 16 KiB, 1000 waiting messages per WebSocket.
	engine.Limits `yaml:",inline"`
	// MaxHeaderSize is the largest request head in bytes, from the request line to the empty line.
	// A larger head gets 431, or 414 if the request line alone is larger. On HTTP/2 the head counts
	// with its size in HTTP/1, and a path that alone is larger gets 414. Default: 32 KiB.
	MaxHeaderSize int `yaml:"max_header_size" unit:"bytes" default:"32KiB" zero:"off" help:"refuse a request head of more than {SIZE}"`
	// MaxConnections is how many connections may be open at once. Further ones are closed; those
	// without TLS are answered 503 before. Default: four fifths of the descriptors this process may
	// have open.
	MaxConnections int `yaml:"max_connections" zero:"off" help:"accept at most {N} connections at once, by default four fifths of the open files allowed"`
	// MaxConnectionsPerAddress is how many connections one address may have open at once. An IPv6
	// network of 64 bits counts as one address. Connections of HTTP/3 count, those of Unix sockets
	// do not. Default: no limit.
	MaxConnectionsPerAddress int `yaml:"max_connections_per_address" help:"accept at most {N} connections at once from one address (default 0: no limit)"`
	// MaxRequestsPerConnection is how many requests a connection may carry before it is closed. On
	// HTTP/2 requests that have begun by then are still answered. HTTP/3 has no such limit.
	// Default: no limit.
	MaxRequestsPerConnection int `yaml:"max_requests_per_connection" help:"close a connection of HTTP/1 or HTTP/2 after {N} requests (default 0: no limit)"`

	// H2MaxStreams is how many requests an HTTP/2 connection may have at once.
	// Default: 100.
	H2MaxStreams int `yaml:"h2_max_concurrent_streams" default:"100" zero:"off" change:"restart" help:"serve at most {N} requests at once on an HTTP/2 connection"`
	// H2ResetBurst is how many resets of requests an HTTP/2 connection allows at once, H2ResetRate
	// how many more each second. Resets by the client count, and those that the client's mistakes
	// force on the server. Beyond the limit the connection is ended. Defaults: 1000, 33.
	H2ResetBurst int `yaml:"h2_rst_burst" default:"1000" zero:"off" help:"end an HTTP/2 connection whose client resets more than {N} requests at once"`
	H2ResetRate  int `yaml:"h2_rst_rate" default:"33" zero:"must be 1 or more; h2_rst_burst: 0 turns the limit off" help:"let an HTTP/2 client reset {N} requests a second once --h2-rst-burst is used up"`
	// H2ControlBurst and H2ControlRate are the same for frames that carry nothing: PING,
	// SETTINGS, PRIORITY, GOAWAY, unknown ones, empty DATA and others that
	// http2.Limits names. Defaults: 1000, 100.
	H2ControlBurst int `yaml:"h2_control_burst" default:"1000" zero:"off" help:"end an HTTP/2 connection whose client sends more than {N} frames without content at once"`
	H2ControlRate  int `yaml:"h2_control_rate" default:"100" zero:"must be 1 or more; h2_control_burst: 0 turns the limit off" help:"let an HTTP/2 client send {N} such frames a second once --h2-control-burst is used up"`

	// MaxWSFrameSize is the largest payload of a WebSocket frame in bytes, and
	// MaxWSMessageSize the largest message, uncompressed, over all its frames; more
	// closes the connection with 1009. Defaults: 64 KiB, 1 MiB.
	MaxWSFrameSize   int `yaml:"max_ws_frame_size" unit:"bytes" default:"64KiB" zero:"off" help:"refuse a WebSocket frame of more than {SIZE}"`
	MaxWSMessageSize int `yaml:"max_ws_message_size" unit:"bytes" default:"1MiB" zero:"off" help:"refuse a WebSocket message of more than {SIZE}"`
}

// Timeouts set how long clients and the application may take. The zero value of each is its
// default. A negative value turns off a time-out that has one.
type Timeouts struct {
	// Timeouts are those of one request, with defaults here: 30 s for each piece of a body,
	// 60 s for a write.
	engine.Timeouts `yaml:",inline"`
	// Timeout is how long a connection may stay idle between requests.
	// Default: 60 s.
	Timeout time.Duration `yaml:"timeout" default:"60s" zero:"off" help:"close a connection that is idle for {SECONDS}"`
	// HeaderTimeout is how long a TLS handshake may take, and how long a request's head. A slower
	// client gets 408; one that has sent nothing is cut off. Default: 30 s.
	HeaderTimeout time.Duration `yaml:"header_timeout" default:"30s" zero:"off" help:"refuse a request whose head takes more than {SECONDS}"`
	// WSIdleTimeout is how long a WebSocket may be without any frame before the server closes it
	// with 1001. The time does not count while the application is so far behind that the server
	// reads nothing. Default: no limit.
	WSIdleTimeout time.Duration `yaml:"ws_idle_timeout" help:"close a WebSocket on which nothing moves for {SECONDS} (default 0: no limit)"`
	// ShutdownTimeout is how long running requests may take once Run's context has ended. The
	// application's lifespan shutdown then gets the same time. Default: 30 s; negative: no time at
	// all.
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout" default:"30s" zero:"none" help:"let running requests go on for {SECONDS} at a graceful stop"`
	// LifespanStartupTimeout is how long the application may take to start. Default: 90 s,
	// more than a Perl worker's start_timeout.
	LifespanStartupTimeout time.Duration `yaml:"lifespan_startup_timeout" default:"90s" zero:"off" help:"give applications {SECONDS} to start"`
}

// WithDefaults returns the limits with zero values replaced by the defaults.
func (l Limits) WithDefaults() Limits {
	option.SetDefaults(&l)
	return l
}

// WithDefaults returns the time-outs with zero values replaced by the defaults.
func (t Timeouts) WithDefaults() Timeouts {
	option.SetDefaults(&t)
	return t
}
