package engine

import (
	"strconv"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// AppendSSE appends one event as it stands on the wire (the HTML standard, section
// 9.2.5, "Parsing an event stream"): its fields, one data line for each line of Data
// whatever ends it (CR, LF or CRLF), and the empty line that dispatches it. The event
// must be valid.
func AppendSSE(to []byte, e *pagi.SSESend) []byte {
	to = appendField(to, "event", e.Event)
	to = appendField(to, "id", e.ID)
	if e.HasRetry || e.Retry > 0 {
		to = append(to, "retry: "...)
		to = append(strconv.AppendInt(to, int64(e.Retry/time.Millisecond), 10), '\n')
	}
	for rest, more := e.Data, true; more; {
		var line string
		line, rest, more = cutLine(rest)
		to = append(append(append(to, "data: "...), line...), '\n')
	}
	return append(to, '\n')
}

// cutLine returns the first line of text, whatever ends it, and what follows that end,
// if there is one.
func cutLine(text string) (line, rest string, more bool) {
	i := strings.IndexAny(text, "\r\n")
	if i < 0 {
		return text, "", false
	}
	line, rest = text[:i], text[i+1:]
	if text[i] == '\r' {
		rest = strings.TrimPrefix(rest, "\n")
	}
	return line, rest, true
}

func appendField(to []byte, name, value string) []byte {
	if value == "" {
		return to
	}
	to = append(append(to, name...), ": "...)
	return append(append(to, value...), '\n')
}

// AppendSSEComment appends a comment as it stands on the wire, one comment line for
// each line of it like AppendSSE's data. A colon is put in front of a line where there is
// none.
func AppendSSEComment(to []byte, comment string) []byte {
	for rest, more := comment, true; more; {
		var line string
		line, rest, more = cutLine(rest)
		if !strings.HasPrefix(line, ":") {
			to = append(to, ':')
		}
		to = append(append(to, line...), '\n')
	}
	return append(to, '\n')
}
