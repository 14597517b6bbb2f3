package adapter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pagi-go/pagi-bridge/bridge/lease"
	"github.com/pagi-go/pagi-bridge/plugin/internal/adapterpb"
	"github.com/pagi-go/pagi-bridge/plugin/internal/control"
)

// keeper is what serves a mount: a lease.Control that can be started and stopped.
type keeper interface {
	lease.Control
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
}

// server is the service of the adapter.
type server struct {
	adapterpb.UnimplementedAdapterServer
	set Settings
	dir string // for sockets
	log *slog.Logger

	over chan struct{} // closed when the adapter is not needed any more
	once sync.Once

	mu     sync.Mutex
	mounts map[string]*mount
	idle   *time.Timer // runs while there are no mounts
}

// mount is an open mount.
//
//	opening --its keeper has started--> open --no gateway has it--> closing --> (gone)
//	   └──────── it could not be started ──────────────────────────────────────────┘
type mount struct {
	id      string
	records *records
	keeper  keeper
	opened  chan struct{} // closed when it is open, or could not be opened
	err     error         // why not; valid after opened
	closed  chan struct{} // closed when it is gone

	// server.mu guards what follows.
	gateways map[string]bool // that have it open
	closing  bool
}

func newServer(set Settings, dir string) *server {
	s := &server{set: set, dir: dir, log: slog.Default(), over: make(chan struct{}), mounts: map[string]*mount{}}
	s.idle = time.AfterFunc(s.linger(), s.finishIfIdle)
	return s
}

func (s *server) linger() time.Duration { return time.Duration(max(1, s.set.Linger)) * time.Second }

// finishIfIdle ends the adapter if it has no mounts.
func (s *server) finishIfIdle() {
	s.mu.Lock()
	is := len(s.mounts) == 0
	s.mu.Unlock()
	if is {
		s.once.Do(func() { close(s.over) })
	}
}

// Describe implements adapterpb.AdapterServer.
func (s *server) Describe(_ context.Context, r *adapterpb.DescribeRequest) (*adapterpb.DescribeResponse, error) {
	if _, err := control.Agree(r.LeastProtocol, r.MostProtocol); err != nil {
		return nil, status.Error(codes.FailedPrecondition, "of this gateway: "+err.Error())
	}
	return &adapterpb.DescribeResponse{
		LeastProtocol: control.LeastProtocol, MostProtocol: control.MostProtocol, Version: s.set.Version, Identity: s.set.Identity,
		Kinds: slices.Sorted(maps.Keys(kinds)), Pid: uint32(os.Getpid()),
	}, nil
}

// Open implements adapterpb.AdapterServer.
func (s *server) Open(r *adapterpb.OpenRequest, stream grpc.ServerStreamingServer[adapterpb.OpenResponse]) error {
	m, first, err := s.take(stream.Context(), r)
	if err != nil {
		return err
	}
	if first {
		m.records.tellTo(func(record lease.Record) error {
			text, err := json.Marshal(record)
			if err != nil {
				return err
			}
			return stream.Send(&adapterpb.OpenResponse{Record: text})
		})
		m.err = m.keeper.Start(stream.Context())
		m.records.tellTo(nil)
		if m.err != nil {
			s.forget(m)
		}
		close(m.opened)
	}
	select {
	case <-m.opened:
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
	result := &adapterpb.OpenResponse{Done: true}
	if m.err != nil {
		result.Error = m.err.Error()
	}
	return stream.Send(result)
}

// take notes that a gateway has a mount open, and reports whether the caller has to start it.
func (s *server) take(ctx context.Context, r *adapterpb.OpenRequest) (m *mount, first bool, err error) {
	for {
		s.mu.Lock()
		m = s.mounts[r.Mount]
		switch {
		case m != nil && m.closing:
			s.mu.Unlock()
			select {
			case <-m.closed:
				continue
			case <-ctx.Done():
				return nil, false, ctx.Err()
			}
		case m != nil:
			m.gateways[r.Gateway] = true
			s.mu.Unlock()
			return m, false, nil
		}
		m, err = s.makeLocked(r)
		s.mu.Unlock()
		return m, true, err
	}
}

func (s *server) makeLocked(r *adapterpb.OpenRequest) (*mount, error) {
	build, known := kinds[r.Kind]
	if !known {
		return nil, status.Errorf(codes.Unimplemented, "this adapter keeps no mounts of the kind %q", r.Kind)
	}
	m := &mount{id: r.Mount, opened: make(chan struct{}), closed: make(chan struct{}), gateways: map[string]bool{r.Gateway: true}}
	m.records = &records{}
	var err error
	m.keeper, err = build(request{
		name: r.Name, options: r.Options, dir: s.dir, gateway: s.set.Gateway, aloneFor: s.linger(),
		alone: func() { go s.abandon(m) }, log: m.records.logger(s.log.Handler()),
	})
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	s.mounts[r.Mount] = m
	s.idle.Stop()
	return m, nil
}

// forget removes a mount that has ended.
func (s *server) forget(m *mount) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mounts[m.id] == m {
		delete(s.mounts, m.id)
	}
	m.closing = true
	close(m.closed)
	if len(s.mounts) == 0 {
		s.idle.Reset(s.linger())
	}
}

// abandon ends a mount that no gateway has been attached to for a while.
func (s *server) abandon(m *mount) {
	s.log.Info("no gateway is there any more, so the mount ends", "mount", m.id)
	ctx, cancel := context.WithTimeout(context.Background(), killGrace)
	defer cancel()
	if err := s.end(ctx, m, ""); err != nil {
		s.log.Error("a mount does not end as it should", "mount", m.id, "error", err)
	}
}

