package apps

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/apps/internal/upstream"
	"github.com/pagi-go/pagi-bridge/internal/certpool"
	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/internal/hostname"
	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
)

// Proxy passes requests on to another server, its backend, or to one of several. It serves http and
// websocket scopes, and declines sse scopes: an event stream passes as an ordinary response, byte
// by byte.
//
// Bodies stream both ways, at the same time if the backend begins to answer early. The path below
// the mount is put behind the path of the backend's address, spelled as the client has spelled it.
// The backend learns of the client by X-Forwarded-For, -Proto, -Host and -Prefix. These are never
// what the client has sent, unless middleware.ReverseProxy has found that a trusted proxy is in
// front.
//
// A request goes to another backend if no connection was made, or if it has a safe method and no
// body and the connection has ended without any response. It does so at most Tries times. Without a
// response the client gets 502, or 504 after a time limit, or 503 if all backends are down.
type Proxy struct {
	// To are the addresses of the backends: "http://127.0.0.1:3000", "https://app.internal/prefix",
	// "h2c://127.0.0.1:3000" (HTTP/2 without TLS), "unix:/run/app.sock" or
	// "unix:/run/app.sock:/prefix", or all of FastCGI: "fastcgi://127.0.0.1:9000" or
	// "fastcgi+unix:/run/app.sock". An address may be followed by " weight=N".
	To []string `yaml:"to"`

	ProxyBalance `yaml:",inline"`
	ProxyHealth  `yaml:",inline"`
	ProxyHeaders `yaml:",inline"`
	ProxyLimits  `yaml:",inline"`
	ProxyTLS     `yaml:",inline"`
	ProxyFastCGI `yaml:",inline"`

	// Logger gets failures of the backends; nil means slog.Default.
	Logger *slog.Logger `yaml:"-"`

	dial    func(ctx context.Context, network, address string) (net.Conn, error) // of tests; nil: a net.Dialer
	once    sync.Once
	running *proxy
	wrong   error
}

// ProxyBalance says which of several backends gets a request.
type ProxyBalance struct {
	// Balance is round_robin, least_connections, or hash: requests that are alike in HashBy go to
	// the same backend as long as it is up. "" means round_robin.
	Balance string `yaml:"balance"`
	// HashBy is client, the client's address, or header:NAME or cookie:NAME. A request without that
	// header or cookie counts by its client. "" means client.
	HashBy string `yaml:"hash_by"`
	// Tries is how many backends a request may be sent to, as long as that is safe.
	Tries int `yaml:"tries" default:"3"`
}

// ProxyHealth says when a backend gets no requests.
type ProxyHealth struct {
	// MaxFails is how many requests may fail within FailTimeout before the backend gets no requests
	// for FailTimeout. Less than 0 turns that off. It has no effect on a single backend.
	MaxFails int `yaml:"max_fails" default:"3" negative:"yes"`
	// FailTimeout is the time of MaxFails.
	FailTimeout time.Duration `yaml:"fail_timeout" default:"10s"`
	// HealthPath is asked for by GET every HealthInterval, on each backend. A backend gets no
	// requests from a check that fails to the next one that succeeds. "" means no checks. They
	// begin with the lifespan startup.
	HealthPath string `yaml:"health_path"`
	// HealthInterval is the time from one check to the next.
	HealthInterval time.Duration `yaml:"health_interval" default:"10s"`
	// HealthTimeout is how long a check may take.
	HealthTimeout time.Duration `yaml:"health_timeout" default:"5s"`
	// HealthStatus are the statuses of a backend that is well; none means 200 to 299.
	HealthStatus []int `yaml:"health_status"`
}

