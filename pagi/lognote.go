package pagi

import "sync/atomic"

// A LogNote is a fact about a request that a part of the application knows, such as its mount or
// its id.
type LogNote struct {
	args   []any  // in the form of slog
	room   [2]any // where args is if it has a name and a value, as most notes
	client Addr   // zero: not known
	user   string
	mount  string
	trace  *Trace // nil: none
	next   *LogNote
}

// NewLogNote makes a note of attributes in the form of slog.Logger: names and values. The note may
// be added to any number of requests.
func NewLogNote(args ...any) *LogNote {
	n := &LogNote{}
	n.args = append(n.room[:0], args...)
	return n
}

// NewMountNote makes a note of the mount that answers a request: the attribute "mount".
func NewMountNote(mount string) *LogNote { return &LogNote{args: []any{"mount", mount}, mount: mount} }

// LogNotes are the notes of one request. The server adds them to its log records about a failed
// request. The zero value has none. All methods are safe for concurrent use.
type LogNotes struct{ first atomic.Pointer[LogNote] }

// Add adds a note. With a nil LogNotes it does nothing.
func (n *LogNotes) Add(note *LogNote) {
	if n == nil || n.first.CompareAndSwap(nil, note) {
		return
	}
	n.push(&LogNote{args: note.args, mount: note.mount}) // the note itself may belong to other requests, too
}

// push adds a note that belongs to this request alone.
func (n *LogNotes) push(note *LogNote) {
	for {
		note.next = n.first.Load()
		if n.first.CompareAndSwap(note.next, note) {
			return
		}
	}
}

// SetClient tells the log which client is behind the proxy that sent the request. The zero Addr tells
// nothing. With a nil LogNotes it does nothing.
func (n *LogNotes) SetClient(client Addr) {
	if n != nil {
		n.push(&LogNote{client: client})
	}
}

// Client returns what SetClient was told last. ok is false if it was never called.
func (n *LogNotes) Client() (client Addr, ok bool) {
	for note := n.latest(); note != nil; note = note.next {
		if !note.client.IsZero() {
			return note.client, true
		}
	}
	return Addr{}, false
}

// SetUser tells the log the name of the client's user. With a nil LogNotes it does nothing.
func (n *LogNotes) SetUser(name string) {
	if n != nil {
		n.push(&LogNote{user: name})
	}
}

// User returns what SetUser was told last, or "".
func (n *LogNotes) User() string {
	for note := n.latest(); note != nil; note = note.next {
		if note.user != "" {
			return note.user
		}
	}
	return ""
}

// Mount returns the mount of the NewMountNote that was added last, or "".
func (n *LogNotes) Mount() string {
	for note := n.latest(); note != nil; note = note.next {
		if note.mount != "" {
			return note.mount
		}
	}
	return ""
}

// latest returns the first note of the list, which was added last.
func (n *LogNotes) latest() *LogNote {
	if n == nil {
		return nil
	}
	return n.first.Load()
}

// Value returns the value of the attribute called name of the note that was added last and has it, or nil.
func (n *LogNotes) Value(name string) any {
	for note := n.latest(); note != nil; note = note.next {
		for i := 0; i+1 < len(note.args); i += 2 {
			if note.args[i] == name {
				return note.args[i+1]
			}
		}
	}
	return nil
}

// Append appends the attributes of all notes to args, those of the latest note first. That of a Trace is called trace_id.
func (n *LogNotes) Append(args []any) []any {
	for note := n.latest(); note != nil; note = note.next {
		args = append(args, note.args...)
	}
	if t := n.Trace(); t != nil {
		args = append(args, "trace_id", t.TraceID())
	}
	return args
}

// Clear removes all notes. The Trace stays.
func (n *LogNotes) Clear() {
	t := n.Trace()
	n.first.Store(nil)
	if t != nil {
		n.SetTrace(t)
	}
}
