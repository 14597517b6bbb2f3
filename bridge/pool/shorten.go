package pool

import (
	"fmt"
	"strings"
)

// shorten prepares a worker's text for the log: it removes surrounding white space and keeps the
// first maxReason bytes.
func shorten(text string) string {
	text = strings.TrimSpace(text)
	if len(text) <= maxReason {
		return text
	}
	return fmt.Sprintf("%s ... (%d bytes more)", strings.ToValidUTF8(text[:maxReason], ""), len(text)-maxReason)
}
