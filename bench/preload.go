package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"sync"
)

const (
	preloadWorkers  = 5
	preloadRequests = 2000
)

// preload measures the memory that forking the workers saves. It compares the proportional set size
// (shared memory counts in equal parts) of all Perl processes of a Catalyst application, when they
// have started and after some requests.
func (b *bench) preload() error {
	app, err := filepath.Abs("testdata/apps/catalyst.psgi")
	if err != nil {
		return err
	}
	fmt.Printf("Catalyst, %d workers, PSS of all Perl processes together:\n\n", preloadWorkers)
	fmt.Println("| | processes | started | per worker | after requests | per worker |")
	fmt.Println("| --- | ---: | ---: | ---: | ---: | ---: |")
	for _, way := range []struct {
		name string
		args []string
	}{
		{"each loads the application", nil},
		{"`preload`", []string{"--preload"}},
	} {
		ours := contestant{name: way.name, start: func(b *bench, s setup) ([]*exec.Cmd, error) {
			cmd := b.gateway(s)
			cmd.Args = append(cmd.Args, way.args...)
			return launch(cmd)
		}}
		err := b.serve(ours, setup{app: app, workers: preloadWorkers}, func(url string, processes []*exec.Cmd) error {
			gateway := processes[0].Process.Pid
			count, before, err := descendantsPSS(gateway)
			if err != nil {
				return err
			}
			if err := askMany(url, preloadRequests); err != nil {
				return err
			}
			_, after, err := descendantsPSS(gateway)
			if err != nil {
				return err
			}
			mib := func(n int64) float64 { return float64(n) / (1 << 20) }
			fmt.Printf("| %s | %d | %.1f MiB | %.1f MiB | %.1f MiB | %.1f MiB |\n", way.name, count,
				mib(before), mib(before)/preloadWorkers, mib(after), mib(after)/preloadWorkers)
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", way.name, err)
		}
	}
	return nil
}

// askMany sends n requests, so many at a time that all workers are busy.
func askMany(url string, n int) error {
	errs := make([]error, 2*preloadWorkers)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for range n / len(errs) {
				res, err := http.Get(url)
				if err == nil {
					_, err = io.Copy(io.Discard, res.Body)
					err = errors.Join(err, res.Body.Close())
				}
				if err == nil && res.StatusCode != http.StatusOK {
					err = errors.New(res.Status)
				}
				if err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// descendantsPSS counts the processes below one, and sums up their memory in bytes.
func descendantsPSS(root int) (count int, sum int64, err error) {
	pids, err := descendants(root)
	if err != nil {
		return 0, 0, err
	}
	for _, pid := range pids {
		n, err := kilobytes(pid, "smaps_rollup", "Pss")
		if err != nil {
			return 0, 0, err
		}
		sum += n
	}
	return len(pids), sum, nil
}
