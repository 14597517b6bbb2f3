package server

import "net/http"

// dispatch is the one point every request comes through; here it is decided which
// kind of scope it becomes.
func (r *running) dispatch(w http.ResponseWriter, req *http.Request) {
	r.requests.Add(1)
	defer r.requests.Add(-1)
	r.engine.ServeHTTP(w, req)
}
