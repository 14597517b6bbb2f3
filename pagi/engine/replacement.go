package engine

import (
	"sync/atomic"

	"github.com/pagi-go/pagi-bridge/internal/tenure"
)

// Replacement tells streams that another application has taken the place of theirs. NewReplacement makes one.
type Replacement struct {
	begun   chan struct{}
	staying atomic.Int64
}

// NewReplacement returns a Replacement that has not begun.
func NewReplacement() *Replacement { return &Replacement{begun: make(chan struct{})} }

// Begin ends the streams that do not stay. It is called once.
func (r *Replacement) Begin() { close(r.begun) }

// Begun is closed by Begin. That of a nil Replacement never is.
func (r *Replacement) Begun() <-chan struct{} {
	if r == nil {
		return nil
	}
	return r.begun
}

// Staying returns how many streams go on after Begin.
func (r *Replacement) Staying() int64 { return r.staying.Load() }

// Stay reports whether a stream goes on after Begin, until its tenure ends. t is nil for a stream without one. The caller
// calls Leave once the stream has ended.
func (r *Replacement) Stay(t *tenure.Tenure) bool {
	if t == nil || !t.Stays() {
		return false
	}
	r.staying.Add(1)
	return true
}

// Leave is called once for each stream for which Stay was true.
func (r *Replacement) Leave() { r.staying.Add(-1) }
