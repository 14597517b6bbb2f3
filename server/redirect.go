package server

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/server/http1"
)

// newRedirects returns the HTTP/1 server of addresses that redirect every request to https.
func (r *running) newRedirects(g *generation) *http1.Server {
	s := r.newHTTP1(g)
	s.Handler, s.HTTP2 = http.HandlerFunc(r.redirect), nil
	return s
}

// redirect answers with the URL in https. GET and HEAD get 301, which lets a client change the
// method. Other requests keep their method and body (308).
func (r *running) redirect(w http.ResponseWriter, req *http.Request) {
	r.traffic.requests.Add(1)
	begin := time.Now()
	limit := r.current.Load().WriteTimeout
	w.(engine.Stream).LimitWrite(limit)
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
	r.current.Load().engine.Observe(&engine.Record{Request: req, Status: status, Bytes: int64(n), Begin: begin, Duration: time.Since(begin), Err: err})
}

// secureURL returns a request's URL with https; ok is false if it has no host.
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
	target := req.URL.RequestURI()
	if target[0] != '/' { // "OPTIONS *"
		target = "/"
	}
	return "https://" + host + target, true
}

// securePort returns the port of the first TCP listener that speaks TLS.
func (r *running) securePort() int {
	for _, l := range r.listeners {
		if tcp, ok := l.Addr().(*net.TCPAddr); ok && l.tls {
			return tcp.Port
		}
	}
	return 443
}
