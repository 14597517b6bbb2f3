package psgi

import (
	"context"
	"fmt"
	"sync"

	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/metavars"
	"github.com/pagi-go/pagi-bridge/internal/slow"
	"github.com/pagi-go/pagi-bridge/internal/spool"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// job is one request on its way to a worker. Jobs are reused.
type job struct {
	wire.RequestBuilder
	body spool.Body
	pool pool.Request
}

var jobs = sync.Pool{New: func() any {
	r := &job{}
	r.pool.Frame = r.Frame
	return r
}}

// readBody reads the whole request body, so that no worker has to wait for it. A long one goes to a file that the workers
// can open.
func (r *job) readBody(ctx context.Context, receive pagi.Receive, into *pool.Pool) error {
	r.body = spool.Body{Dir: into.Dir(), Made: into.Given}
	for {
		ev, err := receive(ctx)
		if err != nil {
			return err
		}
		chunk, is := ev.(pagi.HTTPRequest)
		if !is {
			return request.ErrDisconnected
		}
		if len(chunk.Body) > 0 {
			if _, err := r.body.Write(chunk.Body); err != nil {
				return err
			}
		}
		if !chunk.More {
			return nil
		}
	}
}

// encode makes the REQUEST frame: the environment as PSGI wants it, then the body.
func (r *job) encode(scope *pagi.Scope, names *wire.NameTable) {
	r.Begin(names)
	length := r.body.Size()
	if length == 0 && !scope.Headers.Has("content-length") {
		length = -1 // a request without a body has no CONTENT_LENGTH
	}
	metavars.Each(scope, metavars.Options{ContentLength: length, Authorization: true}, r.Pair)
	r.Pair("psgi.url_scheme", scope.Scheme)
	if path := r.body.Path(); path != "" {
		r.BodyFile(path)
	} else {
		r.Body(r.body.Bytes())
	}
	r.pool.Names = r.Names()
	r.pool.Safe = isSafe(scope.Method) && r.body.Size() == 0
	r.pool.Running = slow.Of(scope)
	r.pool.ID, _ = scope.Value(scopekey.RequestID).(string)
	r.pool.Label = label(scope)
}

// label names a request in log records.
func label(scope *pagi.Scope) string { return scope.Method + " " + scope.RootPath + scope.Path }

// isSafe reports whether a method is safe (RFC 9110 section 9.2.1).
func isSafe(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE":
		return true
	}
	return false
}

// done gives the request back once nothing refers to it any more.
func (r *job) done() error {
	err := r.body.Close()
	if err != nil {
		err = fmt.Errorf("remove a spooled body: %w", err)
	}
	r.pool.Turn = nil
	r.pool.Running = nil
	jobs.Put(r)
	return err
}
