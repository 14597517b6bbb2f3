package control

import (
	"context"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/pagi-go/pagi-bridge/plugin/internal/pluginpb"
)

// Board has the endpoints of a plugin. Any number of watchers get all of them, and then each change. The zero value is
// empty. It may be used by several goroutines.
type Board struct {
	mu       sync.Mutex
	now      map[key]*pluginpb.Endpoint
	watchers map[*watcher]struct{}
}

// key names an endpoint.
type key struct{ mount, id string }

// watcher has what one watcher was not told yet. A change of an endpoint that it was not told of replaces that.
type watcher struct {
	changed map[key]*pluginpb.Endpoint
	order   []key
	wake    chan struct{} // capacity 1
}

// Put adds an endpoint or changes it. An endpoint that has ended is forgotten once all watchers were told.
func (b *Board) Put(e *pluginpb.Endpoint) {
	e = proto.CloneOf(e)
	k := key{e.Mount, e.Id}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now == nil {
		b.now = map[key]*pluginpb.Endpoint{}
	}
	if e.State == pluginpb.EndpointState_ENDPOINT_STATE_ENDED {
		delete(b.now, k)
	} else {
		b.now[k] = e
	}
	for w := range b.watchers {
		if w.changed[k] == nil {
			w.order = append(w.order, k)
		}
		w.changed[k] = e
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// Watch calls send with all endpoints, and then with those that have changed, until ctx ends or send fails.
func (b *Board) Watch(ctx context.Context, send func(complete bool, list []*pluginpb.Endpoint) error) error {
	w := &watcher{changed: map[key]*pluginpb.Endpoint{}, wake: make(chan struct{}, 1)}
	b.mu.Lock()
	if b.watchers == nil {
		b.watchers = map[*watcher]struct{}{}
	}
	b.watchers[w] = struct{}{}
	all := make([]*pluginpb.Endpoint, 0, len(b.now))
	for _, e := range b.now {
		all = append(all, e)
	}
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.watchers, w)
		b.mu.Unlock()
	}()
	if err := send(true, all); err != nil {
		return err
	}
	for {
		select {
		case <-w.wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := send(false, b.take(w)); err != nil {
			return err
		}
	}
}

// take takes what a watcher was not told yet, in the order of the first changes.
func (b *Board) take(w *watcher) []*pluginpb.Endpoint {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]*pluginpb.Endpoint, 0, len(w.order))
	for _, k := range w.order {
		list = append(list, w.changed[k])
	}
	clear(w.changed)
	w.order = nil
	return list
}
