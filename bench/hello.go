package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"time"
)

const helloApp = `sub { [200, ['Content-Type' => 'text/plain', 'Content-Length' => 11], ['Hello World']] }
`

// load is what one run of wrk says.
type load struct {
	rate, errors float64
	p50, p99     time.Duration
}

var (
	wrkRate   = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	wrkP50    = regexp.MustCompile(`50%\s+([\d.]+)(us|ms|s)`)
	wrkP99    = regexp.MustCompile(`99%\s+([\d.]+)(us|ms|s)`)
	wrkErrors = regexp.MustCompile(`Non-2xx or 3xx responses:\s+(\d+)`)
	wrkSocket = regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
)

func (b *bench) wrk(url string, connections int) (load, error) {
	out, err := exec.Command("wrk", "-t1", fmt.Sprintf("-c%d", connections), fmt.Sprintf("-d%d", b.seconds), "--latency", url).Output()
	if err != nil {
		return load{}, fmt.Errorf("wrk (apt-get install wrk): %w", err)
	}
	var l load
	if m := wrkRate.FindSubmatch(out); m != nil {
		l.rate, err = strconv.ParseFloat(string(m[1]), 64)
	}
	for p, pattern := range map[*time.Duration]*regexp.Regexp{&l.p50: wrkP50, &l.p99: wrkP99} {
		if m := pattern.FindSubmatch(out); m != nil && err == nil {
			*p, err = time.ParseDuration(string(m[1]) + string(m[2]))
		}
	}
	for _, pattern := range []*regexp.Regexp{wrkErrors, wrkSocket} {
		if m := pattern.FindSubmatch(out); m != nil && err == nil {
			for _, n := range m[1:] {
				count, e := strconv.ParseFloat(string(n), 64)
				l.errors += count
				err = e
			}
		}
	}
	return l, err
}

// hello measures a small answer. In each round every contestant runs once, from
// its start to its end, so that none profits from a quiet minute.
func (b *bench) hello() error {
	app, err := b.write("hello.psgi", helloApp)
	if err != nil {
		return err
	}
	list := b.available()
	results := make([][]load, len(list))
	for range b.rounds {
		for i, c := range list {
			err := b.serve(c, app, func(url string, _ []*exec.Cmd) error {
				connections := b.conns
				if c.connections != nil {
					connections = c.connections(b)
				}
				l, err := b.wrk(url, connections)
				results[i] = append(results[i], l)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	fmt.Printf("%d rounds of %d s, wrk -t1 -c%d, %d workers each; medians\n\n", b.rounds, b.seconds, b.conns, b.workers)
	fmt.Println("| | requests/s | p50 | p99 | errors | pagi-bridge is |")
	fmt.Println("| --- | ---: | ---: | ---: | ---: | ---: |")
	for i, c := range list {
		// The ratio is the median of the rounds' ratios, not the ratio of medians.
		var ratios []float64
		for r := range results[i] {
			ratios = append(ratios, results[0][r].rate/results[i][r].rate)
		}
		rate := median(results[i], func(l load) float64 { return l.rate })
		p50 := median(results[i], func(l load) float64 { return float64(l.p50) })
		p99 := median(results[i], func(l load) float64 { return float64(l.p99) })
		failed := median(results[i], func(l load) float64 { return l.errors })
		fmt.Printf("| %s | %.0f | %v | %v | %.0f | %.2fx |\n", c.name, rate, time.Duration(p50), time.Duration(p99), failed,
			median(ratios, func(x float64) float64 { return x }))
	}
	return nil
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
