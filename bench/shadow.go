package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"time"
)

// shadow measures what a shadow that copies a tenth of the requests costs the application that
// answers: a PSGI application, and a file. The application that gets the copies is a native one that
// answers the same, so that little but the shadow itself is measured.
func (b *bench) shadow() error {
	app, err := b.write("hello.psgi", helloApp)
	if err != nil {
		return err
	}
	if _, err := b.write("hello.txt", "Hello World"); err != nil {
		return err
	}
	fmt.Printf("%d rounds of %d s in the order without, with, with, without; wrk -t1 -c%d; medians\n\n", b.rounds, b.seconds, b.conns)
	fmt.Println("| | without | with a shadow, 10 % | rate | p99 | CPU per request, all processes |")
	fmt.Println("| --- | ---: | ---: | ---: | ---: | ---: |")
	second := `not_found: {status: 200, body: Hello World, content_type: text/plain}`
	for _, kind := range []struct{ name, first, path string }{
		{"PSGI", fmt.Sprintf("psgi: %s, workers: %d", app, b.workers), "/"},
		{"a file", fmt.Sprintf("file: %s", filepath.Dir(app)), "/hello.txt"},
	} {
		start := func(mount string) func(*bench, setup) ([]*exec.Cmd, error) {
			return func(b *bench, s setup) ([]*exec.Cmd, error) {
				return b.launchSite(s, "access_log: \"off\"\nmounts: ["+mount+"]\n")
			}
		}
		bouts := [2]bout{
			{contestant: contestant{name: "without", start: start("{" + kind.first + "}"), ready: kind.path}, connections: b.conns},
			{contestant: contestant{name: "with", start: start("{shadow: [{" + kind.first + "}, {" + second + "}], sample: 10}"), ready: kind.path}, connections: b.conns},
		}
		results, err := abba(b.rounds, fresh(b, bouts, func(x *bout, url string, processes []*exec.Cmd) (load, error) {
			return b.throughput(x, url+kind.path, processes)
		}), meanLoad)
		if err != nil {
			return err
		}
		rate := func(l load) float64 { return l.rate }
		cpu := func(l load) time.Duration { return l.cpu }
		fmt.Printf("| %s | %.0f | %.0f | %.3fx | %.2fx | %v, %v |\n", kind.name, median(results[0], rate), median(results[1], rate),
			ratio(results[1], results[0], rate), ratio(results[1], results[0], func(l load) float64 { return float64(l.p99) }),
			medianTime(results[0], cpu), medianTime(results[1], cpu))
	}
	return nil
}
