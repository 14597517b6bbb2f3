//go:build unix

package cgi

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/internal/job"
	"github.com/pagi-go/pagi-bridge/internal/hung"
)

// stderrLine is the longest line of standard error that is logged, in bytes; the
// rest of a longer one is left out.
const stderrLine = 4 << 10

// stderrLog turns a script's standard error into log records, one per line, not
// more than rate in a second.
type stderrLog struct {
	ctx  context.Context
	log  func() *slog.Logger
	rate int // negative: no limit
	// marks are texts in lower case that show which limit a script ran into; marked is
	// the last one whose text was seen.
	marks  map[string][]string
	marked string

	inbox *hung.Inbox // gets the Perl stack; nil: none comes

	line    []byte
	cut     bool // the line was longer than stderrLine
	second  time.Time
	logged  int // in this second
	dropped int
}

// copy reads until the pipe ends or its read deadline passes. What is in the pipe then
// still counts.
func (l *stderrLog) copy(pipe *job.Pipe) {
	buf := make([]byte, 4<<10)
	for {
		n, err := pipe.Ours().Read(buf)
		l.write(buf[:n])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			l.drain(pipe, buf)
		}
		if err != nil {
			break
		}
	}
	l.end()
}

// end logs what is left over.
func (l *stderrLog) end() {
	if len(l.line) > 0 {
		l.flush()
	}
	l.reportDropped()
}

// drain reads what a pipe holds, without waiting, and not more than it can hold: a
// process that left the group may go on writing.
func (l *stderrLog) drain(pipe *job.Pipe, buf []byte) {
	for total := 0; total < job.Capacity; {
		n := pipe.ReadNow(buf)
		if n == 0 {
			return
		}
		l.write(buf[:n])
		total += n
	}
}

// write splits b into lines.
func (l *stderrLog) write(b []byte) {
	for len(b) > 0 {
		part, after, ended := bytes.Cut(b, []byte("\n"))
		l.add(part)
		if b = after; ended {
			l.flush()
		}
	}
}

func (l *stderrLog) add(part []byte) {
	if room := stderrLine - len(l.line); len(part) > room {
		part, l.cut = part[:room], true
	}
	l.line = append(l.line, part...)
}

func (l *stderrLog) flush() {
	text, cut := strings.ToValidUTF8(strings.TrimRight(string(l.line), "\r"), "\uFFFD"), l.cut
	l.line, l.cut = l.line[:0], false
	if l.inbox != nil {
		left := l.inbox.Take(text)
		if left == "" && text != "" {
			return
		}
		text = left
	}
	l.look(text)
	if now := time.Now(); now.Sub(l.second) >= time.Second {
		l.reportDropped()
		l.second, l.logged = now, 0
	}
	if l.rate >= 0 && l.logged >= l.rate {
		l.dropped++
		return
	}
	l.logged++
	if cut {
		text += "... (cut)"
	}
	l.log().LogAttrs(l.ctx, slog.LevelWarn, "script stderr", slog.String("line", text))
}

// look notes a mark in a line.
func (l *stderrLog) look(line string) {
	if l.marks == nil {
		return
	}
	line = strings.ToLower(line)
	for option, texts := range l.marks {
		if slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(line, text) }) {
			l.marked = option
		}
	}
}

func (l *stderrLog) reportDropped() {
	if l.dropped > 0 {
		l.log().LogAttrs(l.ctx, slog.LevelWarn, "script stderr: lines left out (option stderr_rate)", slog.Int("lines", l.dropped))
		l.dropped = 0
	}
}
