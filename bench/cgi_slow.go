package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"time"
)

const (
	sleepers    = 300
	sleepPlaces = 50
)

// sleeping is the result of one run beside a crowd of slow requests.
type sleeping struct {
	alone, beside  load
	tally          *tally
	before, during int64 // memory of the gateway, in bytes
}

// cgiSlow measures 300 clients at once of a script that sleeps for a second. At most 50 of these
// scripts may run at once. It also measures the other mounts of the site meanwhile.
func (b *bench) cgiSlow() error {
	dir, err := b.cgiDirectory()
	if err != nil {
		return err
	}
	limited := contestant{name: "pagi-bridge", ready: cgiReady, start: func(b *bench, s setup) ([]*exec.Cmd, error) {
		return b.cgiSite(s, fmt.Sprintf(", concurrency: %d", sleepPlaces))
	}}
	results, err := rounds(b, []bout{{contestant: limited, app: dir}}, func(_ *bout, url string, processes []*exec.Cmd) (r sleeping, err error) {
		pid := processes[0].Process.Pid
		if r.alone, err = b.wrk(url+"/other/hello.sh", cgiConnections, b.seconds); err != nil {
			return r, err
		}
		if r.before, err = kilobytes(pid, "status", "VmRSS"); err != nil {
			return r, err
		}
		address := strings.TrimPrefix(url, "http://")
		request := []byte("GET /cgi-bin/sleep.sh HTTP/1.1\r\nHost: " + address + "\r\n\r\n")
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan *tally)
		go func() {
			done <- generate(ctx, address, sleepers, func(*rand.Rand) order { return order{kind: "sleep", request: request, status: 200} })
		}()
		time.Sleep(time.Second) // until all have asked
		r.beside, err = b.wrk(url+"/other/hello.sh", cgiConnections, b.seconds)
		if err == nil {
			r.during, err = kilobytes(pid, "status", "VmHWM")
		}
		cancel()
		r.tally = <-done
		return r, err
	})
	if err != nil {
		return err
	}
	list := results[0]
	fmt.Printf("%d rounds of %d s; medians\n\n", b.rounds, b.seconds)
	mib := func(value func(sleeping) int64) float64 {
		return median(list, func(r sleeping) float64 { return float64(value(r)) }) / (1 << 20)
	}
	fmt.Printf("- %d clients of a script that sleeps 1 s, %d at once: %.0f answers, %.0f failures, half of them within %v, 99 %% within %v\n", sleepers, sleepPlaces,
		median(list, func(r sleeping) float64 { return float64(r.tally.requests()) }),
		median(list, func(r sleeping) float64 { return float64(r.tally.failures()) }),
		medianTime(list, func(r sleeping) time.Duration { return r.tally.percentile("sleep", 0.5) }),
		medianTime(list, func(r sleeping) time.Duration { return r.tally.percentile("sleep", 0.99) }))
	fmt.Printf("- memory of the gateway: %.1f MiB before, at most %.1f MiB during\n", mib(func(r sleeping) int64 { return r.before }), mib(func(r sleeping) int64 { return r.during }))
	fmt.Printf("- another script of the site: %.0f requests/s alone, %.0f beside them\n",
		median(list, func(r sleeping) float64 { return r.alone.rate }), median(list, func(r sleeping) float64 { return r.beside.rate }))
	for _, r := range list {
		for what, n := range r.tally.failed {
			fmt.Printf("- failed: %s: %d\n", what, n)
		}
	}
	return nil
}
