package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
)

// report collects what the tables say, for a file in JSON.
type report struct {
	CPUs    int    `json:"cpus"`
	Go      string `json:"go"`
	Kernel  string `json:"kernel"`
	Rounds  int    `json:"rounds"`
	Seconds int    `json:"seconds"`
	Rows    []row  `json:"rows"`
	// Aims are what aims found.
	Aims []verdict `json:"aims,omitempty"`
}

// row is a contestant in one case: medians of its rounds. The ratios to its rival are medians of each round's.
type row struct {
	Case        string    `json:"case"`
	Name        string    `json:"name"`
	Workers     int       `json:"workers,omitempty"`
	Connections int       `json:"connections"`
	Rate        float64   `json:"requests_per_second"`
	P50         float64   `json:"p50_ms"`
	P99         float64   `json:"p99_ms"`
	CPU         float64   `json:"cpu_us_per_request"`               // of the whole machine
	Own         float64   `json:"own_cpu_us_per_request,omitempty"` // of the contestant's processes
	Errors      float64   `json:"errors"`
	Rival       string    `json:"rival,omitempty"`
	RateRatio   float64   `json:"rate_ratio,omitempty"` // of this contestant to its rival
	RateRange   []float64 `json:"rate_range,omitempty"` // the least and the greatest ratio of a round
}

// add adds a row. Its figures are made of loads, and of the rival's if there is one.
func (r *report) add(x row, loads, rival []load) {
	x.Rate = median(loads, func(l load) float64 { return l.rate })
	x.P50 = median(loads, func(l load) float64 { return l.p50.Seconds() * 1e3 })
	x.P99 = median(loads, func(l load) float64 { return l.p99.Seconds() * 1e3 })
	x.CPU = median(loads, func(l load) float64 { return l.cpu.Seconds() * 1e6 })
	x.Own = median(loads, func(l load) float64 { return l.own.Seconds() * 1e6 })
	x.Errors = sumErrors(loads)
	if rival != nil {
		list := ratios(loads, rival, func(l load) float64 { return l.rate })
		x.RateRatio, x.RateRange = median(list, itself), []float64{slices.Min(list), slices.Max(list)}
	}
	r.Rows = append(r.Rows, x)
}

// write writes the report to a file.
func (r *report) write(path string) error {
	r.CPUs, r.Go, r.Kernel = runtime.NumCPU(), runtime.Version(), kernel()
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("results as JSON: %w", err)
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
