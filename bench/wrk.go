package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// load is what one run says.
type load struct {
	rate     float64 // requests per second
	errors   float64
	p50, p99 time.Duration
	cpu      time.Duration // of the whole machine, the client's included, per request
	own      time.Duration // of the contestant's processes, per request; 0 where it was not measured
}

// wrkGrace is how much longer than it was told to run wrk may take.
const wrkGrace = 5 * time.Second

var (
	wrkCount  = regexp.MustCompile(`(\d+) requests in`)
	wrkRate   = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	wrkP50    = regexp.MustCompile(`50%\s+([\d.]+)(us|ms|s)`)
	wrkP99    = regexp.MustCompile(`99%\s+([\d.]+)(us|ms|s)`)
	wrkErrors = regexp.MustCompile(`Non-2xx or 3xx responses:\s+(\d+)`)
	wrkSocket = regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
)

// wrk runs the program of this name. It does not end by itself when it cannot even
// connect; then nothing was served and every connection failed. headers are sent with every request.
func (b *bench) wrk(url string, connections, seconds int, headers ...string) (l load, err error) {
	busy, err := busyTime()
	if err != nil {
		return l, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(seconds)*time.Second+wrkGrace)
	defer cancel()
	args := []string{"-t1", fmt.Sprintf("-c%d", connections), fmt.Sprintf("-d%d", seconds), "--latency", url}
	for _, h := range headers {
		args = append(args, "-H", h)
	}
	out, err := exec.CommandContext(ctx, "wrk", args...).Output()
	if ctx.Err() != nil {
		l.errors = float64(connections)
		return l, nil
	}
	if err != nil {
		return l, fmt.Errorf("wrk (apt-get install wrk): %w", err)
	}
	after, err := busyTime()
	if err != nil {
		return l, err
	}
	count, err := number(wrkCount, out)
	if err != nil {
		return l, err
	}
	l.cpu = time.Duration(float64(after-busy) / max(count, 1))
	if l.rate, err = number(wrkRate, out); err != nil {
		return l, err
	}
	for p, pattern := range map[*time.Duration]*regexp.Regexp{&l.p50: wrkP50, &l.p99: wrkP99} {
		if m := pattern.FindSubmatch(out); m != nil {
			if *p, err = time.ParseDuration(string(m[1]) + string(m[2])); err != nil {
				return l, err
			}
		}
	}
	for _, pattern := range []*regexp.Regexp{wrkErrors, wrkSocket} {
		if m := pattern.FindSubmatch(out); m != nil {
			for _, n := range m[1:] {
				count, err := strconv.ParseFloat(string(n), 64)
				if err != nil {
					return l, err
				}
				l.errors += count
			}
		}
	}
	return l, nil
}

func number(pattern *regexp.Regexp, out []byte) (float64, error) {
	m := pattern.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("wrk said nothing like %v:\n%s", pattern, out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}