// ProxyHeaders says how headers are changed on the way.
type ProxyHeaders struct {
	// SendHost is the Host header that the backend gets: client, the one that the client has sent,
	// backend, the host of the backend's address, or a host. "" means client.
	SendHost string `yaml:"send_host"`
	// Via is a name to add to the header Via in both directions (RFC 9110 section 7.6.3); "" adds
	// none.
	Via string `yaml:"via"`
	// RequestHeaders change the headers that the backend gets.
	RequestHeaders ProxyHeaderRules `yaml:"request_headers"`
	// ResponseHeaders change the headers that the client gets.
	ResponseHeaders ProxyHeaderRules `yaml:"response_headers"`
	// KeepLocation leaves the header Location as the backend has sent it. Otherwise a location on
	// the backend, or on the client's host but outside the mount, leads to the same page below the
	// mount.
	KeepLocation bool `yaml:"keep_location"`
	// RewriteCookies moves the path of cookies below the mount, and removes a domain that is the
	// host of the backend.
	RewriteCookies bool `yaml:"rewrite_cookies"`
}

// ProxyLimits are time limits and sizes.
type ProxyLimits struct {
	// ConnectTimeout is how long a request may wait for a place by MaxConns, and again for its
	// connection.
	ConnectTimeout time.Duration `yaml:"connect_timeout" default:"5s"`
	// ResponseTimeout is how long the backend may take for the head of its response, and to take a
	// piece of the request body. Waiting for the client does not count. Less than 0 means no limit.
	ResponseTimeout time.Duration `yaml:"response_timeout" default:"60s" negative:"yes"`
	// IdleTimeout is how long the backend may take for the next piece of the response body, and to
	// take a message of a WebSocket. It does not end an event stream or a WebSocket that is quiet.
	// Less than 0 means no limit.
	IdleTimeout time.Duration `yaml:"idle_timeout" default:"60s" negative:"yes"`
	// PingInterval is the time between two pings to the backend and to the client of each WebSocket.
	// One that has not answered when the next ping is due has gone. 0 means no pings.
	PingInterval time.Duration `yaml:"ping_interval"`
	// MaxConns is how many requests each backend gets at a time, each on a connection of its own
	// with HTTP/1, and as many WebSockets. Less than 0 means no limit.
	MaxConns int `yaml:"max_conns" default:"512" negative:"yes"`
	// MaxIdleConns is how many connections without a request are kept for each backend.
	MaxIdleConns int `yaml:"max_idle_conns" default:"128"`
	// MaxMessageSize is the largest message that a backend may send to a WebSocket, in bytes.
	MaxMessageSize int64 `yaml:"max_message_size" unit:"bytes" default:"16MiB"`
}

// ProxyTLS is for backends with https.
type ProxyTLS struct {
	// CA is a PEM file with the certificates of authorities to trust instead of the system's.
	CA string `yaml:"ca" path:"yes"`
	// ServerName is the name that the backend's certificate must be for; "" means its host.
	ServerName string `yaml:"server_name"`
}

func init() { parts.App[Proxy]("proxy", "to") }

// Check reports addresses that are none, and options that cannot work.
func (p *Proxy) Check() error {
	var errs []error
	if len(p.To) == 0 {
		errs = append(errs, pagi.BadOption("to", "is missing: give the address of a backend, as http://127.0.0.1:3000"))
	}
	seen := map[string]bool{}
	prefix, isFastCGI := "", false
	for _, text := range p.To {
		b, err := upstream.Parse(text)
		switch {
		case err != nil:
		case seen[b.Name]:
			err = fmt.Errorf("%q is given twice", b.Name)
		case len(seen) > 0 && b.URL.EscapedPath() != prefix:
			err = fmt.Errorf("%q has another path than the address before it; a request may go to either", b.Name)
		case len(seen) > 0 && b.IsFastCGI() != isFastCGI:
			err = fmt.Errorf("%q: either all backends speak FastCGI, or none does", b.Name)
		default:
			seen[b.Name], prefix, isFastCGI = true, b.URL.EscapedPath(), b.IsFastCGI()
		}
		if err != nil {
			errs = append(errs, pagi.BadOption("to", "%w", err))
		}
	}
	if isFastCGI && p.HealthPath != "" {
		errs = append(errs, pagi.BadOption("health_path", "is for backends that speak HTTP; a FastCGI backend rests after max_fails failures"))
	}
	if len(seen) > 0 {
		errs = append(errs, p.ProxyFastCGI.check(isFastCGI))
	}
	_, err := p.rootCAs()
	errs = append(errs, err, p.ProxyBalance.check(), p.ProxyHealth.check(), p.ProxyHeaders.check(), p.ProxyLimits.check())
	return errors.Join(errs...)
}

