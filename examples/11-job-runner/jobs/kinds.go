// Package jobs is a queue of jobs. Its pieces: kinds.go what a job can be, queue.go the jobs and who runs them,
// site.go the API, the event stream of a job and the WebSocket of the page.
package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"time"
)

// kind is a sort of job.
type kind struct {
	Name        string  `json:"name"`
	Description string  `json:"description"`
	Params      []param `json:"params"`

	run func(w *work) (any, error)
}

// param is a parameter of a job.
type param struct {
	Name        string `json:"name"`
	Type        string `json:"type"` // "integer" or "string"
	Default     any    `json:"default"`
	Min         int    `json:"min,omitempty"`
	Max         int    `json:"max,omitempty"`
	MaxLength   int    `json:"max_length,omitempty"`
	Description string `json:"description"`
}

// work is what a running job has.
type work struct {
	ctx      context.Context // ends when the job is cancelled or the process stops
	second   time.Duration
	params   map[string]any
	progress func(percent int, text string)
}

// sleep waits for a part of a second.
func (w *work) sleep(seconds float64) error {
	select {
	case <-time.After(time.Duration(seconds * float64(w.second))):
		return nil
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

func (w *work) number(name string) int { n, _ := w.params[name].(int); return n }

var kinds = []kind{
	{"countdown", "Count down the seconds", []param{
		{Name: "seconds", Type: "integer", Default: 10, Min: 1, Max: 60, Description: "How many seconds"},
	}, countdown},
	{"prime", "Find the prime numbers up to a limit", []param{
		{Name: "limit", Type: "integer", Default: 1000, Min: 10, Max: 100000, Description: "The limit"},
	}, primes},
	{"fibonacci", "Compute Fibonacci numbers", []param{
		{Name: "count", Type: "integer", Default: 20, Min: 5, Max: 50, Description: "How many numbers"},
	}, fibonacci},
	{"echo", "Repeat a message after a while", []param{
		{Name: "message", Type: "string", Default: "Hello, World!", MaxLength: 200, Description: "The message"},
		{Name: "delay", Type: "integer", Default: 3, Min: 1, Max: 30, Description: "After how many seconds"},
	}, echo},
}

func countdown(w *work) (any, error) {
	seconds := w.number("seconds")
	for left := seconds; left > 0; left-- {
		w.progress(100*(seconds-left)/seconds, fmt.Sprintf("%d s left", left))
		if err := w.sleep(1); err != nil {
			return nil, err
		}
	}
	return map[string]any{"message": "The countdown is over.", "duration": seconds}, nil
}

func primes(w *work) (any, error) {
	limit, last := w.number("limit"), 0
	var found []int
	for n := 2; n <= limit; n++ {
		prime := true
		for d := 2; d*d <= n && prime; d++ {
			prime = n%d != 0
		}
		if prime {
			found = append(found, n)
		}
		if percent := 100 * (n - 1) / (limit - 1); percent >= last+5 {
			last = percent
			w.progress(percent, fmt.Sprintf("%d primes up to %d", len(found), n))
			if err := w.sleep(0.01); err != nil {
				return nil, err
			}
		}
	}
	return map[string]any{
		"message":     fmt.Sprintf("There are %d primes up to %d.", len(found), limit),
		"prime_count": len(found), "largest": found[len(found)-1], "sample": found[:min(10, len(found))],
	}, nil
}

func fibonacci(w *work) (any, error) {
	count, sequence := w.number("count"), []int{0, 1}
	for i := 2; i < count; i++ {
		sequence = append(sequence, sequence[i-1]+sequence[i-2])
		w.progress(100*i/(count-1), fmt.Sprintf("number %d is %d", i, sequence[i]))
		if err := w.sleep(0.1); err != nil {
			return nil, err
		}
	}
	return map[string]any{"message": fmt.Sprintf("%d numbers", count), "count": count, "sequence": sequence, "last": sequence[count-1]}, nil
}

func echo(w *work) (any, error) {
	delay := w.number("delay")
	for i := range delay {
		w.progress(100*i/delay, fmt.Sprintf("%d s left", delay-i))
		if err := w.sleep(1); err != nil {
			return nil, err
		}
	}
	return map[string]any{"message": w.params["message"], "echoed": w.params["message"], "delay": delay}, nil
}

// find returns a kind and the parameters for it, with defaults for those that are missing. The error is for the
// client.
func find(name string, given map[string]any) (kind, map[string]any, error) {
	for _, k := range kinds {
		if k.Name != name {
			continue
		}
		params := maps.Clone(given)
		if params == nil {
			params = map[string]any{}
		}
		for _, p := range k.Params {
			value, err := p.value(given[p.Name])
			if err != nil {
				return kind{}, nil, err
			}
			params[p.Name] = value
		}
		return k, params, nil
	}
	return kind{}, nil, fmt.Errorf("unknown job type: %s", name)
}

// value checks what a client has sent.
func (p param) value(given any) (any, error) {
	if given == nil {
		return p.Default, nil
	}
	if p.Type == "string" {
		text, ok := given.(string)
		switch {
		case !ok || text == "":
			return nil, fmt.Errorf("parameter %q must be a text", p.Name)
		case len(text) > p.MaxLength:
			return nil, fmt.Errorf("parameter %q may have %d bytes", p.Name, p.MaxLength)
		}
		return text, nil
	}
	n, err := strconv.Atoi(fmt.Sprint(given))
	if _, number := given.(json.Number); err != nil || !number && !isText(given) {
		return nil, fmt.Errorf("parameter %q must be a whole number", p.Name)
	}
	if n < p.Min || n > p.Max {
		return nil, fmt.Errorf("parameter %q must be %d to %d", p.Name, p.Min, p.Max)
	}
	return n, nil
}

func isText(v any) bool { _, ok := v.(string); return ok }
