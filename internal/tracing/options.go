package tracing

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/certpool"
	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/internal/network"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Options say where traces go, and which requests are recorded. What is not set comes from the environment variables of
// OpenTelemetry, and then from the defaults.
type Options struct {
	// Endpoint is the address of a collector that speaks OTLP over HTTP, http://host:4318. Without a path it is /v1/traces.
	// Else OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT counts. Default: http://localhost:4318.
	Endpoint string `yaml:"endpoint"`
	// Headers go with each request to the collector: a token, for example. Else OTEL_EXPORTER_OTLP_TRACES_HEADERS or
	// OTEL_EXPORTER_OTLP_HEADERS counts.
	Headers map[string]string `yaml:"headers"`
	// CA is a PEM file with the certificates of the authorities to trust instead of the system's, else the file that
	// OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE or OTEL_EXPORTER_OTLP_CERTIFICATE names.
	CA string `yaml:"ca" path:"yes"`
	// Sample is the share of the requests without a trusted parent that are recorded, from 0 to 1. A request with one is
	// recorded if its parent is. Else OTEL_TRACES_SAMPLER counts. Default: 1.
	Sample *float64 `yaml:"sample"`
	// Trust says from which peers traceparent and tracestate are taken up: proxies, those that the site's middleware
	// reverse_proxy trusts; true, all; false, none; or addresses and networks, and unix for Unix sockets. Default: proxies.
	Trust []string `yaml:"trust"`
	// ServiceName is the resource attribute service.name, else OTEL_SERVICE_NAME, or service.name in
	// OTEL_RESOURCE_ATTRIBUTES. Default: pagi-bridge.
	ServiceName string `yaml:"service_name"`
	// Timeout is how long it may take to deliver spans, attempts after failures included. Else
	// OTEL_EXPORTER_OTLP_TRACES_TIMEOUT or OTEL_EXPORTER_OTLP_TIMEOUT counts, in milliseconds. Default: 10 s.
	Timeout time.Duration `yaml:"timeout"`
	// MaxQueue is how many spans may wait for delivery; more are dropped. Else OTEL_BSP_MAX_QUEUE_SIZE counts. Default: 2048.
	MaxQueue int `yaml:"max_queue"`

	// Given says that the site file has the part of these options, which may be empty.
	Given bool `yaml:"-"`
}

// Words of Trust.
const (
	trustProxies = "proxies"
	trustAll     = "true"
	trustNone    = "false"
)

const (
	defaultEndpoint = "http://localhost:4318"
	defaultPath     = "/v1/traces"
	defaultService  = "pagi-bridge"
	defaultTimeout  = 10 * time.Second
	defaultQueue    = 2048
)

// IsOn reports whether requests are traced: the site has the part tracing, and the environment does not turn it off.
func (o *Options) IsOn() bool {
	if !o.Given && o.Endpoint == "" {
		return false
	}
	return !strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") && os.Getenv("OTEL_TRACES_EXPORTER") != "none"
}

// Check reports options and variables that cannot work.
func (o *Options) Check() error {
	if !o.Given && o.Endpoint == "" {
		return nil
	}
	_, err := o.resolve()
	return err
}

// settings are options with what the environment and the defaults add.
type settings struct {
	endpoint string
	headers  http.Header
	ca       string
	gzip     bool
	timeout  time.Duration
	queue    int
	service  string // "": the environment has it
	sampler  sampler
}

// variable returns the value of a variable of the exporter: that for traces, or that for all signals. name is which.
func variable(name string) (value, which string) {
	for _, which = range []string{"OTEL_EXPORTER_OTLP_TRACES_" + name, "OTEL_EXPORTER_OTLP_" + name} {
		if value = os.Getenv(which); value != "" {
			return value, which
		}
	}
	return "", ""
}

// inVariable is an error about a variable.
func inVariable(name, format string, args ...any) error {
	return pagi.BadOption("tracing", "the environment variable "+name+" "+format, args...)
}

// resolve reads the options and the environment.
func (o *Options) resolve() (s settings, err error) {
	var errs []error
	add := func(err error) { errs = append(errs, err) }
	s.endpoint, err = o.endpoint()
	add(err)
	s.headers, err = o.headers()
	add(err)
	s.timeout, err = o.timeout()
	add(err)
	s.sampler, err = o.sampler()
	add(err)
	s.ca = o.CA
	if s.ca == "" {
		s.ca, _ = variable("CERTIFICATE")
	}
	if s.ca != "" {
		if _, err := certpool.Read(s.ca); err != nil {
			add(pagi.BadOption("tracing.ca", "%w", err))
		}
	}
	switch value, which := variable("PROTOCOL"); value {
	case "", "http/protobuf":
	default:
		add(inVariable(which, "is %q; only http/protobuf is spoken, most often at port 4318", value))
	}
	switch value, which := variable("COMPRESSION"); value {
	case "", "none":
	case "gzip":
		s.gzip = true
	default:
		add(inVariable(which, "must be gzip or none, is %q", value))
	}
	switch value := os.Getenv("OTEL_TRACES_EXPORTER"); value {
	case "", "otlp", "none":
	default:
		add(inVariable("OTEL_TRACES_EXPORTER", "must be otlp or none, is %q", value))
	}
	if s.queue = o.MaxQueue; s.queue < 0 {
		add(pagi.BadOption("tracing.max_queue", "must not be negative, is %d", s.queue))
	}
	if s.service = o.ServiceName; s.service == "" && os.Getenv("OTEL_SERVICE_NAME") == "" && !strings.Contains(os.Getenv("OTEL_RESOURCE_ATTRIBUTES"), "service.name=") {
		s.service = defaultService
	}
	_, err = o.Peers(nil, false)
	add(err)
	return s, errors.Join(errs...)
}

