package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

const (
	preloadWorkers  = 5
	preloadRequests = 2000
)

// preload measures what it saves that workers are forked: the proportional set size
// (memory that is shared counts in equal parts) of all Perl processes of a Catalyst
// application, when they have started and after some requests.
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
		ours := contestant{name: way.name, start: func(b *bench, app string, port int) ([]*exec.Cmd, error) {
			args := append([]string{"-q", "--no-access-log", "-E", "deployment", "-p", strconv.Itoa(port), "-w", strconv.Itoa(preloadWorkers)}, way.args...)
			return launch(exec.Command(b.binary, append(args, app)...))
		}}
		err := b.serve(ours, app, func(url string, processes []*exec.Cmd) error {
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

// askMany sends n requests, as many at a time as keep all workers busy.
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
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, 0, err
	}
	parent := map[int]int{}
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || len(stat) == 0 {
			continue // it has ended
		}
		// The name in parentheses may have anything in it; state and parent follow.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		pid, err1 := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		ppid, err2 := strconv.Atoi(fields[1])
		if err := errors.Join(err, err1, err2); err != nil {
			return 0, 0, err
		}
		parent[pid] = ppid
	}
	for pid := range parent {
		above := parent[pid]
		for above != root && above > 1 {
			above = parent[above]
		}
		if above != root {
			continue
		}
		n, err := pss(pid)
		if err != nil {
			return 0, 0, err
		}
		count++
		sum += n
	}
	return count, sum, nil
}

func pss(pid int) (int64, error) {
	rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(rollup) {
		if fields := bytes.Fields(line); len(fields) > 1 && string(fields[0]) == "Pss:" {
			kb, err := strconv.ParseInt(string(fields[1]), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("no Pss for process %d", pid)
}
