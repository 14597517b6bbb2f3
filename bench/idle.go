package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"time"
)

const (
	idleConnections = 1000
	// keptRest is how long the clients of keepalive stay until the gateway's memory is read. It gives memory back to the
	// system at its next garbage collection, which comes after two minutes at the latest.
	keptRest = 150 * time.Second
	// keptConnections are those of which keepalive has a tenth active.
	keptConnections = 2000
	// idleArrival is how long the idle clients may take to be served once before the load begins.
	idleArrival = 3 * time.Second
)

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
		p.answered = guests.leave()
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

// keepalive measures the small PSGI answer with 200 connections, alone and beside 1800 that have been answered once and are
// kept, and the gateway's memory for each of 10,000 such connections.
func (b *bench) keepalive() error {
	app, err := b.write("hello.psgi", helloApp)
	if err != nil {
		return err
	}
	const active = keptConnections / 10
	var alone, beside []load
	for range b.rounds {
		err := b.serve(ours, setup{app: app, workers: b.workers}, func(url string, processes []*exec.Cmd) error {
			first, err := b.throughput(&bout{connections: active}, url, nil)
			if err != nil {
				return err
			}
			guests := newGuests(strings.TrimPrefix(url, "http://"), keptConnections-active)
			second, err := b.wrk(url, active, b.seconds)
			if n := guests.leave(); err == nil && n != keptConnections-active {
				err = fmt.Errorf("%d connections were answered, want %d", n, keptConnections-active)
			}
			if err != nil {
				return err
			}
			third, err := b.wrk(url, active, b.seconds)
			alone, beside = append(alone, meanLoad(first, third)), append(beside, second)
			return err
		})
		if err != nil {
			return err
		}
	}
	var size float64
	err = b.serve(ours, setup{app: app, workers: b.workers}, func(url string, processes []*exec.Cmd) error {
		size, err = kept(strings.TrimPrefix(url, "http://"), processes[0].Process.Pid)
		return err
	})
	if err != nil {
		return err
	}
	rate := ratios(beside, alone, func(l load) float64 { return l.rate })
	fmt.Printf("%d rounds of %d s, wrk -t1; medians, and in brackets the rounds' range\n\n", b.rounds, b.seconds)
	fmt.Printf("| %d connections | %d, one in ten active | rate | KiB for each of %d at rest |\n", active, keptConnections, restingClients)
	fmt.Println("| ---: | ---: | ---: | ---: |")
	fmt.Printf("| %.0f/s | %.0f/s | %s | %.1f |\n", median(alone, func(l load) float64 { return l.rate }),
		median(beside, func(l load) float64 { return l.rate }), spread(rate), size/1024)
	b.report.add(row{Case: b.name, Name: "alone", Connections: active, Workers: b.workers}, alone, nil)
	b.report.add(row{Case: b.name, Name: "one in ten active", Connections: keptConnections, Workers: b.workers, Rival: "alone"}, beside, alone)
	return nil
}

// kept returns how many bytes the server's memory grows by for each client that has been answered once and stays.
func kept(address string, pid int) (float64, error) {
	before, err := kilobytes(pid, "status", "VmRSS")
	if err != nil {
		return 0, err
	}
	for range restingClients {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return 0, err
		}
		defer conn.Close()
		if _, err := conn.Write(get("/")); err != nil {
			return 0, err
		}
		in := bufio.NewReader(conn)
		head, err := readHead(in)
		if err == nil {
			err = head.skipBody(in, false)
		}
		if err != nil {
			return 0, err
		}
	}
	time.Sleep(keptRest)
	after, err := kilobytes(pid, "status", "VmRSS")
	return float64(after-before) / restingClients, err
}

// guests are clients that ask once and keep their connection.
type guests struct {
	wg sync.WaitGroup

	mu     sync.Mutex
	conns  []net.Conn
	served int
}

// newGuests returns when all of so many guests have been answered, or idleArrival is over.
func newGuests(address string, number int) *guests {
	g := &guests{}
	ctx, cancel := context.WithTimeout(context.Background(), idleArrival)
	defer cancel()
	for range number {
		g.wg.Go(func() { g.visit(ctx, address) })
	}
	for ctx.Err() == nil && g.answered() < number {
		time.Sleep(10 * time.Millisecond)
	}
	return g
}

// visit asks once and then waits for the connection's end. A connection that is not
// even taken before ctx ends is given up.
func (g *guests) visit(ctx context.Context, address string) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return
	}
	g.mu.Lock()
	g.conns = append(g.conns, conn)
	g.mu.Unlock()
	if _, err := conn.Write(get("/")); err != nil {
		return
	}
	in := bufio.NewReader(conn)
	head, err := readHead(in)
	if err != nil || head.skipBody(in, false) != nil {
		return // it has not been served
	}
	g.mu.Lock()
	g.served++
	g.mu.Unlock()
	_, _ = io.Copy(io.Discard, in) // until either side closes
}

func (g *guests) answered() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.served
}

// leave closes all connections and returns how many had been answered.
func (g *guests) leave() int {
	g.mu.Lock()
	for _, conn := range g.conns {
		_ = conn.Close() // nothing is expected from it any more
	}
	g.mu.Unlock()
	g.wg.Wait()
	return g.served
}
