package server

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server/http1"
)

// newRedirects returns what serves HTTP/1 where every request is sent to https.
func (r *running) newRedirects(g *generation) *http1.Server {
	s := r.newHTTP1(g)
	s.Handler, s.HTTP2 = http.HandlerFunc(r.redirect), nil
	return s
}

// redirect answers with where the request is to go. GET and HEAD may become what they
// like by it (301); other requests keep their method and body (308).
func (r *running) redirect(w http.ResponseWriter, req *http.Request) {
	begin := time.Now()
	limit := orDefault(r.current.Load().WriteTimeout, DefaultWriteTimeout)
	_ = w.(pagi.ResponseStream).LimitWrite(limit) // where it fails, so does the write
	if managed := r.first.TLS.Managed; managed != nil && managed.ServeChallenge(w, req) {
		return
	}
	status := http.StatusPermanentRedirect
	if req.Method == http.MethodGet || req.Method == http.MethodHead {
		status = http.StatusMovedPermanently
	}
	var place *Place
	if c, ok := req.Context().Value(http1.ConnContextKey).(*tracked); ok {
		place = &c.on.place
	}
	to, ok := r.secureURL(req, place)
	if !ok {
		status = http.StatusBadRequest
	} else {
		w.Header().Set("Location", to)
	}
	text := http.StatusText(status) + "\n"
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	n, err := w.Write([]byte(text))
	r.record(&pagi.HTTPRecord{Request: req, Status: status, Bytes: int64(n), Begin: begin, Duration: time.Since(begin), Err: err})
}

// secureURL returns a request's URL with https; ok is false where it has no host.
func (r *running) secureURL(req *http.Request, place *Place) (to string, ok bool) {
	host := req.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
		if ip := net.ParseIP(h); ip != nil && ip.To4() == nil {
			host = "[" + h + "]"
		}
	}
	if host == "" {
		return "", false
	}
	port := 0
	if place != nil {
		port = place.RedirectPort
	}
	if port == 0 {
		port = r.securePort()
	}
	if port != 443 {
		host = fmt.Sprintf("%s:%d", host, port)
	}
	path := req.URL.EscapedPath()
	if path == "" || path[0] != '/' {
		path = "/"
	}
	if req.URL.RawQuery != "" {
		path += "?" + req.URL.RawQuery
	}
	return "https://" + host + path, true
}

// securePort is that of the first TCP listener that speaks TLS.
func (r *running) securePort() int {
	for _, l := range r.listeners {
		if tcp, ok := l.Addr().(*net.TCPAddr); ok && l.tls {
			return tcp.Port
		}
	}
	return 443
}
