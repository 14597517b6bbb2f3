package command

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/site"
)

// A value of several lines is printed as lines at a terminal, and escaped elsewhere.
func TestLinesOfAValueAtATerminal(t *testing.T) {
	for name, c := range map[string]struct {
		message string
		attrs   []any
		want    string
	}{
		"one line":             {"plain", []any{"a", "b c"}, `level=WARN msg=plain a="b c"`},
		"a stack":              {"died\n\tat \"x\" line 1\nmain::y called", []any{"mount", "/"}, "level=WARN msg=\"died\n    \tat \"x\" line 1\n    main::y called\" mount=/"},
		"an error":             {"failed", []any{"error", "a\nb"}, "level=WARN msg=failed error=\"a\n    b\""},
		"a control character":  {"one\ntwo\x1b[2J", nil, "level=WARN msg=\"one\n    two\\x1b[2J\""},
		"a backslash and an n": {`c:\new one`, nil, `level=WARN msg="c:\\new one"`},
	} {
		t.Run(name, func(t *testing.T) {
			for terminal, want := range map[bool]string{true: c.want, false: ""} {
				var out bytes.Buffer
				l, err := openLogs(&site.Settings{}, struct{ io.Writer }{&out}, false, nil, terminal)
				if err != nil {
					t.Fatal(err)
				}
				l.logger.Warn(c.message, c.attrs...)
				_, got, _ := strings.Cut(strings.TrimSuffix(out.String(), "\n"), " ") // the time
				if !terminal {
					var plain bytes.Buffer
					slog.New(slog.NewTextHandler(&plain, nil)).Warn(c.message, c.attrs...)
					_, want, _ = strings.Cut(strings.TrimSuffix(plain.String(), "\n"), " ")
				}
				if got != want {
					t.Errorf("terminal %v: %q, want %q", terminal, got, want)
				}
			}
		})
	}
}