// endpoint returns the URL to which spans are posted.
func (o *Options) endpoint() (string, error) {
	text, where, base := o.Endpoint, "", false
	if text == "" {
		text, where = variable("ENDPOINT")
		base = where == "OTEL_EXPORTER_OTLP_ENDPOINT" // to which the signal's path is added
	}
	if text == "" {
		text = defaultEndpoint
	}
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.RawQuery != "", u.Fragment != "", u.User != nil:
		const want = "must be the URL of a collector without user, query and fragment, as http://localhost:4318"
		if where != "" {
			return "", inVariable(where, want)
		}
		return "", pagi.BadOption("tracing.endpoint", want)
	case base:
		u.Path = strings.TrimSuffix(u.Path, "/") + defaultPath
	case u.Path == "" || u.Path == "/":
		u.Path = defaultPath
	}
	return u.String(), nil
}

// headers returns the headers of requests to the collector.
func (o *Options) headers() (http.Header, error) {
	made := http.Header{}
	for name, value := range o.Headers {
		if !headername.IsToken(name) || strings.ContainsAny(value, "\r\n\x00") {
			return nil, pagi.BadOption("tracing.headers", "%q is no header, or its value has a line end", name)
		}
		made.Set(name, value)
	}
	if len(made) > 0 {
		return made, nil
	}
	text, where := variable("HEADERS") // name=value,name=value, with the values percent-encoded
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		name, value, found := strings.Cut(item, "=")
		name = strings.TrimSpace(name)
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !found || err != nil || !headername.IsToken(name) || strings.ContainsAny(value, "\r\n\x00") {
			return nil, inVariable(where, "must be name=value,name=value with percent-encoded values")
		}
		made.Set(name, value)
	}
	return made, nil
}

func (o *Options) timeout() (time.Duration, error) {
	switch text, where := variable("TIMEOUT"); {
	case o.Timeout < 0:
		return 0, pagi.BadOption("tracing.timeout", "must not be negative, is %v", o.Timeout)
	case o.Timeout > 0:
		return o.Timeout, nil
	case text == "":
		return defaultTimeout, nil
	default:
		ms, err := strconv.ParseUint(text, 10, 31)
		if err != nil || ms == 0 {
			return 0, inVariable(where, "must be a number of milliseconds, is %q", text)
		}
		return time.Duration(ms) * time.Millisecond, nil
	}
}

// sampler returns what decides which requests are recorded.
func (o *Options) sampler() (sampler, error) {
	if o.Sample != nil {
		if share := *o.Sample; !(share >= 0 && share <= 1) {
			return sampler{}, pagi.BadOption("tracing.sample", "must be from 0 to 1, is %v", share)
		}
		return newSampler(*o.Sample, true), nil
	}
	name := os.Getenv("OTEL_TRACES_SAMPLER")
	kind, parentBased := strings.CutPrefix(name, "parentbased_")
	switch kind {
	case "":
		return newSampler(1, true), nil
	case "always_on":
		return newSampler(1, parentBased), nil
	case "always_off":
		return newSampler(0, parentBased), nil
	case "traceidratio":
		share := 1.0
		if text := os.Getenv("OTEL_TRACES_SAMPLER_ARG"); text != "" {
			var err error
			if share, err = strconv.ParseFloat(text, 64); err != nil || !(share >= 0 && share <= 1) {
				return sampler{}, inVariable("OTEL_TRACES_SAMPLER_ARG", "must be from 0 to 1, is %q", text)
			}
		}
		return newSampler(share, parentBased), nil
	}
	return sampler{}, inVariable("OTEL_TRACES_SAMPLER", "must be always_on, always_off, traceidratio, or one of these behind parentbased_, is %q", name)
}

// Peers are those whose trace context is taken up.
type Peers struct {
	set network.Set
	all bool
}

// Peers returns the peers that Trust names. proxies are those that the site trusts, allProxies that it trusts every peer.
func (o *Options) Peers(proxies []string, allProxies bool) (Peers, error) {
	list := o.Trust
	switch {
	case len(list) == 0, len(list) == 1 && list[0] == trustProxies:
		if allProxies {
			return Peers{all: true}, nil
		}
		list = proxies
	case len(list) == 1 && list[0] == trustAll:
		return Peers{all: true}, nil
	case len(list) == 1 && list[0] == trustNone:
		return Peers{}, nil
	}
	set, err := network.ParseSet(list)
	if err != nil {
		return Peers{}, pagi.BadOption("tracing.trust", "must be %s, %s, %s, or a list of addresses and networks: %w", trustProxies, trustAll, trustNone, err)
	}
	return Peers{set: set}, nil
}

// has reports whether a peer is among them.
func (p *Peers) has(host string) bool { return p.all || !p.set.IsEmpty() && p.set.HasHost(host) }
