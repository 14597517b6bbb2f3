package main

import (
	"fmt"
	"os/exec"
	"slices"
	"time"
)

// bout is a contestant in a benchmark.
type bout struct {
	contestant  contestant
	name        string // in the table; "" means the contestant's
	app         string // the application's file
	workers     int
	connections int
	preload     bool
	guests      int // clients that have asked once and stay, beside connections
	// rival is the bout, by its place in the list, that this one is compared with.
	rival int
}

func (x *bout) title() string {
	if x.name != "" {
		return x.name
	}
	return x.contestant.name
}

func (x *bout) setup() setup { return setup{app: x.app, workers: x.workers, preload: x.preload} }

// those returns the bouts whose contestants can run. A rival stands before the bouts that are
// compared with it, or is the bout itself, and must be able to run.
func (b *bench) those(bouts []bout) ([]bout, error) {
	here := map[string]bool{}
	var kept []bout
	place := make([]int, len(bouts))
	for i, x := range bouts {
		is, known := here[x.contestant.name]
		if !known {
			is = b.isHere(x.contestant)
			here[x.contestant.name] = is
		}
		if place[i] = -1; !is {
			continue
		}
		place[i] = len(kept)
		rival := &bouts[x.rival]
		if x.rival = place[x.rival]; x.rival < 0 {
			return nil, fmt.Errorf("%s is to be compared with %s, which is left out", x.title(), rival.title())
		}
		kept = append(kept, x)
	}
	return kept, nil
}

// rounds runs every bout once per round, from the contestant's start to its end, so that none
// profits from a quiet minute. It returns the results of measure for each bout.
func rounds[T any](b *bench, bouts []bout, measure func(x *bout, url string, processes []*exec.Cmd) (T, error)) ([][]T, error) {
	results := make([][]T, len(bouts))
	for range b.rounds {
		for i := range bouts {
			x := &bouts[i]
			err := b.serve(x.contestant, x.setup(), func(url string, processes []*exec.Cmd) error {
				result, err := measure(x, url, processes)
				results[i] = append(results[i], result)
				return err
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return results, nil
}

// table prints the medians of loads and how each bout's rival compares: the
// medians of the rounds' ratios, not the ratios of medians.
func (b *bench) table(bouts []bout, results [][]load) {
	fmt.Println("| | workers | connections | requests/s | p50 | p99 | errors | CPU per request | its rival | rate | p99 |")
	fmt.Println("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: |")
	for i, x := range bouts {
		list, rival := results[i], results[x.rival]
		workers := fmt.Sprint(x.workers)
		if x.workers == 0 {
			workers = ""
		}
		fmt.Printf("| %s | %s | %d | %.0f | %v | %v | %.0f | %v |", x.title(), workers, x.connections,
			median(list, func(l load) float64 { return l.rate }),
			medianTime(list, func(l load) time.Duration { return l.p50 }),
			medianTime(list, func(l load) time.Duration { return l.p99 }),
			median(list, func(l load) float64 { return l.errors }),
			medianTime(list, func(l load) time.Duration { return l.cpu }))
		entry := row{Case: b.name, Name: x.title(), Workers: x.workers, Connections: x.connections}
		if x.rival == i {
			b.report.add(entry, list, nil)
			fmt.Println(" | | |")
			continue
		}
		entry.Rival = bouts[x.rival].title()
		b.report.add(entry, list, rival)
		fmt.Printf(" %s | %.2fx | %.2fx |\n", bouts[x.rival].title(),
			ratio(rival, list, func(l load) float64 { return l.rate }),
			ratio(rival, list, func(l load) float64 { return float64(l.p99) }))
	}
}

// ratio is the median of the rounds' ratios of a's values to b's.
func ratio[T any](a, b []T, value func(T) float64) float64 {
	return median(ratios(a, b, value), itself)
}

// ratios are those of each round.
func ratios[T any](a, b []T, value func(T) float64) (list []float64) {
	for i := range b {
		list = append(list, value(a[i])/value(b[i]))
	}
	return list
}

func median[T any](list []T, value func(T) float64) float64 {
	values := make([]float64, len(list))
	for i, x := range list {
		values[i] = value(x)
	}
	slices.Sort(values)
	if n := len(values); n%2 == 0 {
		return (values[n/2-1] + values[n/2]) / 2
	}
	return values[len(values)/2]
}

func medianTime[T any](list []T, value func(T) time.Duration) time.Duration {
	return round(time.Duration(median(list, func(x T) float64 { return float64(value(x)) })))
}

// round keeps about three digits.
func round(d time.Duration) time.Duration {
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if d >= unit {
			return d.Round(unit / 100)
		}
	}
	return d
}
