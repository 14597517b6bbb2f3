package site

import (
	"context"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/redispubsub"
)

// Broker returns what passes the messages of the mounts on: pubsub.Default, or what the setting
// Cluster names. Build must have been called.
func (s *Site) Broker() pubsub.Broker {
	if s.cluster != nil {
		return s.cluster
	}
	return pubsub.Default
}

// checkCluster reports an address that cannot be one.
func checkCluster(url string) error {
	if url == "" {
		return nil
	}
	if err := (&redispubsub.Broker{URL: url}).Check(); err != nil {
		return pagi.BadOption("cluster", "%w", err)
	}
	return nil
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
