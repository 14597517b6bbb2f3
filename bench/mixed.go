package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"time"
)

const mixedApp = `
sub {
	select undef, undef, undef, 0.5 if $_[0]{PATH_INFO} eq '/slow';
	return [200, ['Content-Type' => 'text/plain', 'Content-Length' => 11], ['Hello World']];
}
`

const mixedWorkers = 4

// get is a request for a path as it is on the wire.
func get(path string) []byte { return []byte("GET " + path + " HTTP/1.1\r\nHost: bench\r\n\r\n") }

// loadFor runs clients against a URL for some seconds.
func loadFor(seconds, clients int, url string, next plan) *tally {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(seconds)*time.Second)
	defer cancel()
	return generate(ctx, strings.TrimPrefix(url, "http://"), clients, next)
}

// mixed measures quick requests of which one in fifty is a slow one: from clients
// that ask again at once, so that the workers always have more than they can do, and
// from clients that pause as people do.
func (b *bench) mixed() error {
	app, err := b.write("mixed.psgi", mixedApp)
	if err != nil {
		return err
	}
	bouts, err := b.those([]bout{
		{contestant: ours, app: app, workers: mixedWorkers, connections: b.conns},
		{contestant: nginxUWSGI, app: app, workers: mixedWorkers, connections: b.conns},
		{contestant: starman, app: app, workers: mixedWorkers, connections: b.conns},
		{contestant: starmanClosing, app: app, workers: mixedWorkers, connections: b.conns},
		{contestant: ours, app: app, workers: mixedWorkers, connections: mixedWorkers, rival: 4},
		{contestant: starman, app: app, workers: mixedWorkers, connections: mixedWorkers, rival: 4},
	})
	if err != nil {
		return err
	}
	fmt.Printf("%d rounds of %d s, 1 request in 50 takes 500 ms; latencies are those of the others; medians\n\n", b.rounds, b.seconds)
	for _, pause := range []time.Duration{0, 500 * time.Millisecond} {
		results, err := rounds(b, bouts, func(x *bout, url string, _ []*exec.Cmd) (*tally, error) {
			return loadFor(b.seconds, x.connections, url, func(random *rand.Rand) order {
				o := order{kind: "quick", request: get("/")}
				if random.IntN(50) == 0 {
					o = order{kind: "slow", request: get("/slow")}
				}
				if pause > 0 {
					o.pause = time.Duration(random.Int64N(int64(2 * pause)))
				}
				return o
			}), nil
		})
		if err != nil {
			return err
		}
		fmt.Printf("Pauses of %v between the requests of a client:\n\n", pause)
		mixedTable(bouts, results)
	}
	return nil
}

func mixedTable(bouts []bout, results [][]*tally) {
	p99 := func(t *tally) float64 { return float64(t.percentile("quick", 0.99)) }
	fmt.Println("| | connections | requests/s | quick p50 | p90 | p99 | failed | its rival | p99 |")
	fmt.Println("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |")
	for i, x := range bouts {
		list := results[i]
		fmt.Printf("| %s | %d | %.0f |", x.title(), x.connections,
			median(list, func(t *tally) float64 { return float64(t.requests()) / t.whole.Seconds() }))
		for _, part := range []float64{0.5, 0.9, 0.99} {
			fmt.Printf(" %v |", medianTime(list, func(t *tally) time.Duration { return t.percentile("quick", part) }))
		}
		fmt.Printf(" %.0f |", median(list, func(t *tally) float64 { return float64(t.failures()) }))
		if x.rival == i {
			fmt.Println(" | |")
			continue
		}
		fmt.Printf(" %s | %.2fx |\n", bouts[x.rival].title(), ratio(results[x.rival], list, p99))
	}
	fmt.Println()
}
