package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// unrestApp takes a few milliseconds for some requests, so that there is always a
// worker in one.
const unrestApp = `
sub {
	my $e = shift;
	select undef, undef, undef, 0.005 if $e->{PATH_INFO} eq '/work';
	return [200, ['Content-Type' => 'text/plain'], ['Hello World']];
}
`

var unrestOrders = []order{
	{kind: "GET", request: get("/")},
	{kind: "GET", request: get("/")},
	{kind: "GET that works", request: get("/work")},
	{kind: "POST that works", request: []byte("POST /work HTTP/1.1\r\nHost: bench\r\nContent-Length: 3\r\n\r\na=b")},
}

// unrest runs a load for the benchmark's time, calls disturb in intervals with the
// gateway's process, and returns what came of it and the gateway's log.
func (b *bench) unrest(interval time.Duration, disturb func(gateway int) error) (total *tally, log []byte, err error) {
	app, err := b.write("unrest.psgi", unrestApp)
	if err != nil {
		return nil, nil, err
	}
	path := filepath.Join(b.dir, "log")
	noisy := contestant{name: ours.name, start: func(b *bench, s setup) ([]*exec.Cmd, error) {
		file, err := os.Create(path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }() // the child has its own
		cmd := b.gateway(s)
		cmd.Stderr = file
		return launch(cmd)
	}}
	err = b.serve(noisy, setup{app: app, workers: b.workers}, func(url string, processes []*exec.Cmd) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(b.seconds)*time.Second)
		defer cancel()
		disturbed := make(chan error, 1)
		go func() {
			ticker := time.NewTicker(interval)
			defer ticker.Stop()
			for {
				select {
				case <-ctx.Done():
					disturbed <- nil
					return
				case <-ticker.C:
				}
				if err := disturb(processes[0].Process.Pid); err != nil {
					cancel()
					disturbed <- err
					return
				}
			}
		}()
		total = generate(ctx, strings.TrimPrefix(url, "http://"), b.conns, func(random *rand.Rand) order {
			return unrestOrders[random.IntN(len(unrestOrders))]
		})
		return <-disturbed
	})
	if err != nil {
		return nil, nil, err
	}
	log, err = os.ReadFile(path)
	return total, log, err
}

// kill kills a random worker each second.
func (b *bench) kill() error {
	kills := 0
	random := rand.New(rand.NewPCG(20, 26))
	total, log, err := b.unrest(time.Second, func(gateway int) error {
		workers, err := workersOf(gateway)
		if err != nil || len(workers) == 0 {
			return err // the next one is about to start
		}
		if err := syscall.Kill(workers[random.IntN(len(workers))], syscall.SIGKILL); err != nil {
			if errors.Is(err, syscall.ESRCH) {
				return nil
			}
			return err
		}
		kills++
		return nil
	})
	if err != nil {
		return err
	}
	inside := bytes.Count(log, []byte("the worker died in a request"))
	fmt.Printf("%d s, %d connections, %d workers: %d workers were killed, %d of them in a request\n\n", b.seconds, b.conns, b.workers, kills, inside)
	b.unrestTable(total)
	fmt.Printf("\nbeyond those in the killed workers: %d\n", max(0, total.failures()-inside))
	return nil
}

// reload sends HUP every five seconds, or four times in a shorter run.
func (b *bench) reload() error {
	reloads := 0
	var before []int
	interval := min(5*time.Second, time.Duration(b.seconds)*time.Second/4)
	total, _, err := b.unrest(interval, func(gateway int) error {
		workers, err := workersOf(gateway)
		switch {
		case err != nil:
			return err
		case len(workers) == 0:
			return fmt.Errorf("no worker is left after reload %d", reloads)
		case reloads > 0:
			for _, pid := range before {
				if slices.Contains(workers, pid) {
					return fmt.Errorf("worker %d is still there %v after the reload", pid, interval)
				}
			}
		}
		before = workers
		reloads++
		return syscall.Kill(gateway, syscall.SIGHUP)
	})
	if err != nil {
		return err
	}
	fmt.Printf("%d s, %d connections, %d workers: %d reloads\n\n", b.seconds, b.conns, b.workers, reloads)
	b.unrestTable(total)
	return nil
}

// unrestTable prints what came of each kind of request, and of the failed ones.
func (b *bench) unrestTable(total *tally) {
	fmt.Println("| | answered | p50 | p99 | longest |")
	fmt.Println("| --- | ---: | ---: | ---: | ---: |")
	for _, kind := range slices.Sorted(maps.Keys(total.took)) {
		fmt.Printf("| %s | %d | %v | %v | %v |\n", kind, len(total.took[kind]),
			round(total.percentile(kind, 0.5)), round(total.percentile(kind, 0.99)), round(total.percentile(kind, 1)))
	}
	for _, what := range slices.Sorted(maps.Keys(total.failed)) {
		fmt.Printf("| **failed:** %s | %d | | | |\n", what, total.failed[what])
	}
	fmt.Printf("\n%d of %d requests failed\n", total.failures(), total.requests())
}
