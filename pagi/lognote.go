package pagi

import "sync/atomic"

// A LogNote is a fact about a request that a part of the application knows, such as its mount or
// its id.
type LogNote struct {
	args []any // in the form of slog
	next *LogNote
}

// NewLogNote makes a note of attributes in the form of slog.Logger: names and values. The note may
// be added to any number of requests.
func NewLogNote(args ...any) *LogNote { return &LogNote{args: args} }

// LogNotes are the notes of one request. The server adds them to its log records about a failed
// request. The zero value has none. All methods are safe for concurrent use.
type LogNotes struct{ first atomic.Pointer[LogNote] }

// Add adds a note. With a nil LogNotes it does nothing.
func (n *LogNotes) Add(note *LogNote) {
	if n == nil {
		return
	}
	for {
		first := n.first.Load()
		added := note
		if first != nil {
			added = &LogNote{args: note.args, next: first}
		}
		if n.first.CompareAndSwap(first, added) {
			return
		}
	}
}

// Append appends the attributes of all notes to args, those of the latest note first.
func (n *LogNotes) Append(args []any) []any {
	for note := n.first.Load(); note != nil; note = note.next {
		args = append(args, note.args...)
	}
	return args
}

// Clear removes all notes.
func (n *LogNotes) Clear() { n.first.Store(nil) }
