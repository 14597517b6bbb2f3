package control

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pagi-go/pagi-bridge/plugin/internal/pluginpb"
)

// Server carries an Adapter over gRPC. Serve runs it as the main part of a process.
type Server struct {
	pluginpb.UnimplementedPluginServer
	Adapter Adapter
	// Board and Book have what the adapter tells: its endpoints and its log records.
	Board Board
	Book  Logbook

	mu       sync.Mutex // for the calls that come one at a time
	stage    stage
	gateways presence
}

// stage is how far a plugin has come.
type stage uint8

const (
	fresh stage = iota
	configured
	started
	stopped
)

// stageError says that a call comes at the wrong time.
func stageError(text string) error { return status.Error(codes.FailedPrecondition, text) }

// failed is the error of a call whose adapter has failed.
func failed(err error) error {
	if err == nil {
		return nil
	}
	return status.Error(codes.Unknown, err.Error())
}

// Describe implements pluginpb.PluginServer.
func (s *Server) Describe(_ context.Context, r *pluginpb.DescribeRequest) (*pluginpb.DescribeResponse, error) {
	if _, err := Agree(r.LeastProtocol, r.MostProtocol); err != nil {
		return nil, status.Error(codes.FailedPrecondition, "of this gateway: "+err.Error())
	}
	d := s.Adapter.Describe()
	d.LeastProtocol, d.MostProtocol = LeastProtocol, MostProtocol
	return d, nil
}

// Configure implements pluginpb.PluginServer.
func (s *Server) Configure(ctx context.Context, r *pluginpb.ConfigureRequest) (*pluginpb.ConfigureResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stage > configured {
		return nil, stageError("Configure comes after Start")
	}
	seen := map[string]bool{}
	for _, m := range r.Mounts {
		if m.Id == "" || seen[m.Id] {
			return nil, status.Error(codes.InvalidArgument, "each mount needs an id of its own")
		}
		seen[m.Id] = true
	}
	errs := s.Adapter.Configure(ctx, r)
	s.stage = fresh
	if len(errs) == 0 {
		s.stage = configured
	}
	return &pluginpb.ConfigureResponse{Errors: errs}, nil
}

// Start implements pluginpb.PluginServer.
func (s *Server) Start(ctx context.Context, _ *pluginpb.StartRequest) (*pluginpb.StartResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stage != configured {
		return nil, stageError("Start comes once, after a Configure without errors")
	}
	if err := s.Adapter.Start(ctx); err != nil {
		return nil, failed(err)
	}
	s.stage = started
	return &pluginpb.StartResponse{}, nil
}

// running reports an error for a call that needs a started plugin.
func (s *Server) running() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stage != started {
		return stageError("the plugin is not started")
	}
	return nil
}

// Reload implements pluginpb.PluginServer.
func (s *Server) Reload(ctx context.Context, r *pluginpb.ReloadRequest) (*pluginpb.ReloadResponse, error) {
	if err := s.running(); err != nil {
		return nil, err
	}
	if err := s.Adapter.Reload(ctx, r.Mount); err != nil {
		return &pluginpb.ReloadResponse{Error: err.Error()}, nil
	}
	return &pluginpb.ReloadResponse{}, nil
}

// Resize implements pluginpb.PluginServer.
func (s *Server) Resize(ctx context.Context, r *pluginpb.ResizeRequest) (*pluginpb.ResizeResponse, error) {
	a, is := s.Adapter.(Resizer)
	if !is {
		return nil, status.Error(codes.Unimplemented, "the number of workers of this plugin cannot be changed")
	}
	if err := s.running(); err != nil {
		return nil, err
	}
	n, err := a.Resize(ctx, r.Mount, int(r.Change))
	if err != nil {
		return nil, failed(err)
	}
	return &pluginpb.ResizeResponse{Workers: uint32(n)}, nil
}

// Drain implements pluginpb.PluginServer.
func (s *Server) Drain(context.Context, *pluginpb.DrainRequest) (*pluginpb.DrainResponse, error) {
	if err := s.running(); err != nil {
		return nil, err
	}
	s.Adapter.Drain()
	return &pluginpb.DrainResponse{}, nil
}

// Stop implements pluginpb.PluginServer. A second call does nothing.
func (s *Server) Stop(ctx context.Context, r *pluginpb.StopRequest) (*pluginpb.StopResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.stage
	s.stage = stopped
	defer s.Book.Close()
	if was == started {
		ctx, cancel := context.WithTimeout(ctx, time.Duration(r.GraceMs)*time.Millisecond)
		defer cancel()
		if err := s.Adapter.Stop(ctx); err != nil {
			return nil, failed(err)
		}
	}
	return &pluginpb.StopResponse{}, nil
}

// Release implements pluginpb.PluginServer.
func (s *Server) Release(ctx context.Context, r *pluginpb.ReleaseRequest) (*pluginpb.ReleaseResponse, error) {
	a, is := s.Adapter.(Releaser)
	if !is {
		return nil, status.Error(codes.Unimplemented, "this plugin relieves no endpoints")
	}
	return &pluginpb.ReleaseResponse{}, failed(a.Release(ctx, r.Mount, r.Endpoint))
}
