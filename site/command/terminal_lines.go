package command

import (
	"bytes"
	"io"
	"strconv"
	"strings"
)

// terminalLines writes log records for a person. A value of several lines, such as the stack of an
// exception, is printed as indented lines. Each Write gets one record of slog's text format. Other
// control characters stay escaped, because they could disturb the terminal.
type terminalLines struct{ to io.Writer }

// Write implements io.Writer.
func (t terminalLines) Write(record []byte) (int, error) {
	if !bytes.Contains(record, []byte(`\n`)) {
		return t.to.Write(record)
	}
	if _, err := t.to.Write([]byte(unfolded(string(record)))); err != nil {
		return 0, err
	}
	return len(record), nil
}

// unfolded returns a record in which quoted values of several lines are real lines.
func unfolded(record string) string {
	var out strings.Builder
	for {
		at := strings.Index(record, `="`) + 1
		if at == 0 {
			break
		}
		out.WriteString(record[:at])
		record = record[at:]
		quoted, err := strconv.QuotedPrefix(record)
		if err != nil {
			break
		}
		record = record[len(quoted):]
		value, err := strconv.Unquote(quoted)
		if err != nil || !strings.Contains(value, "\n") {
			out.WriteString(quoted)
			continue
		}
		out.WriteByte('"')
		for i, line := range strings.Split(value, "\n") {
			if i > 0 {
				out.WriteString("\n    ")
			}
			line = strconv.Quote(line)
			out.WriteString(strings.NewReplacer(`\t`, "\t", `\"`, `"`, `\\`, `\`).Replace(line[1 : len(line)-1]))
		}
		out.WriteByte('"')
	}
	out.WriteString(record)
	return out.String()
}
