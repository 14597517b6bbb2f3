//go:build unix

package beside

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"strings"
)

// longestLine is the length of the longest line that is logged. What follows is the next line.
const longestLine = 8 << 10

// copyLines logs what comes line by line, until it ends.
func copyLines(from io.Reader, log *slog.Logger) {
	r := bufio.NewReaderSize(from, longestLine)
	for {
		line, err := r.ReadSlice('\n')
		if text := strings.TrimRight(strings.ToValidUTF8(string(line), "\uFFFD"), "\r\n"); text != "" {
			log.Info(text)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}
