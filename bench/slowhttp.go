package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// slowConnections is how many clients of slowhttptest there are.
const slowConnections = 1000

// attacks are the attacks of slowhttptest.
var attacks = []struct {
	name string
	args []string
}{
	{"slow headers", []string{"-H", "-i", "5", "-x", "24"}},
	{"slow body", []string{"-B", "-i", "5", "-s", "8192", "-x", "10"}},
	{"slow read", []string{"-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "3"}},
	{"ranges", []string{"-R", "-a", "10", "-b", "3000"}},
}

// slowHTTP measures a normal client alone and beside each attack of slowhttptest.
func (b *bench) slowHTTP() error {
	if _, err := exec.LookPath("slowhttptest"); err != nil {
		return fmt.Errorf("slowhttptest (apt-get install slowhttptest): %w", err)
	}
	if _, err := b.files(); err != nil {
		return err
	}
	fmt.Printf("%d connections of slowhttptest, %d s; wrk -t1 -c%d; medians of %d rounds\n\n", slowConnections, b.seconds, b.conns, b.rounds)
	fmt.Println("| attack | requests/s alone | beside | p99 alone | beside | ratio | errors | service available |")
	fmt.Println("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
	for _, attack := range attacks {
		var alone, beside []load
		available := true
		for range b.rounds {
			err := b.serve(nativeGo, setup{}, func(url string, _ []*exec.Cmd) error {
				l, err := b.wrk(url, b.conns, b.seconds)
				if err != nil {
					return err
				}
				alone = append(alone, l)
				report, err := b.attack(url+"/files/1m", attack.args, func() error {
					l, err = b.wrk(url, b.conns, b.seconds)
					beside = append(beside, l)
					return err
				})
				available = available && !strings.Contains(report, ",0\n")
				return err
			})
			if err != nil {
				return err
			}
		}
		fmt.Printf("| %s | %.0f | %.0f | %v | %v | %.2fx | %.0f | %v |\n", attack.name,
			median(alone, func(l load) float64 { return l.rate }), median(beside, func(l load) float64 { return l.rate }),
			medianTime(alone, func(l load) time.Duration { return l.p99 }), medianTime(beside, func(l load) time.Duration { return l.p99 }),
			ratio(beside, alone, func(l load) float64 { return float64(l.p99) }),
			median(beside, func(l load) float64 { return l.errors }), available)
	}
	return nil
}

// attack runs slowhttptest around f and returns its table of seconds. The last column says whether
// its probe was answered.
func (b *bench) attack(url string, args []string, f func() error) (string, error) {
	prefix := filepath.Join(b.dir, "slow")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	args = append(args, "-c", fmt.Sprint(slowConnections), "-r", "500", "-l", fmt.Sprint(b.seconds+4), "-p", "3", "-u", url, "-g", "-o", prefix)
	cmd := exec.CommandContext(ctx, "slowhttptest", args...)
	if err := cmd.Start(); err != nil {
		return "", err
	}
	time.Sleep(3 * time.Second) // until all its clients are connected
	err := f()
	if wait := cmd.Wait(); err == nil && wait != nil {
		err = fmt.Errorf("slowhttptest: %w", wait)
	}
	if err != nil {
		return "", err
	}
	report, err := os.ReadFile(prefix + ".csv")
	return string(report), err
}
