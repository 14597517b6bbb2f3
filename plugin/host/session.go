package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/plugin/internal/control"
	"github.com/pagi-go/pagi-bridge/plugin/internal/pluginpb"
)

// watchEndpoints follows the endpoints until the instance ends.
func (i *instance) watchEndpoints() {
	stream, err := i.rpc.Endpoints(i.ctx, &pluginpb.EndpointsRequest{})
	for err == nil {
		var r *pluginpb.EndpointsResponse
		if r, err = stream.Recv(); err == nil {
			err = i.apply(r)
		}
	}
	if i.ctx.Err() != nil {
		return
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("it has ended the stream")
	}
	i.fail(fmt.Errorf("its endpoints: %w", control.Words(err)))
}

// apply takes what the plugin says about its endpoints. An endpoint that cannot be used is logged and left alone. An error
// ends the instance.
func (i *instance) apply(r *pluginpb.EndpointsResponse) error {
	named := map[string]bool{}
	for _, told := range r.Endpoints {
		if told.Mount != mountID {
			i.refuse(told, fmt.Errorf("it belongs to a mount %q, which this plugin does not have", control.Clean(told.Mount, 80)))
			continue
		}
		if err := control.CheckEndpoint(i.dir.Path(), told); err != nil {
			i.refuse(told, err)
			continue
		}
		named[told.Id] = true
		if err := i.change(told); err != nil {
			return err
		}
	}
	if r.Complete {
		for _, e := range i.list() {
			if !named[e.told.Id] {
				e.ended("the plugin does not name it any more")
			}
		}
	}
	return nil
}

// refuse says that an endpoint cannot be used. The first one fails the start of the instance.
func (i *instance) refuse(told *pluginpb.Endpoint, err error) {
	if !i.decide(fmt.Errorf("it names an endpoint that cannot be used: %w", err)) {
		i.x.said.Error("the plugin names an endpoint that cannot be used", "endpoint", control.Clean(told.Id, 80), "error", err)
	}
}

// decide says whether the first endpoint can be used. It reports whether that was not decided before.
func (i *instance) decide(err error) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.decided {
		return false
	}
	i.decided = true
	i.first <- err
	return true
}

// change takes the state of one endpoint.
func (i *instance) change(told *pluginpb.Endpoint) error {
	i.mu.Lock()
	e := i.endpoints[told.Id]
	switch {
	case e == nil && told.State != pluginpb.EndpointState_ENDPOINT_STATE_SERVING:
		i.mu.Unlock()
		return nil // it was never used
	case e == nil && len(i.endpoints) >= control.MaxEndpoints:
		i.mu.Unlock()
		return fmt.Errorf("it names more than %d endpoints", control.MaxEndpoints)
	case e == nil:
		e = newEndpoint(i, told)
		i.endpoints[told.Id] = e
		i.tasks.Go(e.run)
		i.mu.Unlock()
		return nil
	}
	i.mu.Unlock()
	switch told.State {
	case pluginpb.EndpointState_ENDPOINT_STATE_SERVING:
		if e.told.Address != told.Address || e.told.Token != told.Token || e.told.Pid != told.Pid || e.told.Kind != told.Kind {
			return fmt.Errorf("it names two endpoints %q", e.told.Id)
		}
	case pluginpb.EndpointState_ENDPOINT_STATE_RELIEVED:
		e.relieve(true)
	case pluginpb.EndpointState_ENDPOINT_STATE_WITHDRAWN:
		e.relieve(false)
	case pluginpb.EndpointState_ENDPOINT_STATE_ENDED:
		e.ended(control.Clean(told.Exit, 400))
	}
	return nil
}

// watchStatus keeps what the plugin tells about its processes.
func (i *instance) watchStatus() {
	stream, err := i.rpc.Status(i.ctx, &pluginpb.StatusRequest{IntervalMs: 1000})
	for err == nil {
		var r *pluginpb.StatusResponse
		if r, err = stream.Recv(); err != nil {
			break
		}
		var now status.Backend
		if len(r.Status) > 256<<10 || json.Unmarshal(r.Status, &now) != nil {
			err = errors.New("it is no status of a mount")
			break
		}
		i.mu.Lock()
		i.reported = now
		i.mu.Unlock()
	}
	if i.ctx.Err() == nil && !control.Missing(err) && !errors.Is(err, io.EOF) {
		i.x.log.Debug("the plugin tells no status", "error", control.Words(err))
	}
}

// addStatus adds the workers of the instance, as the plugin tells of them and the gateway knows.
func (i *instance) addStatus(b *status.Backend) {
	i.mu.Lock()
	reported := i.reported.Workers[:min(len(i.reported.Workers), control.MaxEndpoints)]
	generation := i.reported.Generation
	i.mu.Unlock()
	b.Generation = max(b.Generation, generation)
	byPID := map[int]status.Worker{}
	for _, w := range reported {
		byPID[w.PID] = w
	}
	for _, e := range i.list() {
		w := status.Worker{ID: i.number, PID: int(e.told.Pid), Generation: int(e.told.Generation), Since: e.since, State: e.state(), Inflight: e.load(), Served: e.served()}
		w.Resident = byPID[w.PID].Resident
		b.Workers = append(b.Workers, w)
		b.Running += w.Inflight
		b.Totals.Requests += int64(w.Served)
	}
}

// The limits of a log record of a plugin.
const (
	maxAttributes = 32
	maxAttribute  = 1 << 10
)

// logs writes the plugin's log records.
func (i *instance) logs() {
	stream, err := i.rpc.Logs(i.ctx, &pluginpb.LogsRequest{})
	for err == nil {
		var r *pluginpb.LogsResponse
		if r, err = stream.Recv(); err != nil {
			break
		}
		if r.Lost > 0 {
			i.x.limiter.miss(int(min(r.Lost, 1<<30)))
		}
		for _, record := range r.Records {
			i.log(record)
		}
	}
	if i.ctx.Err() == nil && !control.Missing(err) && !errors.Is(err, io.EOF) {
		i.x.log.Debug("the plugin sends no log records any more", "error", control.Words(err))
	}
}

// log writes one record, at its level and its time, if that is near.
func (i *instance) log(r *pluginpb.Record) {
	level := slog.Level(max(-4, min(8, r.Level)))
	h := i.x.said.Handler()
	if !h.Enabled(i.ctx, level) {
		return
	}
	at, now := time.Unix(0, r.TimeUnixNano), time.Now()
	if d := now.Sub(at); d < -time.Minute || d > time.Hour {
		at = now
	}
	out := slog.NewRecord(at, level, control.Clean(r.Message, maxLine), 0)
	for _, a := range r.Attributes[:min(len(r.Attributes), maxAttributes)] {
		out.AddAttrs(slog.String(control.Clean(a.Name, 80), control.Clean(a.Value, maxAttribute)))
	}
	_ = h.Handle(context.Background(), out) // there is no other place than the log to report an error to
}

// lineWriter makes log records of the output that go-plugin carries over gRPC: what a plugin of the kit prints.
type lineWriter struct {
	process *process

	mu   sync.Mutex
	rest []byte
}

// Write implements io.Writer.
func (w *lineWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for piece := range strings.SplitAfterSeq(string(b), "\n") {
		w.rest = append(w.rest, piece...)
		if !strings.HasSuffix(piece, "\n") && len(w.rest) < maxLine {
			continue
		}
		text := strings.TrimRight(string(w.rest), "\r\n")
		if w.rest = w.rest[:0]; text != "" {
			w.process.note(text[:min(len(text), maxLine)])
			w.process.log.Warn(control.Clean(text, maxLine))
		}
	}
	return len(b), nil
}
