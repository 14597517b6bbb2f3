package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	sseClients = 5000
	sseEvents  = 20
)

// sse measures how long one event takes to the last of 5000 clients.
func (b *bench) sse() error {
	if err := os.Mkdir(filepath.Join(b.dir, "files"), 0o755); err != nil {
		return err
	}
	var last []time.Duration
	var memory []int64
	for range b.rounds {
		err := b.serve(nativeGo, setup{}, func(url string, processes []*exec.Cmd) error {
			pid := processes[0].Process.Pid
			before, err := kilobytes(pid, "status", "VmRSS")
			if err != nil {
				return err
			}
			audience, err := newAudience(strings.TrimPrefix(url, "http://"))
			if err != nil {
				return err
			}
			defer audience.leave()
			after, err := kilobytes(pid, "status", "VmRSS")
			if err != nil {
				return err
			}
			memory = append(memory, (after-before)/sseClients)
			for n := range sseEvents {
				took, err := audience.send(url, n)
				if err != nil {
					return err
				}
				last = append(last, took)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	worst := time.Duration(0)
	for _, d := range last {
		worst = max(worst, d)
	}
	fmt.Printf("One event to %d clients, %d times: to the last one %v (median), %v (worst); %.0f bytes of the server's memory each.\n",
		sseClients, len(last), medianTime(last, func(d time.Duration) time.Duration { return d }), round(worst),
		median(memory, func(n int64) float64 { return float64(n) }))
	return nil
}

// audience are clients that listen to an event stream.
type audience struct {
	wg      sync.WaitGroup
	mu      sync.Mutex
	conns   []net.Conn
	arrived chan time.Time
	failed  chan error
}

// newAudience returns when every client has the head of its stream.
func newAudience(address string) (*audience, error) {
	a := &audience{arrived: make(chan time.Time, sseClients), failed: make(chan error, sseClients)}
	seats := make(chan struct{}, 100) // that many arrive at once
	ready := make(chan struct{}, sseClients)
	for range sseClients {
		a.wg.Go(func() {
			seats <- struct{}{}
			in, err := a.enter(address)
			<-seats
			if err != nil {
				a.failed <- err
				return
			}
			ready <- struct{}{}
			a.listen(in)
		})
	}
	for range sseClients {
		select {
		case <-ready:
		case err := <-a.failed:
			a.leave()
			return nil, err
		}
	}
	return a, nil
}

func (a *audience) enter(address string) (*bufio.Reader, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	a.conns = append(a.conns, conn)
	a.mu.Unlock()
	if _, err := io.WriteString(conn, "GET /events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"); err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(conn, 512)
	_, err = readHead(in)
	return in, err
}

// listen notes when each event arrives, until the connection ends.
func (a *audience) listen(in *bufio.Reader) {
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		if bytes.HasPrefix(line, []byte("data: ")) {
			a.arrived <- time.Now()
		}
	}
}

// send has the server send an event to everybody and returns how long it took.
func (a *audience) send(url string, n int) (time.Duration, error) {
	begin := time.Now()
	res, err := http.Post(url+"/events", "text/plain", strings.NewReader(fmt.Sprint(n)))
	if err != nil {
		return 0, err
	}
	if err := res.Body.Close(); err != nil {
		return 0, err
	}
	var last time.Time
	deadline := time.After(10 * time.Second)
	for i := range sseClients {
		select {
		case last = <-a.arrived:
		case <-deadline:
			return 0, fmt.Errorf("event %d has reached %d of %d clients", n, i, sseClients)
		}
	}
	return last.Sub(begin), nil
}

func (a *audience) leave() {
	a.mu.Lock()
	for _, conn := range a.conns {
		_ = conn.Close() // nothing is expected from it any more
	}
	a.mu.Unlock()
	a.wg.Wait()
}
