package adapter

import (
	"log/slog"
	"sync"

	"github.com/pagi-go/pagi-bridge/bridge/lease"
)

// records are the log records of a mount for which no gateway is attached: those of its start go to the gateway that has
// opened it, others to the adapter's own log.
type records struct {
	mu sync.Mutex
	to func(lease.Record) error // nil: the adapter's own log
}

// tellTo has the records go to a gateway, or to the adapter's own log.
func (r *records) tellTo(to func(lease.Record) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to = to
}

// put reports whether a gateway has got a record.
func (r *records) put(record lease.Record) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.to != nil && r.to(record) == nil
}

// logger returns a logger for the mount. Its records go to otherwise where no gateway takes them.
func (r *records) logger(otherwise slog.Handler) *slog.Logger {
	return slog.New(lease.NewRecorder(r.put, otherwise))
}
