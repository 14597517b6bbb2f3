package control

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/pagi-go/pagi-bridge/plugin/internal/pluginpb"
)

// MaxRecords is how many log records wait for the gateway. Those beyond are lost, and counted.
const MaxRecords = 1000

// Logbook has the log records of a plugin until the gateway takes them. Its Handler never waits. The zero value is empty.
type Logbook struct {
	mu      sync.Mutex
	records []*pluginpb.Record
	lost    uint64
	taken   chan struct{} // closed and replaced at each change; nil until somebody waits
	closed  bool
}

// Logger returns a logger whose records go to the book. mount is the id of the mount that they are about, or "".
func (b *Logbook) Logger(mount string) *slog.Logger {
	return slog.New(&bookHandler{book: b, mount: mount})
}

func (b *Logbook) add(r *pluginpb.Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.records) >= MaxRecords || b.closed {
		b.lost++
		return
	}
	b.records = append(b.records, r)
	b.wakeLocked()
}

func (b *Logbook) wakeLocked() {
	if b.taken != nil {
		close(b.taken)
		b.taken = nil
	}
}

// Close makes Send return once all records are sent.
func (b *Logbook) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.wakeLocked()
}

// batch is how many records go into one message.
const batch = 100

// Send calls send with the records, as they come, until the book is closed, ctx ends or send fails. A record is given to
// one caller of Send only.
func (b *Logbook) Send(ctx context.Context, send func(*pluginpb.LogsResponse) error) error {
	for {
		b.mu.Lock()
		n := min(len(b.records), batch)
		out := &pluginpb.LogsResponse{Records: slices.Clone(b.records[:n]), Lost: b.lost}
		b.records, b.lost = slices.Delete(b.records, 0, n), 0
		if n == 0 && out.Lost == 0 {
			if b.closed {
				b.mu.Unlock()
				return nil
			}
			if b.taken == nil {
				b.taken = make(chan struct{})
			}
			more := b.taken
			b.mu.Unlock()
			select {
			case <-more:
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		b.mu.Unlock()
		if err := send(out); err != nil {
			return err
		}
	}
}

// bookHandler implements slog.Handler.
type bookHandler struct {
	book  *Logbook
	mount string
	group string // with a dot behind it; "" for none
	attrs []*pluginpb.Attribute
}

// Enabled implements slog.Handler. The gateway decides which levels it writes.
func (h *bookHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (h *bookHandler) Handle(_ context.Context, r slog.Record) error {
	out := &pluginpb.Record{Level: int32(r.Level), TimeUnixNano: r.Time.UnixNano(), Message: r.Message, Mount: h.mount, Attributes: slices.Clone(h.attrs)}
	r.Attrs(func(a slog.Attr) bool {
		out.Attributes = flatten(out.Attributes, h.group, a)
		return true
	})
	h.book.add(out)
	return nil
}

// WithAttrs implements slog.Handler.
func (h *bookHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.attrs = slices.Clone(h.attrs)
	for _, a := range attrs {
		next.attrs = flatten(next.attrs, h.group, a)
	}
	return &next
}

// WithGroup implements slog.Handler.
func (h *bookHandler) WithGroup(name string) slog.Handler {
	next := *h
	if name != "" {
		next.group += name + "."
	}
	return &next
}

// flatten appends an attribute; the name of one in a group begins with that of the group.
func flatten(list []*pluginpb.Attribute, group string, a slog.Attr) []*pluginpb.Attribute {
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, inner := range value.Group() {
			list = flatten(list, group, inner)
		}
		return list
	}
	if a.Equal(slog.Attr{}) {
		return list
	}
	return append(list, &pluginpb.Attribute{Name: group + a.Key, Value: value.String()})
}
