package hung

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

const (
	// mark begins what a process writes of its stack.
	mark = "\x1epagi-bridge stack\x1e"
	// mostFrames and longestFrame are how much of a stack is kept.
	mostFrames   = 40
	longestFrame = 400
)

// Inbox takes the stack out of what a process prints to its standard error. What stands in the line is the process's own
// word: it may say anything, and is shortened and made printable. The zero value waits for none.
type Inbox struct {
	mu      sync.Mutex
	waiting chan []string // capacity 1; nil while no one waits
}

// Take is given each line that the process prints, and returns what is to be logged of it as text. A stack that no one waits
// for is returned as text.
func (i *Inbox) Take(line string) (text string) {
	before, said, found := strings.Cut(line, mark)
	if !found {
		return line
	}
	frames := parse(said)
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.waiting == nil || len(frames) == 0 {
		return strings.TrimSpace(before + " Perl stack: " + strings.Join(frames, " < "))
	}
	i.waiting <- frames // it has room: waiting is nil from now on
	i.waiting = nil
	return before
}

// open has Take wait for a stack.
func (i *Inbox) open() <-chan []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.waiting = make(chan []string, 1)
	return i.waiting
}

// close has it wait no longer.
func (i *Inbox) close() {
	i.mu.Lock()
	i.waiting = nil
	i.mu.Unlock()
}

// sandbox begins the names of subroutines in an application's file that has no package.
var sandbox = regexp.MustCompile(`^PagiBridge::Loader::Sandbox\d+::`)

// parse makes frames of what the handler has written: file, line and subroutine of each level, the innermost first. The
// subroutine of a level is the one that was called there, so that of the next level is the one around the line. The first
// level is the handler's own call, and the second the eval in which perl calls it. The frames of the runtime that has called
// the application are left out.
func parse(said string) (frames []string) {
	fields := strings.Split(strings.TrimRight(said, "\r\n"), "\t")
	for len(fields) > 5 && isHandler(fields[0]) { // one handler has interrupted the other
		fields = fields[3:]
	}
	if len(fields) > 5 && fields[0] == fields[3] && fields[1] == fields[4] && fields[5] == "(eval)" {
		fields = fields[3:]
	}
	last := 0 // behind the application's outermost frame
	for at := 0; at+2 < len(fields) && len(frames) < mostFrames; at += 3 {
		file, line, around := fields[at], fields[at+1], ""
		if _, err := strconv.Atoi(line); err != nil {
			break // cut, or not of the handler's
		}
		if at+5 < len(fields) {
			around = " " + sandbox.ReplaceAllString(fields[at+5], "")
		}
		frames = append(frames, printable(file+":"+line+around))
		if !isRuntime(file) {
			last = len(frames)
		}
	}
	if last > 0 {
		frames = frames[:last]
	}
	return frames
}

// isHandler reports whether a file is one with the handlers.
func isHandler(file string) bool {
	return strings.HasSuffix(file, "/PagiBridge/Stack.pm") || strings.HasSuffix(file, "/PagiBridge/CGI/Kernel.pm")
}

// isRuntime reports whether a file is one of the Perl runtime.
func isRuntime(file string) bool {
	return strings.Contains(file, "/lib/PagiBridge") || strings.HasSuffix(file, "/bin/pagi-worker.pl") || strings.HasSuffix(file, "/bin/pagi-loop-worker.pl")
}

// printable shortens a text, and replaces what cannot be printed.
func printable(text string) string {
	if len(text) > longestFrame {
		text = "..." + text[len(text)-longestFrame:]
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}
