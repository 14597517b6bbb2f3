// Package journal has log records written by a goroutine of their own, so that a log that blocks holds up nothing else.
package journal

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// maxJournal is how many bytes of records of one worker may wait for the log.
	maxJournal = 1 << 20
	// recordCost is about what a record takes beside its text.
	recordCost = 128
	// flushTimeout is how long a stopping group waits for a slow log.
	flushTimeout = time.Second
)

// Journals are the log records of a group of workers that are not yet written. Records of one logger stay in
// order. The zero value is empty.
//
// A log may block, because of a full disk, a stopped terminal or a pipe without a reader. Neither a
// worker nor the group may wait for it, so records go through a journal. A journal is a queue of
// limited size with a goroutine that runs while the queue is not empty. Records that do not fit
// into the queue are lost, and counted.
type Journals struct {
	mu      sync.Mutex
	writing int           // journals with a goroutine
	quiet   chan struct{} // closed when no journal has a goroutine; nil unless Flush waits
}

// Logger returns a logger whose records go to log, but never block.
func (js *Journals) Logger(log *slog.Logger) *slog.Logger {
	return slog.New(&journalHandler{log.Handler(), &journal{journals: js}})
}

// Flush waits until all records are written, for flushTimeout at most. A log that stays blocked
// keeps one goroutine for each journal.
func (js *Journals) Flush() {
	js.mu.Lock()
	if js.writing == 0 {
		js.mu.Unlock()
		return
	}
	if js.quiet == nil {
		js.quiet = make(chan struct{})
	}
	quiet := js.quiet
	js.mu.Unlock()
	select {
	case <-quiet:
	case <-time.After(flushTimeout):
	}
}

func (js *Journals) count(change int) {
	js.mu.Lock()
	defer js.mu.Unlock()
	js.writing += change
	if js.writing == 0 && js.quiet != nil {
		close(js.quiet)
		js.quiet = nil
	}
}

// journal is the queue of one worker, or of the group itself.
type journal struct {
	journals *Journals

	mu      sync.Mutex
	entries []entry
	bytes   int
	lost    int          // records since the last entry for which there was no room
	loser   slog.Handler // the handler of the last lost record
	writing bool
}

type entry struct {
	to     slog.Handler
	record slog.Record
	size   int
}

// put adds a record to the queue, or counts it as lost.
func (j *journal) put(e entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.bytes+e.size > maxJournal && len(j.entries) > 0 {
		j.lost++
		j.loser = e.to
		return
	}
	j.noteLossLocked()
	j.entries = append(j.entries, e)
	j.bytes += e.size
	if !j.writing {
		j.writing = true
		j.journals.count(1)
		go j.write()
	}
}

// noteLossLocked adds an entry that tells how many records were lost at this point.
func (j *journal) noteLossLocked() {
	if j.lost == 0 {
		return
	}
	text := fmt.Sprintf("%d lines of output were lost, because the log was too slow", j.lost)
	j.entries = append(j.entries, entry{to: j.loser, record: slog.NewRecord(time.Now(), slog.LevelWarn, text, 0)})
	j.lost, j.loser = 0, nil
}

// write writes records to the log until the queue is empty.
func (j *journal) write() {
	defer j.journals.count(-1)
	for {
		j.mu.Lock()
		if len(j.entries) == 0 {
			j.noteLossLocked()
		}
		if len(j.entries) == 0 {
			j.entries, j.writing = nil, false
			j.mu.Unlock()
			return
		}
		next := j.entries[0]
		j.entries[0] = entry{}
		j.entries = j.entries[1:]
		j.mu.Unlock()
		// There is no other place than the log itself to report an error to.
		_ = next.to.Handle(context.Background(), next.record)
		j.mu.Lock()
		j.bytes -= next.size
		j.mu.Unlock()
	}
}

// journalHandler puts records into a journal.
type journalHandler struct {
	to      slog.Handler
	journal *journal
}

func (h *journalHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.to.Enabled(ctx, level)
}

func (h *journalHandler) Handle(_ context.Context, r slog.Record) error {
	size := recordCost + len(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		if a.Value.Kind() == slog.KindString {
			size += len(a.Value.String())
		}
		return true
	})
	h.journal.put(entry{h.to, r.Clone(), size})
	return nil
}

func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &journalHandler{h.to.WithAttrs(attrs), h.journal}
}

func (h *journalHandler) WithGroup(name string) slog.Handler {
	return &journalHandler{h.to.WithGroup(name), h.journal}
}