func (o *ProxyBalance) check() error {
	var errs []error
	switch o.Balance {
	case "", upstream.RoundRobin, upstream.LeastConnections, upstream.Hash:
	default:
		errs = append(errs, pagi.BadOption("balance", "must be round_robin, least_connections or hash, is %q", o.Balance))
	}
	kind, name, named := strings.Cut(o.HashBy, ":")
	switch {
	case o.HashBy == "" || o.HashBy == "client":
	case !named || kind != "header" && kind != "cookie" || !headername.IsToken(name):
		errs = append(errs, pagi.BadOption("hash_by", "must be client, header:NAME or cookie:NAME, is %q", o.HashBy))
	case o.Balance != upstream.Hash:
		errs = append(errs, pagi.BadOption("hash_by", "has no effect without balance: hash"))
	}
	if o.Tries < 0 {
		errs = append(errs, pagi.BadOption("tries", "must not be negative, is %d", o.Tries))
	}
	return errors.Join(errs...)
}

func (o *ProxyHealth) check() error {
	var errs []error
	if o.HealthPath != "" && !strings.HasPrefix(o.HealthPath, "/") {
		errs = append(errs, pagi.BadOption("health_path", "%q must begin with a slash", o.HealthPath))
	}
	for _, status := range o.HealthStatus {
		if status < 200 || status > 999 {
			errs = append(errs, pagi.BadOption("health_status", "must hold statuses of 200 to 999, has %d", status))
		}
	}
	errs = append(errs, notNegative("fail_timeout", o.FailTimeout), notNegative("health_interval", o.HealthInterval),
		notNegative("health_timeout", o.HealthTimeout))
	return errors.Join(errs...)
}

func (o *ProxyHeaders) check() error {
	var errs []error
	if o.SendHost != "" && !hostname.Valid(o.SendHost) {
		errs = append(errs, pagi.BadOption("send_host", "must be client, backend or a host, is %q", o.SendHost))
	}
	if o.Via != "" && !headername.IsToken(o.Via) {
		errs = append(errs, pagi.BadOption("via", "%q must be a name without spaces", o.Via))
	}
	errs = append(errs, o.RequestHeaders.check("request_headers"), o.ResponseHeaders.check("response_headers"))
	return errors.Join(errs...)
}

func (o *ProxyLimits) check() error {
	var err error
	if o.MaxIdleConns < 0 {
		err = pagi.BadOption("max_idle_conns", "must not be negative, is %d", o.MaxIdleConns)
	}
	return errors.Join(err, notNegative("connect_timeout", o.ConnectTimeout), notNegative("ping_interval", o.PingInterval), notNegative("max_message_size", o.MaxMessageSize))
}

func notNegative[T time.Duration | int64](option string, value T) error {
	if value < 0 {
		return pagi.BadOption(option, "must not be negative, is %v", value)
	}
	return nil
}

// rootCAs reads CA; nil stands for the certificates of the system.
func (o *ProxyTLS) rootCAs() (*x509.CertPool, error) {
	if o.CA == "" {
		return nil, nil
	}
	pool, err := certpool.Read(o.CA)
	if err != nil {
		return nil, pagi.BadOption("ca", "%w", err)
	}
	return pool, nil
}

// Serve passes a request on to a backend. With a lifespan it checks the backends from startup to
// shutdown.
func (p *Proxy) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	p.once.Do(p.prepare)
	if p.wrong != nil {
		return lifespan.Broken(p.wrong).Serve(ctx, scope, receive, send)
	}
	switch scope.Type {
	case pagi.TypeHTTP:
		return p.running.serveHTTP(ctx, scope, receive, send)
	case pagi.TypeWebSocket:
		return p.running.serveWebSocket(ctx, scope, receive, send)
	case pagi.TypeLifespan:
		return p.running.serveLifespan(ctx, receive, send)
	}
	return pagi.Unsupported(scope)
}

