package engine

import (
	"net/http"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// piece makes an event of a piece of the request body. The last piece has the trailers,
// and a trailer section that is wrong ends the request with 400.
func (x *exchange) piece(got bodyRead) (pagi.Event, error) {
	ev := pagi.HTTPRequest{Body: x.buf.room[:got.n], More: !x.bodyDone.Load()}
	if got.err == nil {
		return ev, nil
	}
	sent := x.stream.RequestTrailers()
	if most := x.h.MaxHeaderCount; most > 0 && len(sent) > 0 && len(x.scope.Headers)+len(sent) > most {
		x.logLimit("request has too many headers and trailers", optionMaxHeaderCount, int64(most))
		x.refuse(http.StatusBadRequest, pagi.ReasonProtocolError)
		return nil, nil
	}
	if sent.Validate("") != nil {
		x.logRefused(http.StatusBadRequest, "a trailer is malformed")
		x.refuse(http.StatusBadRequest, pagi.ReasonProtocolError)
		return nil, nil
	}
	for _, t := range sent {
		if IsTrailer(t.Name) {
			ev.Trailers = append(ev.Trailers, t)
		}
	}
	return ev, nil
}

// IsTrailer reports whether a trailer section may have a field (RFC 9110 section 6.5.1):
// not one that frames or routes a message, tells of its content, authenticates or steers
// it.
func IsTrailer(name string) bool {
	switch name {
	case "transfer-encoding", "content-length", "connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade",
		"host", "forwarded", "max-forwards",
		"content-encoding", "content-type", "content-range",
		"authorization", "proxy-authorization", "cookie",
		"cache-control", "expect", "pragma", "range":
		return false
	}
	return !strings.HasPrefix(name, "if-") && !strings.HasPrefix(name, "x-forwarded-")
}
