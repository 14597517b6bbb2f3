package main

import (
	"fmt"
	"os/exec"
	"strings"
	"time"
)

const idleConnections = 1000

// idle measures the load of hello alone, and beside 1000 clients that have asked
// once, or still wait to be answered, and keep their connection.
func (b *bench) idle() error {
	app, err := b.write("hello.psgi", helloApp)
	if err != nil {
		return err
	}
	bouts, err := b.those([]bout{
		{contestant: ours, app: app, workers: b.workers, connections: b.conns, rival: 0},
		{contestant: starman, app: app, workers: b.workers, connections: b.workers, rival: 1},
		{contestant: modPerl, app: app, workers: b.conns, connections: b.conns, rival: 2},
	})
	if err != nil {
		return err
	}
	type pair struct {
		alone, beside load
		answered      int
	}
	results, err := rounds(b, bouts, func(x *bout, url string, _ []*exec.Cmd) (p pair, err error) {
		if p.alone, err = b.throughput(x, url, nil); err != nil {
			return p, err
		}
		guests := newGuests(strings.TrimPrefix(url, "http://"), idleConnections)
		p.beside, err = b.wrk(url, x.connections, b.seconds)
		p.answered, _ = guests.leave()
		return p, err
	})
	if err != nil {
		return err
	}
	fmt.Printf("%d rounds of %d s, wrk -t1; medians\n\n", b.rounds, b.seconds)
	fmt.Printf("| | workers | connections | alone | beside %d idle ones | beside / alone | p99 alone | p99 beside | errors | idle ones answered |\n", idleConnections)
	fmt.Println("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	for i, x := range bouts {
		list := results[i]
		var ratios []float64
		for _, p := range list {
			ratios = append(ratios, p.beside.rate/p.alone.rate)
		}
		fmt.Printf("| %s | %d | %d | %.0f | %.0f | %.2f | %v | %v | %.0f | %.0f |\n", x.title(), x.workers, x.connections,
			median(list, func(p pair) float64 { return p.alone.rate }),
			median(list, func(p pair) float64 { return p.beside.rate }),
			median(ratios, func(x float64) float64 { return x }),
			medianTime(list, func(p pair) time.Duration { return p.alone.p99 }),
			medianTime(list, func(p pair) time.Duration { return p.beside.p99 }),
			median(list, func(p pair) float64 { return p.beside.errors }),
			median(list, func(p pair) float64 { return float64(p.answered) }))
	}
	return nil
}