// Status describes the backends, for "pagi-bridge status".
func (p *Proxy) Status() (now status.Backend) {
	p.once.Do(p.prepare)
	if p.wrong != nil {
		return now
	}
	now.Upstreams = p.running.pool.Status()
	for _, u := range now.Upstreams {
		now.Running += u.Inflight
		now.Totals.Requests += u.Sent
	}
	return now
}

// proxy is a Proxy whose options are read.
type proxy struct {
	ProxyBalance
	ProxyHealth
	ProxyHeaders
	ProxyLimits
	ProxyFastCGI
	pool      *upstream.Pool
	transport *upstream.Transport
	prefix    string // the path of the backends' addresses, encoded
	logger    *slog.Logger
}

func (p *Proxy) prepare() {
	if p.wrong = p.Check(); p.wrong != nil {
		return
	}
	r := &proxy{ProxyBalance: p.ProxyBalance, ProxyHealth: p.ProxyHealth, ProxyHeaders: p.ProxyHeaders, ProxyLimits: p.ProxyLimits, ProxyFastCGI: p.ProxyFastCGI, logger: p.Logger}
	for _, options := range []any{&r.ProxyBalance, &r.ProxyHealth, &r.ProxyHeaders, &r.ProxyLimits} {
		option.SetDefaults(options)
	}
	if r.logger == nil {
		r.logger = slog.Default()
	}
	var backends []*upstream.Backend
	for _, text := range p.To {
		b, err := upstream.Parse(text)
		if err != nil { // Check has found none
			p.wrong = err
			return
		}
		backends = append(backends, b)
	}
	roots, err := p.rootCAs()
	if err != nil { // the file has gone since Check
		p.wrong = err
		return
	}
	r.pool = upstream.NewPool(upstream.Options{Balance: r.Balance, MaxFails: r.MaxFails, FailTimeout: r.FailTimeout, Logger: r.logger}, backends)
	r.transport = upstream.NewTransport(upstream.TransportOptions{
		ConnectTimeout: r.ConnectTimeout, MaxConns: r.MaxConns, MaxIdleConns: r.MaxIdleConns, RootCAs: roots, ServerName: p.ServerName, Dial: p.dial,
	}, backends)
	r.prefix = backends[0].URL.EscapedPath()
	p.running = r
}

// serveLifespan runs the checks of the backends from startup to shutdown.
func (p *proxy) serveLifespan(ctx context.Context, receive pagi.Receive, send pagi.Send) error {
	checking, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	ended := make(chan struct{})
	startup := func(context.Context) error {
		if p.HealthPath == "" {
			close(ended)
			return nil
		}
		checks := &upstream.Checks{
			Pool: p.pool, Transport: p.transport, Path: p.HealthPath, Interval: p.HealthInterval, Timeout: p.HealthTimeout, Status: p.HealthStatus,
		}
		if p.SendHost != sendClient && p.SendHost != sendBackend {
			checks.Host = p.SendHost
		}
		go func() {
			defer close(ended)
			checks.Run(checking)
		}()
		return nil
	}
	shutdown := func(context.Context) error {
		cancel()
		<-ended
		p.transport.CloseIdle()
		return nil
	}
	return lifespan.Serve(ctx, receive, send, startup, shutdown)
}

// key returns what balance: hash looks at.
func (p *proxy) key(scope *pagi.Scope) string {
	if p.Balance != upstream.Hash {
		return ""
	}
	value := ""
	switch kind, name, _ := strings.Cut(p.HashBy, ":"); kind {
	case "header":
		value = scope.Headers.Get(name)
	case "cookie":
		if cookies, err := http.ParseCookie(scope.Headers.Get("cookie")); err == nil {
			for _, c := range cookies {
				if c.Name == name {
					value = c.Value
					break
				}
			}
		}
	}
	return or(value, scope.Client.Host)
}
