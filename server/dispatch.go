package server

import (
	"io"
	"net/http"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/server/http1"
	"github.com/pagi-go/pagi-bridge/server/http2"
)

// dispatch is the one point through which every request comes. It decides which kind of scope the
// request becomes.
func (r *running) dispatch(w http.ResponseWriter, req *http.Request) {
	g := r.enter()
	defer g.requests.Add(-1)
	if req.ProtoMajor > 1 {
		switch {
		case g.headLimit > 0 && len(req.RequestURI) > g.headLimit:
			r.logHeadTooLarge(req.RemoteAddr, g)
			r.refuseHead(w, req, g, http.StatusRequestURITooLong)
			return
		case g.headLimit > 0 && headSize(req) > g.headLimit:
			r.logHeadTooLarge(req.RemoteAddr, g)
			r.refuseHead(w, req, g, http.StatusRequestHeaderFieldsTooLarge)
			return
		case req.Host == "":
			r.warnings.warn("request is refused", "status", http.StatusBadRequest, "reason", "there is no authority", "client", req.RemoteAddr)
			r.refuseHead(w, req, g, http.StatusBadRequest)
			return
		}
	}
	switch {
	case req.ProtoMajor > 1:
		if h2, ok := req.Context().Value(http2ConnKey{}).(*http2.Conn); ok {
			req.TLS = h2.TLS
			if most := g.MaxRequestsPerConnection; most > 0 && h2.Requests() >= most {
				w.Header().Set("Connection", "close") // net/http turns it into a GOAWAY
			}
		}
	case r.cleartext != nil && r.cleartext.upgrade(w, req):
		return
	}
	r.traffic.requests.Add(1)
	g.web.ServeHTTP(w, req)
}

// headSize returns how many bytes the head of a request would have in HTTP/1.
func headSize(req *http.Request) int {
	const spaces, colon, end = len("  "), len(": "), len("\r\n")
	n := len(req.Method) + len(req.RequestURI) + len(req.Proto) + spaces + end
	n += len("Host") + colon + len(req.Host) + end
	for name, values := range req.Header {
		for _, v := range values {
			n += len(name) + colon + len(v) + end
		}
	}
	return n + end
}

// refuseHead answers a request of HTTP/2 or HTTP/3 whose head is wrong, with the given status.
func (r *running) refuseHead(w http.ResponseWriter, req *http.Request, g *generation, status int) {
	begin := time.Now()
	text := http.StatusText(status) + "\n"
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	n, err := io.WriteString(w, text)
	r.turnedDown(g, &engine.Record{
		Request: req, Status: status, Bytes: int64(n), Begin: begin, Duration: time.Since(begin), Err: err,
	})
}

// turnedDown counts a request that was turned down for its head, and tells the observers.
func (r *running) turnedDown(g *generation, record *engine.Record) {
	r.traffic.requests.Add(1)
	r.traffic.requestsRefused.Add(1)
	g.engine.Observe(record)
}

// refused tells the log and the observers of an HTTP/1 request that was turned down.
func (r *running) refused(f *http1.Refusal) {
	g := r.current.Load()
	r.turnedDown(g, &f.Record)
	switch {
	case f.Status == http.StatusRequestHeaderFieldsTooLarge, f.Status == http.StatusRequestURITooLong:
		r.logHeadTooLarge(f.Client, g)
	case f.Status == http.StatusRequestTimeout:
		r.warnings.warn("request head is too slow", "option", "--header-timeout",
			"limit", g.limits().HeadTimeout.String(), "client", f.Client)
	case f.Ambiguous:
		r.warnings.warn("request framing is ambiguous", "reason", f.Reason, "client", f.Client)
	default:
		r.warnings.warn("request is refused", "status", f.Status, "reason", f.Reason, "client", f.Client)
	}
}

// logHeadTooLarge logs a request that was refused because its head is too large.
func (r *running) logHeadTooLarge(client string, g *generation) {
	r.warnings.warn("request head is too large", "option", "--max-header-size", "limit", g.headLimit, "client", client)
}
