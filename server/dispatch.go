package server

import (
	"io"
	"net/http"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server/http1"
	"github.com/pagi-go/pagi-bridge/server/http2"
)

// dispatch is the one point every request comes through; here it is decided which
// kind of scope it becomes.
func (r *running) dispatch(w http.ResponseWriter, req *http.Request) {
	g := r.enter()
	defer g.requests.Add(-1)
	if g.headLimit > 0 && req.ProtoMajor > 1 && headSize(req) > g.headLimit {
		r.refuseHead(w, req, g)
		return
	}
	switch {
	case req.ProtoMajor > 1:
		if h2, ok := req.Context().Value(http2ConnKey{}).(*http2.Conn); ok {
			req.TLS = h2.TLS
			if most := g.MaxRequestsPerConnection; most > 0 && h2.Requests() >= most {
				w.Header().Set("Connection", "close") // net/http makes a GOAWAY of it
			}
		}
	case r.cleartext != nil && r.cleartext.upgrade(w, req):
		return
	}
	g.engine.ServeHTTP(w, req)
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

// refuseHead answers an HTTP/2 request whose head is too large.
func (r *running) refuseHead(w http.ResponseWriter, req *http.Request, g *generation) {
	status := http.StatusRequestHeaderFieldsTooLarge
	if len(req.RequestURI) > g.headLimit {
		status = http.StatusRequestURITooLong
	}
	begin := time.Now()
	r.logHeadTooLarge(req.RemoteAddr, g)
	text := http.StatusText(status) + "\n"
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	n, err := io.WriteString(w, text)
	if g.engine.Done != nil {
		g.engine.Done(&pagi.HTTPRecord{
			Request: req, Status: status, Bytes: int64(n), Begin: begin, Duration: time.Since(begin), Err: err,
		})
	}
}

// refused tells what turned an HTTP/1 request down, and the access log that it was.
func (r *running) refused(f *http1.Refusal) {
	g := r.current.Load()
	if g.engine.Done != nil {
		g.engine.Done(&f.Record)
	}
	switch {
	case f.Status == http.StatusRequestHeaderFieldsTooLarge, f.Status == http.StatusRequestURITooLong:
		r.logHeadTooLarge(f.Client, g)
	case f.Status == http.StatusRequestTimeout:
		r.warnings.warn("request head is too slow", "option", "--header-timeout",
			"limit", g.limits().HeadTimeout.String(), "client", f.Client)
	case f.Ambiguous:
		r.warnings.warn("request framing is ambiguous", "reason", f.Reason, "client", f.Client)
	default:
		r.log.Debug("request is refused", "status", f.Status, "reason", f.Reason, "client", f.Client)
	}
}

// logHeadTooLarge tells what turned a request down whose head is too large.
func (r *running) logHeadTooLarge(client string, g *generation) {
	r.warnings.warn("request head is too large", "option", "--max-header-size", "limit", g.headLimit, "client", client)
}
