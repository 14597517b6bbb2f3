package pagi

import (
	"strconv"
	"strings"
	"time"
)

// AppendSSE appends one event as it stands on the wire (the HTML standard, section
// 9.2.5, "Parsing an event stream"): its fields, one data line for each line of Data
// whatever ends it (CR, LF or CRLF), and the empty line that dispatches it. The event
// must be valid.
func AppendSSE(to []byte, e *SSESend) []byte {
	to = appendField(to, "event", e.Event)
	to = appendField(to, "id", e.ID)
	if e.HasRetry || e.Retry > 0 {
		to = append(to, "retry: "...)
		to = append(strconv.AppendInt(to, int64(e.Retry/time.Millisecond), 10), '\n')
	}
	for data := e.Data; ; {
		i := strings.IndexAny(data, "\r\n")
		to = append(to, "data: "...)
		if i < 0 {
			return append(append(to, data...), "\n\n"...)
		}
		to = append(append(to, data[:i]...), '\n')
		if strings.HasPrefix(data[i:], "\r\n") {
			i++
		}
		data = data[i+1:]
	}
}

func appendField(to []byte, name, value string) []byte {
	if value == "" {
		return to
	}
	to = append(append(to, name...), ": "...)
	return append(append(to, value...), '\n')
}

// AppendSSEComment appends a comment as it stands on the wire. A colon is put in front
// where there is none.
func AppendSSEComment(to []byte, comment string) []byte {
	if !strings.HasPrefix(comment, ":") {
		to = append(to, ':')
	}
	return append(append(to, comment...), "\n\n"...)
}
