package site

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/natspubsub"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/natspubsub/natsserver"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/redispubsub"
)

// Cluster passes the messages of channels between several gateways: by a Redis or NATS that is there
// (URL), or by servers of NATS within the gateways (Listen).
type Cluster struct {
	// URL is that of a Redis, redis://user:password@host:port/db, rediss:// for TLS, or unix:///path; or
	// of a NATS, nats://user:password@host:port,nats://host:port, tls:// for TLS.
	URL string `yaml:"url"`
	// Listen is the address for other gateways, host:port. Peers are their addresses; the own one may be
	// among them.
	Listen string   `yaml:"listen"`
	Peers  []string `yaml:"peers"`
	// Secret is the same text in all gateways. It is needed unless Listen is a loopback address.
	Secret string `yaml:"secret"`
	// Cert and Key are PEM files with a certificate and its key, CA one with the authority that has
	// signed those of the others. They are for Listen, and for a NATS with tls://.
	Cert string `yaml:"cert" path:"yes"`
	Key  string `yaml:"key" path:"yes"`
	CA   string `yaml:"ca" path:"yes"`
}

// isSet reports whether there is a cluster.
func (c *Cluster) isSet() bool { return !reflect.ValueOf(*c).IsZero() }

// joinTime is how long a gateway looks for others before it begins alone.
const joinTime = time.Second

// connector is a Broker with a connection.
type connector interface {
	pubsub.Broker
	Check() error
	Open(ctx context.Context) error
	Close() error
}

// withServer is a Broker with a server of its own.
type withServer struct {
	*natspubsub.Broker
	server *natsserver.Server
}

func (w withServer) Check() error { return w.server.Check() }

func (w withServer) Open(ctx context.Context) error {
	if err := w.server.Open(); err != nil {
		return err
	}
	if err := w.Broker.Open(ctx); err != nil {
		w.server.Close()
		return err
	}
	return nil
}

func (w withServer) Close() error {
	err := w.Broker.Close()
	w.server.Close()
	return err
}

// broker returns the Broker of a cluster. It is not open.
func (c *Cluster) broker(logger *slog.Logger) connector {
	switch scheme, _, _ := strings.Cut(c.URL, "://"); {
	case c.Listen != "":
		server := &natsserver.Server{Listen: c.Listen, Peers: c.Peers, Secret: c.Secret, Cert: c.Cert, Key: c.Key, CA: c.CA, Logger: logger}
		return withServer{&natspubsub.Broker{Server: server, Alone: joinTime, Logger: logger}, server}
	case scheme == "nats" || scheme == "tls":
		b := &natspubsub.Broker{URL: c.URL, Logger: logger}
		if c.CA != "" {
			b.Options = append(b.Options, nats.RootCAs(c.CA))
		}
		if c.Cert != "" {
			b.Options = append(b.Options, nats.ClientCert(c.Cert, c.Key))
		}
		return b
	}
	return &redispubsub.Broker{URL: c.URL, Logger: logger}
}

// check reports options that cannot work.
func (c *Cluster) check() error {
	if !c.isSet() {
		return nil
	}
	isNATS := strings.HasPrefix(c.URL, "nats://") || strings.HasPrefix(c.URL, "tls://")
	var errs []error
	switch {
	case (c.URL == "") == (c.Listen == ""):
		return pagi.BadOption("cluster", "needs either url or listen")
	case c.URL != "" && (len(c.Peers) > 0 || c.Secret != ""):
		errs = append(errs, pagi.BadOption("cluster", "peers and secret are for listen, not for url"))
	case c.URL != "" && !isNATS && c.Cert+c.Key+c.CA != "":
		errs = append(errs, pagi.BadOption("cluster", "cert, key and ca are for listen and for a NATS"))
	case isNATS && (c.Cert == "") != (c.Key == ""):
		errs = append(errs, pagi.BadOption("cluster", "cert and key are needed together"))
	}
	return errors.Join(append(errs, inPart("cluster", c.broker(nil).Check()))...)
}

// inPart puts the name of a part of the settings in front of the options that an error names.
func inPart(part string, err error) error {
	if many := joinedIn(err, ""); many != nil {
		errs := make([]error, len(many))
		for i, each := range many {
			errs[i] = inPart(part, each)
		}
		return errors.Join(errs...)
	}
	var bad *pagi.OptionError
	if errors.As(err, &bad) {
		return &pagi.OptionError{Option: part + "." + bad.Option, Err: bad.Err}
	}
	return err
}

// Broker returns what passes the messages of the mounts on: pubsub.Default, or what the setting
// Cluster names. Build must have been called.
func (s *Site) Broker() pubsub.Broker {
	if s.cluster != nil {
		return s.cluster
	}
	return pubsub.Default
}

// connection is the connector of a cluster, which several sites may have one after another. It opens with the first one
// and closes with the last one.
type connection struct {
	connector
	mu    sync.Mutex // held while it opens and closes
	sites int
}

// connect makes the connection that the settings name, or takes over the predecessor's if its settings are the same.
func (s *Site) connect() {
	own := &s.Settings.Cluster
	switch old := s.predecessor; {
	case !own.isSet():
	case old != nil && old.cluster != nil && option.Text(&old.Settings.Cluster) == option.Text(own):
		s.cluster = old.cluster
	default:
		s.cluster = &connection{connector: own.broker(s.Logger)}
	}
}

// Open opens the connection for one more site.
func (c *connection) Open(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sites == 0 {
		if err := c.connector.Open(ctx); err != nil {
			return err
		}
	}
	c.sites++
	return nil
}

// Close is called for each Open, also for one that has failed.
func (c *connection) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sites--; c.sites > 0 {
		return nil
	}
	c.sites = 0
	return c.connector.Close()
}

// inCluster returns app with a connection to the cluster for the time of its life.
func (s *Site) inCluster(app pagi.App) pagi.App {
	if s.cluster == nil {
		return app
	}
	return lifespan.Hooks{
		Startup:  []func(context.Context, map[string]any) error{func(ctx context.Context, _ map[string]any) error { return s.cluster.Open(ctx) }},
		Shutdown: []func(context.Context, map[string]any) error{func(context.Context, map[string]any) error { return s.cluster.Close() }},
	}.Wrap(app)
}
