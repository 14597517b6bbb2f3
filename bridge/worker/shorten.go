package worker

import (
	"fmt"
	"strings"
)

// Shorten prepares a worker's text for the log: it removes surrounding white space and keeps the
// first 4 KiB.
func Shorten(text string) string {
	text = strings.TrimSpace(text)
	if len(text) <= maxReason {
		return text
	}
	return fmt.Sprintf("%s ... (%d bytes more)", strings.ToValidUTF8(text[:maxReason], ""), len(text)-maxReason)
}
