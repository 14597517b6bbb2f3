package jobs

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/pagi-go/pagi-bridge/examples/internal/look"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/response"
	"github.com/pagi-go/pagi-bridge/pagi/sse"
	"github.com/pagi-go/pagi-bridge/pagi/websocket"
)

//go:embed page.html
var page string

// New returns the application. It runs up to capacity jobs at once. second is what the jobs take for a second.
func New(capacity int, second time.Duration) pagi.App {
	q := &queue{capacity: capacity, second: second, listeners: map[*func(object)]bool{}}
	r := &endpoint.Router{}
	r.Get("/", look.Page(page))
	r.Get("/style.css", look.Style)
	r.Get("/api/stats", q.getStats)
	r.Get("/api/job-types", func(*endpoint.Context) (*response.Response, error) { return response.JSON(kinds), nil })
	r.Get("/api/jobs", func(*endpoint.Context) (*response.Response, error) { return response.JSON(q.all()), nil })
	r.Post("/api/jobs", q.postJob)
	r.Post("/api/jobs/clear-completed", func(*endpoint.Context) (*response.Response, error) {
		return response.JSON(object{"cleared": q.clear()}), nil
	})
	r.Get("/api/jobs/{id:[0-9]+}", q.getJob)
	r.Delete("/api/jobs/{id:[0-9]+}", q.deleteJob)
	r.SSE("/api/jobs/{id:[0-9]+}/progress", q.stream)
	r.WebSocket("/ws", q.talk)
	r.NotFound = endpoint.Func(func(c *endpoint.Context) (*response.Response, error) {
		return fail(404, "Not found: "+c.Path()), nil
	})
	var hooks lifespan.Hooks
	hooks.Startup = append(hooks.Startup, func(context.Context, map[string]any) error { q.start(); return nil })
	hooks.Shutdown = append(hooks.Shutdown, func(context.Context, map[string]any) error { q.shutdown(); return nil })
	return pagi.Chain(r, hooks)
}

func fail(status int, message string) *response.Response {
	return response.JSON(object{"error": message}).Status(status)
}

func (q *queue) getStats(*endpoint.Context) (*response.Response, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return response.JSON(object{"queue": q.stats(), "worker": q.worker()}), nil
}

// order is what a client asks for, by HTTP or by WebSocket.
type order struct {
	Type    string         `json:"type"`
	JobType string         `json:"job_type"`
	Params  map[string]any `json:"params"`
	JobID   int            `json:"job_id"`
	TS      any            `json:"ts"`
}

func parse(text []byte) (o order, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber() // so that 1.5 is not taken for a whole number
	err = dec.Decode(&o)
	return o, err
}

func (q *queue) postJob(c *endpoint.Context) (*response.Response, error) {
	body, err := c.Bytes()
	if err != nil {
		return nil, err
	}
	o, err := parse(body)
	if err != nil {
		return fail(400, "The body must be an object in JSON."), nil
	}
	if o.JobType == "" {
		return fail(400, "The field job_type is missing."), nil
	}
	j, err := q.add(o.JobType, o.Params)
	if err != nil {
		return fail(400, err.Error()), nil
	}
	return response.JSON(object{"id": j.ID, "type": j.Type, "params": j.Params, "status": j.Status, "created_at": j.Created}).Status(201), nil
}

// jobID is the number in the path, which the route has checked; 0 if it is too large for a job.
func jobID(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}

func (q *queue) getJob(c *endpoint.Context) (*response.Response, error) {
	j, _, ok := q.watch(jobID(c.Param("id")))
	if !ok {
		return fail(404, "Job not found: "+c.Param("id")), nil
	}
	return response.JSON(j), nil
}

func (q *queue) deleteJob(c *endpoint.Context) (*response.Response, error) {
	id := jobID(c.Param("id"))
	status, ok, known := q.cancel(id)
	switch {
	case !known:
		return fail(404, "Job not found: "+c.Param("id")), nil
	case !ok:
		return response.JSON(object{"error": "Cannot cancel job in status: " + status, "job_id": id}).Status(400), nil
	}
	return response.JSON(object{"success": true, "job_id": id}), nil
}

// stream sends the progress of a job until it has finished. A client that is behind gets the latest state only.
func (q *queue) stream(stream *sse.Stream) error {
	id := jobID(stream.Request().Param("id"))
	j, _, ok := q.watch(id)
	if !ok {
		return stream.Decline(fail(404, fmt.Sprintf("Job not found: %d", id)))
	}
	if err := stream.SendJSON("status", object{"id": j.ID, "type": j.Type, "status": j.Status, "progress": j.Progress, "started_at": j.Started}); err != nil {
		return err
	}
	for sent := j.Progress; ; {
		j, changed, ok := q.watch(id)
		switch {
		case !ok: // the finished job was cleared meanwhile
			return nil
		case j.finished():
			return sendEnd(stream, j)
		case j.Progress != sent:
			sent = j.Progress
			if err := stream.SendJSON("progress", sent); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-stream.Done():
			return nil
		}
	}
}

func sendEnd(stream *sse.Stream, j job) error {
	switch j.Status {
	case completed:
		return stream.SendJSON("complete", object{"status": j.Status, "result": j.Result, "duration": j.duration()})
	case failed:
		return stream.SendJSON("failed", object{"status": j.Status, "error": j.Error})
	}
	return stream.SendJSON("cancelled", object{"status": j.Status})
}

// talk is the WebSocket of a page. It gets the state and all events.
func (q *queue) talk(conn *websocket.Conn) error {
	if err := conn.Accept(websocket.Accept{}); err != nil {
		return err
	}
	if err := conn.KeepAlive(25*time.Second, 25*time.Second); err != nil {
		return err
	}
	stop := q.listen(func(o object) { conn.TrySendJSON(o) })
	conn.OnClose(func(*websocket.CloseError) { stop() })
	return conn.EachText(func(text string) error {
		o, err := parse([]byte(text))
		if err != nil {
			return nil // as if it were a type that is not known
		}
		if reply := q.obey(o); reply != nil {
			return conn.SendJSON(reply)
		}
		return nil
	})
}

// obey does what a page asks for, and returns the answer; nil if there is none.
func (q *queue) obey(o order) object {
	switch o.Type {
	case "create_job":
		if o.JobType == "" {
			return object{"type": "error", "message": "The field job_type is missing."}
		}
		j, err := q.add(o.JobType, o.Params)
		if err != nil {
			return object{"type": "error", "message": err.Error()}
		}
		return object{"type": "job_created_ack", "job_id": j.ID}
	case "cancel_job":
		status, ok, _ := q.cancel(o.JobID)
		if !ok {
			return object{"type": "error", "message": fmt.Sprintf("Cannot cancel job %d: %s", o.JobID, cmp.Or(status, "not found"))}
		}
		return object{"type": "job_cancelled_ack", "job_id": o.JobID, "success": true}
	case "clear_completed":
		return object{"type": "jobs_cleared_ack", "cleared": q.clear()}
	case "get_state":
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.state()
	case "get_job_types":
		return object{"type": "job_types", "job_types": kinds}
	case "ping":
		return object{"type": "pong", "ts": o.TS}
	}
	return nil
}
