package vitals

import (
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
)

// Service is a program that is kept running beside the site.
type Service struct {
	Service string `json:"service"`
	State   string `json:"state"` // see status.Service
	PID     int    `json:"pid,omitempty"`
	// For is how many seconds it has been running, StartsIn in how many it is started again; nil where it is not.
	For      *float64 `json:"for,omitempty"`
	StartsIn *float64 `json:"starts_in,omitempty"`
	Restarts int      `json:"restarts"`
}

// Job is a program or code on a schedule.
type Job struct {
	Job string `json:"job"`
	// State is running or waiting.
	State string `json:"state"`
	PID   int    `json:"pid,omitempty"`
	// For is how many seconds it has been running, nil where it is not.
	For *float64 `json:"for,omitempty"`
	// NextIn is in how many seconds it is due, LastRun how many ago its last run that has ended began, LastTook how long that
	// one took; nil for none.
	NextIn   *float64 `json:"next_in,omitempty"`
	LastRun  *float64 `json:"last_run,omitempty"`
	LastTook *float64 `json:"last_took,omitempty"`
	Runs     int      `json:"runs"`
	Failures int      `json:"failures"`
	Skipped  int      `json:"skipped"`
}

// addBeside adds what runs beside the site.
func (v *View) addBeside(g *status.Gateway, now time.Time) {
	for i := range g.Services {
		s := &g.Services[i]
		v.Services = append(v.Services, Service{
			Service: s.Service, State: s.State, PID: s.PID, For: secondsSince(now, s.Since), StartsIn: secondsUntil(now, s.NextStart), Restarts: s.Restarts,
		})
	}
	for i := range g.Cron {
		j := &g.Cron[i]
		job := Job{
			Job: j.Job, State: "waiting", PID: j.PID, For: secondsSince(now, j.Since), NextIn: secondsUntil(now, j.Next), LastRun: secondsSince(now, j.LastRun),
			Runs: j.Runs, Failures: j.Failures, Skipped: j.Skipped,
		}
		if j.PID != 0 {
			job.State = "running"
		}
		if !j.LastRun.IsZero() {
			took := time.Duration(j.LastSeconds).Seconds()
			job.LastTook = &took
		}
		v.Jobs = append(v.Jobs, job)
	}
}

// secondsSince is how long ago a moment was, nil for no moment.
func secondsSince(now, then time.Time) *float64 {
	if then.IsZero() {
		return nil
	}
	s := max(0, now.Sub(then).Seconds())
	return &s
}

// secondsUntil is how far away a moment is, nil for no moment.
func secondsUntil(now, then time.Time) *float64 {
	if then.IsZero() {
		return nil
	}
	s := max(0, then.Sub(now).Seconds())
	return &s
}
