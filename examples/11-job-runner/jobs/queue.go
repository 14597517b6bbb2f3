package jobs

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// The states of a job: pending, running, and then one of the other three.
const (
	pending   = "pending"
	running   = "running"
	completed = "completed"
	failed    = "failed"
	cancelled = "cancelled"
)

type progress struct {
	Percent int    `json:"percent"`
	Message string `json:"message"`
}

// job is a copy of what the queue knows of a job.
type job struct {
	ID        int            `json:"id"`
	Type      string         `json:"type"`
	Params    map[string]any `json:"params"`
	Status    string         `json:"status"`
	Progress  progress       `json:"progress"`
	Result    any            `json:"result"`
	Error     *string        `json:"error"`
	Created   float64        `json:"created_at"`
	Started   *float64       `json:"started_at"`
	Completed *float64       `json:"completed_at"`
}

func (j job) finished() bool { return j.Status != pending && j.Status != running }

// duration is how long a finished job has run, in seconds.
func (j job) duration() float64 {
	if j.Started == nil {
		return 0
	}
	return *j.Completed - *j.Started
}

// entry is a job in the queue.
type entry struct {
	job
	kind    kind
	cancel  context.CancelFunc // nil unless it runs
	changed chan struct{}      // closed at the next change
}

// object is a message as JSON.
type object map[string]any

// queue has the jobs. At most capacity of them run at once.
type queue struct {
	capacity int
	second   time.Duration

	mu        sync.Mutex
	ctx       context.Context // of the jobs; nil before the startup and after the shutdown
	stop      context.CancelFunc
	jobs      []*entry // in the order of their ids
	lastID    int
	active    int
	processed int
	listeners map[*func(object)]bool // are called with mu held
	running   sync.WaitGroup
}

func (q *queue) start() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ctx, q.stop = context.WithCancel(context.Background())
	q.fill()
}

// shutdown cancels the jobs and waits for them.
func (q *queue) shutdown() {
	q.mu.Lock()
	q.ctx = nil
	q.stop()
	q.mu.Unlock()
	q.running.Wait()
}

func now() float64 { return float64(time.Now().UnixMicro()) / 1e6 }

// add adds a job. The error is for the client.
func (q *queue) add(name string, given map[string]any) (job, error) {
	k, params, err := find(name, given)
	if err != nil {
		return job{}, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lastID++
	e := &entry{kind: k, changed: make(chan struct{}), job: job{
		ID: q.lastID, Type: name, Params: params, Status: pending, Progress: progress{0, "Queued"}, Created: now(),
	}}
	q.jobs = append(q.jobs, e)
	added := e.job
	q.tell("job_created", added)
	q.fill()
	return added, nil
}

// fill starts waiting jobs while there is room. The caller holds mu.
func (q *queue) fill() {
	for _, e := range q.jobs {
		if q.ctx == nil || q.active == q.capacity {
			return
		}
		if e.Status != pending {
			continue
		}
		began := now()
		e.Status, e.Started, e.Progress = running, &began, progress{0, "Starting"}
		q.active++
		ctx, cancel := context.WithCancel(q.ctx)
		e.cancel = cancel
		q.tell("job_started", object{"job_id": e.ID, "started_at": began})
		q.tell("worker_stats", q.worker())
		q.running.Go(func() { q.run(ctx, e) })
	}
}

func (q *queue) run(ctx context.Context, e *entry) {
	result, err := e.kind.run(&work{ctx, q.second, e.Params, func(percent int, text string) { q.progress(e, progress{percent, text}) }})
	q.mu.Lock()
	defer q.mu.Unlock()
	e.cancel()
	q.active--
	q.processed++
	switch {
	case e.Status == cancelled: // cancel has told it
	case errors.Is(err, context.Canceled): // the process stops
		q.end(e, cancelled)
	case err != nil:
		text := err.Error()
		e.Error = &text
		q.end(e, failed)
		q.tell("job_failed", object{"job_id": e.ID, "error": text})
	default:
		e.Result, e.Progress = result, progress{100, "Complete"}
		q.end(e, completed)
		q.tell("job_completed", object{"job_id": e.ID, "result": result, "duration": e.duration()})
	}
	q.tell("worker_stats", q.worker())
	q.fill()
}

// end gives a job its last state. The caller holds mu.
func (q *queue) end(e *entry, status string) {
	at := now()
	e.Status, e.Completed = status, &at
	e.change()
}

// change wakes those who watch the job. The caller holds mu.
func (e *entry) change() {
	close(e.changed)
	e.changed = make(chan struct{})
}

func (q *queue) progress(e *entry, p progress) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.Status != running {
		return
	}
	e.Progress = p
	e.change()
	q.tell("job_progress", object{"job_id": e.ID, "percent": p.Percent, "message": p.Message})
}

// cancel ends a job that has not finished; ok is false if it has. known is false if there is none.
func (q *queue) cancel(id int) (status string, ok, known bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.find(id)
	if e == nil {
		return "", false, false
	}
	if e.finished() {
		return e.Status, false, true
	}
	if e.cancel != nil {
		e.cancel()
	}
	q.end(e, cancelled)
	q.tell("job_cancelled", object{"job_id": id})
	return cancelled, true, true
}

// clear forgets the finished jobs.
func (q *queue) clear() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	before := len(q.jobs)
	q.jobs = slices.DeleteFunc(q.jobs, func(e *entry) bool { return e.finished() })
	q.tell("jobs_cleared", object{"count": before - len(q.jobs)})
	return before - len(q.jobs)
}

// find needs mu.
func (q *queue) find(id int) *entry {
	for _, e := range q.jobs {
		if e.ID == id {
			return e
		}
	}
	return nil
}

// watch returns a job and a channel that is closed when it has changed.
func (q *queue) watch(id int) (j job, changed <-chan struct{}, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.find(id)
	if e == nil {
		return job{}, nil, false
	}
	return e.job, e.changed, true
}

func (q *queue) all() []job {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.list()
}

// list, stats and worker need mu.
func (q *queue) list() []job {
	all := []job{}
	for _, e := range q.jobs {
		all = append(all, e.job)
	}
	return all
}

func (q *queue) stats() object {
	counts := object{pending: 0, running: 0, completed: 0, failed: 0, cancelled: 0, "total": len(q.jobs)}
	for _, e := range q.jobs {
		n, _ := counts[e.Status].(int)
		counts[e.Status] = n + 1
	}
	return counts
}

func (q *queue) worker() object {
	is := 0
	if q.ctx != nil {
		is = 1
	}
	return object{"active": q.active, "capacity": q.capacity, "processed": q.processed, "is_running": is}
}

// state is all that a page shows.
func (q *queue) state() object {
	return object{"type": "queue_state", "jobs": q.list(), "stats": q.stats(), "worker": q.worker(), "job_types": kinds}
}

// tell passes an event to all listeners. The caller holds mu.
func (q *queue) tell(name string, data any) {
	for listener := range q.listeners {
		(*listener)(object{"type": name, "data": data})
	}
}

// listen calls f with the state and then with each event, until stop is called. f must not wait.
func (q *queue) listen(f func(object)) (stop func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	f(q.state())
	q.listeners[&f] = true
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		delete(q.listeners, &f)
	}
}
