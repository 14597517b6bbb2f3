package pagi

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// piece is the event of what was read of a request body. Its last one has the trailers,
// and a trailer section that is wrong ends the request with 400.
func (x *exchange) piece(got bodyRead) (Event, error) {
	ev := HTTPRequest{Body: x.buf[:got.n], More: !x.bodyDone.Load()}
	if got.err == nil {
		return ev, nil
	}
	sent := x.sentTrailers()
	if most := x.h.MaxHeaderCount; most > 0 && len(sent) > 0 && len(x.scope.Headers)+len(sent) > most {
		x.logLimit("request has too many headers and trailers", optionMaxHeaderCount, int64(most))
		x.refuse(http.StatusBadRequest, ReasonProtocolError)
		return nil, nil
	}
	for _, t := range sent {
		if !isToken(t.Name) || !isFieldValue(t.Value) {
			x.refuse(http.StatusBadRequest, ReasonProtocolError)
			return nil, nil
		}
		if isTrailer(t.Name) {
			ev.Trailers = append(ev.Trailers, t)
		}
	}
	return ev, nil
}

// sentTrailers returns what the client sent behind the body: in the order in which it came
// where the ResponseWriter knows that, else by name.
func (x *exchange) sentTrailers() (sent Headers) {
	if x.stream != nil {
		return x.stream.RequestTrailers()
	}
	for _, name := range slices.Sorted(maps.Keys(x.r.Trailer)) {
		for _, value := range x.r.Trailer[name] {
			sent.Add(name, value)
		}
	}
	return sent
}

// announced returns the Trailer header of a request, out of what net/http made of it.
func announced(trailer http.Header) string {
	return lower(strings.Join(slices.Sorted(maps.Keys(trailer)), ", "))
}

// isTrailer reports whether a trailer section may have a field (RFC 9110 section 6.5.1):
// not one that frames or routes a message, tells of its content, authenticates or steers
// it.
func isTrailer(name string) bool {
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
