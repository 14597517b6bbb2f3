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
		guests := newGuests(strings.TrimPrefix(url, "http://"))
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

// guests are clients that ask once and keep their connection.
type guests struct {
	wg sync.WaitGroup

	mu     sync.Mutex
	conns  []net.Conn
	served int
}

// newGuests returns when all guests have been answered, or idleArrival is over.
func newGuests(address string) *guests {
	g := &guests{}
	ctx, cancel := context.WithTimeout(context.Background(), idleArrival)
	defer cancel()
	for range idleConnections {
		g.wg.Go(func() { g.visit(ctx, address) })
	}
	for ctx.Err() == nil && g.answered() < idleConnections {
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
