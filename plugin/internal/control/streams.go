package control

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/pagi-go/pagi-bridge/plugin/internal/pluginpb"
)

// streamEnd is the result of a stream that has ended with err. A caller that has gone is no error.
func streamEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Endpoints implements pluginpb.PluginServer. The gateway is there as long as such a stream is open.
func (s *Server) Endpoints(_ *pluginpb.EndpointsRequest, stream grpc.ServerStreamingServer[pluginpb.EndpointsResponse]) error {
	s.gateways.enter()
	defer s.gateways.leave()
	return streamEnd(stream.Context(), s.Board.Watch(stream.Context(), func(complete bool, list []*pluginpb.Endpoint) error {
		return stream.Send(&pluginpb.EndpointsResponse{Complete: complete, Endpoints: list})
	}))
}

// Logs implements pluginpb.PluginServer.
func (s *Server) Logs(_ *pluginpb.LogsRequest, stream grpc.ServerStreamingServer[pluginpb.LogsResponse]) error {
	return streamEnd(stream.Context(), s.Book.Send(stream.Context(), stream.Send))
}

// Status implements pluginpb.PluginServer.
func (s *Server) Status(r *pluginpb.StatusRequest, stream grpc.ServerStreamingServer[pluginpb.StatusResponse]) error {
	interval := time.Second
	if r.IntervalMs > 0 {
		interval = max(100*time.Millisecond, time.Duration(r.IntervalMs)*time.Millisecond)
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		for mount, now := range s.Adapter.Status() {
			text, err := json.Marshal(now)
			if err != nil {
				return failed(err)
			}
			if err := stream.Send(&pluginpb.StatusResponse{Mount: mount, Status: text}); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-stream.Context().Done():
			return nil
		}
	}
}

// presence tells whether a gateway is there, by the number of its streams.
type presence struct {
	mu    sync.Mutex
	count int
	none  chan struct{} // closed when the last one has left; nil before the first
}

func (p *presence) enter() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count++; p.count == 1 {
		p.none = make(chan struct{})
	}
}

func (p *presence) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count--; p.count == 0 {
		close(p.none)
	}
}

// Orphaned waits until there has been no gateway for linger, or until ctx ends, and reports which. It does not wait for the
// first gateway.
func (s *Server) Orphaned(ctx context.Context, linger time.Duration) bool {
	late := time.NewTimer(linger)
	defer late.Stop()
	for {
		s.gateways.mu.Lock()
		count, none := s.gateways.count, s.gateways.none
		s.gateways.mu.Unlock()
		if count > 0 {
			select {
			case <-none:
				late.Reset(linger)
				continue
			case <-ctx.Done():
				return false
			}
		}
		select {
		case <-late.C:
			s.gateways.mu.Lock()
			gone := s.gateways.count == 0
			s.gateways.mu.Unlock()
			if gone {
				return true
			}
			late.Reset(linger)
		case <-ctx.Done():
			return false
		}
	}
}
