package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os/exec"
)

// loadedScript loads an application, says so and waits.
const loadedScript = `
use strict; use warnings;
our $app = do $ARGV[0] or die $@ || $!;
$| = 1; print "loaded\n"; readline STDIN;
`

// rest measures memory at rest: of the gateway, and of an idle worker beyond a perl that has loaded
// only the application. Shared pages are divided among the processes that share them (PSS). So the
// workers are compared with the same number of perls.
func (b *bench) rest() error {
	app, err := b.write("hello.psgi", helloApp)
	if err != nil {
		return err
	}
	script, err := b.write("loaded.pl", loadedScript)
	if err != nil {
		return err
	}
	const workers = 8
	var gateway, resident, worker, bare []int64
	for range b.rounds {
		err := b.serve(ours, setup{app: app, workers: workers}, func(url string, processes []*exec.Cmd) error {
			pid := processes[0].Process.Pid
			pss, err := b.restingPSS(url, pid)
			if err != nil {
				return err
			}
			rss, err := kilobytes(pid, "status", "VmRSS")
			if err != nil {
				return err
			}
			gateway, resident = append(gateway, pss), append(resident, rss)
			pids, err := workersOf(pid)
			if err != nil {
				return err
			}
			if len(pids) != workers {
				return fmt.Errorf("%d workers, want %d", len(pids), workers)
			}
			mean, err := meanPSS(pids)
			worker = append(worker, mean)
			return err
		})
		if err != nil {
			return err
		}
		mean, err := barePerls(script, app, workers)
		if err != nil {
			return err
		}
		bare = append(bare, mean)
	}
	mib := func(list []int64) float64 {
		return median(list, func(n int64) float64 { return float64(n) }) / (1 << 20)
	}
	fmt.Printf("%d rounds, after a load of a second; medians\n\n", b.rounds)
	fmt.Println("| | MiB |")
	fmt.Println("| --- | ---: |")
	fmt.Printf("| the gateway (PSS) | %.1f |\n| the same (RSS) | %.1f |\n", mib(gateway), mib(resident))
	fmt.Printf("| a worker (PSS, of %d) | %.1f |\n| a perl with the application (PSS, of %d) | %.1f |\n", workers, mib(worker), workers, mib(bare))
	fmt.Printf("| a worker beyond that | %.1f |\n", mib(worker)-mib(bare))
	return nil
}

// restingPSS returns a gateway's memory after a load of a second.
func (b *bench) restingPSS(url string, pid int) (int64, error) {
	total := loadFor(1, b.conns, url, func(*rand.Rand) order { return order{kind: "GET", request: get("/")} })
	if n := total.failures(); n > 0 {
		return 0, fmt.Errorf("%d requests failed: %v", n, total.failed)
	}
	return kilobytes(pid, "smaps_rollup", "Pss")
}

func meanPSS(pids []int) (int64, error) {
	var sum int64
	for _, pid := range pids {
		pss, err := kilobytes(pid, "smaps_rollup", "Pss")
		if err != nil {
			return 0, err
		}
		sum += pss
	}
	return sum / int64(len(pids)), nil
}

// barePerls starts perls that only load the application and returns their mean PSS.
func barePerls(script, app string, n int) (mean int64, err error) {
	var pids []int
	for range n {
		cmd := exec.Command("perl", script, app)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			return 0, err
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			return 0, err
		}
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		defer func() {
			_ = stdin.Close() // which ends it
			_ = cmd.Wait()    // its exit status does not matter
		}()
		if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
			return 0, fmt.Errorf("perl %s: %w", script, err)
		}
		pids = append(pids, cmd.Process.Pid)
	}
	return meanPSS(pids)
}
