package main

import (
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"time"
)

// largeBody is how many bytes pass through a script.
const largeBody = 500_000_000

// transfer is the result of one large transfer.
type transfer struct {
	took time.Duration
	peak int64 // memory of the process that listens and of its children that stay, in bytes
}

// cgiLarge measures 500 MB into a script, out of one, and both ways at once.
func (b *bench) cgiLarge() error {
	dir, err := b.cgiDirectory()
	if err != nil {
		return err
	}
	bouts, err := b.those([]bout{{contestant: oursCGI, app: dir}, {contestant: lighttpd, app: dir}, {contestant: lighttpdRaw, app: dir}})
	if err != nil {
		return err
	}
	fmt.Printf("%d rounds; medians\n\n", b.rounds)
	fmt.Println("| 500 MB | | took | peak memory | ours took |\n| --- | --- | ---: | ---: | ---: |")
	for _, way := range []struct {
		name, script string
		in, out      bool
	}{
		{"into a script", "up.sh", true, false},
		{"out of a script", "down.sh", false, true},
		{"through cat", "cat.sh", true, true},
	} {
		results, err := rounds(b, bouts, func(x *bout, url string, processes []*exec.Cmd) (t transfer, err error) {
			start := time.Now()
			if err := pass(url+"/cgi-bin/"+way.script, way.in, way.out); err != nil {
				return t, fmt.Errorf("%s: %w", x.title(), err)
			}
			t.took = time.Since(start)
			t.peak, err = kilobytes(processes[len(processes)-1].Process.Pid, "status", "VmHWM")
			return t, err
		})
		if err != nil {
			return err
		}
		for i, x := range bouts {
			took := func(t transfer) float64 { return float64(t.took) }
			fmt.Printf("| %s | %s | %v | %.1f MiB | %.2fx |\n", way.name, x.title(), medianTime(results[i], func(t transfer) time.Duration { return t.took }),
				median(results[i], func(t transfer) float64 { return float64(t.peak) })/(1<<20), ratio(results[0], results[i], took))
		}
	}
	return nil
}

// pass sends a large body to a script (in), or none. It reads a large answer (out), or a short one.
func pass(url string, in, out bool) error {
	var body io.Reader
	if in {
		body = io.LimitReader(zeros{}, largeBody)
	}
	req, err := http.NewRequest("POST", url, body)
	if err != nil {
		return err
	}
	if in {
		req.ContentLength = largeBody
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	n, err := io.Copy(io.Discard, res.Body)
	if err == nil && (res.StatusCode != 200 || out && n != largeBody) {
		err = fmt.Errorf("%s: %d bytes arrived", res.Status, n)
	}
	return err
}