// Close implements adapterpb.AdapterServer.
func (s *server) Close(ctx context.Context, r *adapterpb.CloseRequest) (*adapterpb.CloseResponse, error) {
	s.mu.Lock()
	m := s.mounts[r.Mount]
	s.mu.Unlock()
	if m == nil {
		return &adapterpb.CloseResponse{}, nil
	}
	select {
	case <-m.opened:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(r.GraceMs)*time.Millisecond)
	defer cancel()
	if err := s.end(ctx, m, r.Gateway); err != nil {
		return nil, status.Error(codes.Unknown, err.Error())
	}
	return &adapterpb.CloseResponse{}, nil
}

// end takes a mount from a gateway, or with "" from all. It ends the mount if no gateway has it open any more.
func (s *server) end(ctx context.Context, m *mount, gateway string) error {
	s.mu.Lock()
	delete(m.gateways, gateway)
	if gateway == "" {
		clear(m.gateways)
	}
	if m.closing || len(m.gateways) > 0 {
		closing := m.closing
		s.mu.Unlock()
		if closing {
			<-m.closed
		}
		return nil
	}
	m.closing = true
	s.mu.Unlock()
	err := m.keeper.Stop(ctx)
	s.forget(m)
	return err
}

// stopAll ends all mounts.
func (s *server) stopAll(ctx context.Context) error {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.mounts))
	s.mu.Unlock()
	errs := make([]error, len(all))
	var ending sync.WaitGroup
	for i, m := range all {
		ending.Go(func() {
			select {
			case <-m.opened:
				errs[i] = s.end(ctx, m, "")
			case <-ctx.Done():
				errs[i] = ctx.Err()
			}
		})
	}
	ending.Wait()
	return errors.Join(errs...)
}

// find returns an open mount.
func (s *server) find(id string) (*mount, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.mounts[id]; m != nil {
		select {
		case <-m.opened:
			return m, nil
		default:
		}
	}
	return nil, status.Errorf(codes.NotFound, "the mount %s is not open", id)
}

// Attach implements adapterpb.AdapterServer.
func (s *server) Attach(r *adapterpb.AttachRequest, stream grpc.ServerStreamingServer[adapterpb.AttachResponse]) error {
	m, err := s.find(r.Mount)
	if err != nil {
		return err
	}
	changes, err := m.keeper.Attach(stream.Context(), r.Gateway)
	if err != nil {
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	if err := stream.Send(&adapterpb.AttachResponse{}); err != nil {
		return err
	}
	for {
		next, err := changes.Next()
		if err != nil {
			return status.Error(codes.Unavailable, err.Error())
		}
		text, err := json.Marshal(next)
		if err != nil {
			return err
		}
		if err := stream.Send(&adapterpb.AttachResponse{Changes: text}); err != nil {
			return err
		}
	}
}

// Ask implements adapterpb.AdapterServer.
func (s *server) Ask(ctx context.Context, r *adapterpb.AskRequest) (*adapterpb.AskResponse, error) {
	m, err := s.find(r.Mount)
	if err != nil {
		return nil, err
	}
	call, known := calls[r.Call]
	if !known {
		return nil, status.Errorf(codes.Unimplemented, "this adapter does not have the call %q", r.Call)
	}
	result, err := call(ctx, m.keeper, r.Argument)
	if err != nil {
		return nil, status.Error(codes.Unknown, err.Error())
	}
	text, err := json.Marshal(result)
	return &adapterpb.AskResponse{Result: text}, err
}

// calls are those of lease.Control that Ask carries.
var calls = map[string]func(context.Context, lease.Control, []byte) (any, error){
	"report":  call(func(ctx context.Context, c lease.Control, r lease.Report) (any, error) { return nil, c.Report(ctx, r) }),
	"release": call(func(ctx context.Context, c lease.Control, r lease.Release) (any, error) { return c.Release(ctx, r) }),
	"kill":    call(func(ctx context.Context, c lease.Control, k lease.Kill) (any, error) { return c.Kill(ctx, k) }),
	"weigh":   call(func(ctx context.Context, c lease.Control, w lease.Weigh) (any, error) { return nil, c.Weigh(ctx, w) }),
	"resize":  call(func(ctx context.Context, c lease.Control, r lease.Resize) (any, error) { return c.Resize(ctx, r) }),
	"reload":  call(func(ctx context.Context, c lease.Control, _ struct{}) (any, error) { return c.Reload(ctx) }),
	"status":  call(func(ctx context.Context, c lease.Control, _ struct{}) (any, error) { return c.Status(ctx) }),
}

// call reads the argument of a call.
func call[T any](f func(context.Context, lease.Control, T) (any, error)) func(context.Context, lease.Control, []byte) (any, error) {
	return func(ctx context.Context, c lease.Control, text []byte) (any, error) {
		var argument T
		if err := json.Unmarshal(text, &argument); err != nil {
			return nil, fmt.Errorf("its argument: %w", err)
		}
		return f(ctx, c, argument)
	}
}

// Leave implements adapterpb.AdapterServer.
func (s *server) Leave(context.Context, *adapterpb.LeaveRequest) (*adapterpb.LeaveResponse, error) {
	time.AfterFunc(leaveTime, s.finishIfIdle) // once the gateway has the answer
	return &adapterpb.LeaveResponse{}, nil
}

// leaveTime is how long an adapter without mounts waits for the next gateway once one has left.
const leaveTime = 100 * time.Millisecond
