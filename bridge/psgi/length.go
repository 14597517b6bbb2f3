package psgi

import (
	"log/slog"
	"net/http"
	"strconv"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// announced counts a body against the Content-Length of its answer. A client reads as many bytes as
// were announced, so further bytes are left out. The server reports an answer that is too short.
type announced struct {
	left int64 // -1: nothing was announced
}

// announcedBy returns the count for an answer. An answer without a body (RFC 9110 section 6.4.1),
// such as one to HEAD, is not counted.
func announcedBy(head *wire.Head, scope *pagi.Scope) announced {
	value, has := head.Headers.Lookup("content-length")
	if !has || scope.Method == http.MethodHead || head.Status == http.StatusNoContent || head.Status == http.StatusNotModified {
		return announced{left: -1}
	}
	length, err := strconv.ParseInt(value, 10, 64)
	if err != nil || length < 0 {
		return announced{left: -1} // the server reports the fault
	}
	return announced{left: length}
}

// take counts n more bytes and returns how many of them the caller must send.
func (l *announced) take(n int64) int64 {
	if l.left < 0 {
		return n
	}
	n = min(n, l.left)
	l.left -= n
	return n
}

// noteExcess logs that a part of an answer was left out.
func noteExcess(log *slog.Logger, name string, scope *pagi.Scope) {
	log.Warn("psgi: the answer is longer than its Content-Length; the rest is left out", "mount", name, "request", label(scope))
}
