package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/metrics"
)

const (
	// handOverTime is how long the address of the metrics may be that of the process that this one replaces.
	handOverTime = 2 * time.Minute
	// addressPause is the time between two attempts to listen there.
	addressPause = 100 * time.Millisecond
)

// metricsServer answers with the metrics at an address, or at a Unix socket.
type metricsServer struct {
	private *privateServer // at a socket; nil: at an address
	http    *http.Server
	done    chan struct{}
	cancel  context.CancelFunc
}

// serveMetrics serves the metrics at the place that the site names; it returns nil where it names none. The place may
// still belong to the process that this one replaces: an address is then taken once that process has left it.
func (g *gateway) serveMetrics(replace bool) (*metricsServer, error) {
	place := g.current().Settings.MetricsListen
	if place == "" {
		return nil, nil
	}
	handler := metricsHandler(g.metrics, func(err error) { g.logs.logger.Error("the metrics cannot be told", "error", err) })
	if path := g.current().Settings.MetricsSocket(); path != "" {
		private, err := servePrivate(path, "m", handler, replace)
		if err != nil {
			return nil, err
		}
		return &metricsServer{private: private}, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &metricsServer{
		http: &http.Server{ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, Handler: handler},
		done: make(chan struct{}), cancel: cancel,
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", place)
	if err != nil && !(replace && errors.Is(err, syscall.EADDRINUSE)) {
		cancel()
		return nil, err
	}
	go func() {
		defer close(s.done)
		for until := time.Now().Add(handOverTime); l == nil; l, err = config.Listen(ctx, "tcp", place) {
			if ctx.Err() != nil {
				return
			}
			if time.Now().After(until) {
				g.logs.logger.Error("the metrics cannot be served", "metrics_listen", place, "error", err)
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(addressPause):
			}
		}
		_ = s.http.Serve(l) // until close
	}()
	return s, nil
}

// metricsHandler answers GET and HEAD.
func metricsHandler(from *metrics.Registry, failed func(error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
			return
		}
		text, err := from.Text(metrics.All)
		if err != nil {
			failed(err)
			http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", metrics.ContentType)
		_, _ = w.Write(text) // who asks sees where it breaks off
	}
}

// appear puts a socket at its path.
func (s *metricsServer) appear() error {
	if s == nil {
		return nil
	}
	return s.private.appear()
}

func (s *metricsServer) close() error {
	switch {
	case s == nil:
		return nil
	case s.private != nil:
		return s.private.close()
	}
	s.cancel()
	err := s.http.Close()
	<-s.done
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}
